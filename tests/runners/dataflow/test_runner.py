"""Flags of Beam that a job on Dataflow gets, and what the user's own flags change of them."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions, WorkerOptions

from beam_curate.elements import Video
from beam_curate.options.parse import parse
from beam_curate.plan.plan import Plan, make_plan
from runners import preflight
from runners.dataflow import machines
from runners.registry import make_runner
from tests.support.dataflow import ACCELERATOR, CLOUD, MODELS, PLACES, WITH_MODELS

L4 = "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver:5xx"


def plan_of(*flags: str) -> Plan:
    return make_plan(parse(["--runner=DataflowRunner", *PLACES, *CLOUD, *flags]))


def options_of(*flags: str) -> PipelineOptions:
    return PipelineOptions(make_runner(plan_of(*flags).runner).arguments())


def workers_of(*flags: str) -> tuple[str, int, int]:
    """Returns machine type, disk and threads of the workers."""
    options = options_of(*flags)
    workers, debug = options.view_as(WorkerOptions), options.view_as(DebugOptions)
    return workers.machine_type, workers.disk_size_gb, debug.number_of_worker_harness_threads


def services_of(*flags: str) -> list[str]:
    return options_of(*flags).view_as(GoogleCloudOptions).dataflow_service_options or []


def experiments_of(*flags: str) -> list[str]:
    return options_of(*flags).view_as(DebugOptions).experiments


def test_workers_without_a_gpu_where_no_model_needs_one() -> None:
    assert workers_of() == ("n2-standard-8", 200, 24)
    assert services_of() == []


def test_workers_with_a_gpu_where_models_need_one() -> None:
    assert workers_of(*WITH_MODELS, *MODELS) == ("g2-standard-8", 200, 24)
    assert services_of(*WITH_MODELS, *MODELS) == [L4]


@pytest.mark.parametrize(
    ("machine_type", "accelerator"),
    [
        ("g2-standard-48", "type:nvidia-l4;count:4;install-nvidia-driver:5xx"),
        ("n1-standard-16", "type:nvidia-tesla-t4;count:1;install-nvidia-driver:5xx"),
        ("a2-highgpu-2g", "type:nvidia-tesla-a100;count:2;install-nvidia-driver:5xx"),
        ("a2-ultragpu-1g", "type:nvidia-a100-80gb;count:1;install-nvidia-driver:5xx"),
        ("a3-highgpu-1g", "type:nvidia-h100-80gb;count:1;install-nvidia-driver:5xx"),
    ],
)
def test_the_gpu_follows_the_machine_type(machine_type: str, accelerator: str) -> None:
    assert services_of(*WITH_MODELS, f"--machine_type={machine_type}") == [f"worker_accelerator={accelerator}"]


def test_the_machine_type_follows_the_gpu() -> None:
    setting = "type:nvidia-a100-80gb;count:1;install-nvidia-driver"
    assert workers_of(*WITH_MODELS, ACCELERATOR + setting)[0] == "a2-ultragpu-1g"
    assert services_of(*WITH_MODELS, ACCELERATOR + setting) == [f"worker_accelerator={setting}"]
    assert workers_of(*WITH_MODELS, f"--experiments=worker_accelerator={setting}")[0] == "a2-ultragpu-1g"
    assert services_of(*WITH_MODELS, f"--experiments=worker_accelerator={setting}") == []


def test_the_user_overrides_defaults() -> None:
    own = ("--machine_type=n2-highmem-4", "--disk_size_gb=500", "--number_of_worker_harness_threads=3")
    assert workers_of(*own) == ("n2-highmem-4", 500, 3)
    assert "--job_name=mine" in make_runner(plan_of("--job_name=mine").runner).arguments()[-6:]
    assert services_of("--dataflow_service_options=enable_prime") == ["enable_prime"]
    assert "no_use_multiple_sdk_containers" in experiments_of("--experiments=use_runner_v2")
    assert "no_use_multiple_sdk_containers" not in experiments_of("--experiments=use_multiple_sdk_containers")


def test_gpus_only_where_needed_are_no_setting_of_all_workers() -> None:
    flags = (*WITH_MODELS, *MODELS, "--gpu-only-where-needed=nvidia-l4")
    assert (workers_of(*flags)[0], services_of(*flags)) == ("n2-standard-8", [])
    hints = make_runner(plan_of(*flags).runner).resource_hints
    assert hints == {"accelerator": "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver:5xx"}
    assert make_runner(plan_of("--gpu-only-where-needed=nvidia-l4").runner).resource_hints == {}  # nothing needs one


def test_the_memory_of_the_gpu_decides_whether_models_are_there_together() -> None:
    def barriers(*flags: str) -> set[str]:
        return set(preflight.barriers(plan_of(*WITH_MODELS, *MODELS, *flags)))

    assert barriers() == {"text"}  # 19 and 20 of 24 GB
    assert barriers("--machine_type=a2-ultragpu-1g") == set()
    assert barriers("--gpu-memory-gb=48") == set()


def test_chunks_are_dealt_out_over_the_cores_of_all_workers() -> None:
    videos = [Video(f"gs://bucket/in/{number}.mp4", f"{number}.mp4", 60, "e") for number in range(100)]
    assert not make_runner(plan_of().runner).deals_out_chunks(videos)  # eight cores
    assert make_runner(plan_of("--max_num_workers=20").runner).deals_out_chunks(videos)


def test_workers_do_not_use_the_workspace_of_whoever_submits() -> None:
    assert plan_of().models.workspace == "/tmp/beam-curate-workspace"
    assert plan_of("--workspace=/config").models.workspace == "/config"


# What the pages of Compute Engine say of machine types: vCPUs, GB of memory, GPUs.
@pytest.mark.parametrize(
    ("machine_type", "facts"),
    [
        ("g2-standard-4", (4, 16, 1)),
        ("g2-standard-96", (96, 384, 8)),
        ("a2-highgpu-1g", (12, 85, 1)),
        ("a2-ultragpu-4g", (48, 680, 4)),
        ("a3-highgpu-8g", (208, 1872, 8)),
        ("n1-standard-4", (4, 15, None)),
        ("n1-highmem-8", (8, 52, None)),
        ("e2-standard-8", (8, 32, 0)),
        ("n2-highcpu-16", (16, 16, 0)),
        ("n1-custom-8-32768", (8, 32, None)),
        ("custom-8-32768", (8, 32, None)),
    ],
)
def test_machine_types(machine_type: str, facts: tuple[int, float, int | None]) -> None:
    found = machines.machine(machine_type)
    assert found is not None
    assert (found.vcpus, found.memory_gb, found.gpus) == facts
