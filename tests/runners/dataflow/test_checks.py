"""What would make a job on Dataflow fail is said before it is submitted, each with the flag and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.options.parse import parse
from beam_curate.plan.plan import Plan, make_plan
from runners import preflight
from runners.dataflow import checks
from runners.dataflow.runner import DataflowRunner, check_credentials
from runners.registry import make_runner
from tests.support.dataflow import ACCELERATOR, CLOUD, MODELS, PLACES, WITH_MODELS


@pytest.fixture(autouse=True)
def no_default_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDSDK_COMPUTE_REGION", raising=False)


def planned(
    *flags: str, cloud: tuple[str, ...] = CLOUD, places: tuple[str, ...] = PLACES
) -> tuple[DataflowRunner, Plan]:
    plan = make_plan(parse(["--runner=DataflowRunner", *places, *cloud, *flags]))
    runner = make_runner(plan.runner)
    assert isinstance(runner, DataflowRunner)
    return runner, plan


def mistakes(*flags: str, cloud: tuple[str, ...] = CLOUD, places: tuple[str, ...] = PLACES) -> list[str]:
    runner, plan = planned(*flags, cloud=cloud, places=places)
    return list(runner.mistakes(plan))


def without(name: str) -> tuple[str, ...]:
    return tuple(flag for flag in CLOUD if not flag.startswith(f"--{name}="))


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--job_name=day-1", "--num_workers=2", "--max_num_workers=8"),
        ("--staging_location=gs://bucket/staging",),
        ("--sdk_container_image=apache/beam_python3.11_sdk:2.77.0",),
        (*WITH_MODELS, *MODELS),
        (*WITH_MODELS, *MODELS, "--machine_type=g2-standard-24"),
        (*WITH_MODELS, *MODELS, "--machine_type=a2-highgpu-1g"),
        (*WITH_MODELS, *MODELS, "--machine_type=a3-highgpu-8g"),
        (*WITH_MODELS, *MODELS, "--gpu-only-where-needed=nvidia-l4"),
        (
            *WITH_MODELS,
            *MODELS,
            f"{ACCELERATOR}type:nvidia-new;count:1;install-nvidia-driver",
            "--machine_type=z9-new-8",
        ),
        (*WITH_MODELS, *MODELS, "--resource_hints=accelerator=type:nvidia-l4;count:1;install-nvidia-driver"),
        # Captions from a server elsewhere, no dataset: no model of ours.
        ("--captioning-algorithm=openai", "--captioning-endpoint=http://models.internal:8000/v1"),
    ],
)
def test_what_is_right_is_let_through(flags: tuple[str, ...]) -> None:
    assert mistakes(*flags) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sdk_container_image", "add --sdk_container_image=IMAGE"),
        ("project", "--project is missing"),
        ("region", "--region is missing"),
        ("temp_location", "--temp_location is missing: .* gs://BUCKET/PREFIX"),
    ],
)
def test_what_is_missing(name: str, message: str) -> None:
    (mistake,) = mistakes(cloud=without(name))
    assert re.search(message, mistake)


def test_all_that_is_wrong_comes_in_one_message() -> None:
    with pytest.raises(UsageError) as caught:
        preflight.check_runner(planned(*WITH_MODELS, cloud=())[1])
    assert len(str(caught.value).splitlines()) == 5


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--project=123456", "is the number of a project"),
        ("--project=My Project", "is no id of a project"),
        ("--project=p", "is no id of a project"),
        ("--region=europe-west4-a", "is a zone: give --region=europe-west4"),
        ("--region=Europe", "is no region"),
        ("--temp_location=/tmp/here", "is no place in Google Cloud Storage"),
        ("--temp_location=gs://bucket", "is no place in Google Cloud Storage: give gs://BUCKET/PREFIX"),
        ("--temp_location=s3://bucket/tmp", "is no place in Google Cloud Storage"),
        ("--staging_location=gs://Bucket/tmp", "is no place in Google Cloud Storage"),
        ("--job_name=Day_1", "lower-case letters, digits and hyphens"),
        ("--num_workers=0", "--num_workers is 0"),
        ("--number_of_worker_harness_threads=0", "--number_of_worker_harness_threads is 0"),
        ("--template_location=gs://bucket/template", "leave it out"),
        ("--sdk_container_image=beam-curate:1", "names no registry"),
        ("--sdk_container_image=https://gcr.io/project/image", "without https://"),
        ("--sdk_container_image=apache/beam_python3.9_sdk:2.77.0", r"has Python 3\.9"),
        ("--requirements_file=requirements.txt", "whose image has all that they need"),
        ("--setup_file=setup.py", "whose image has all that they need"),
        ("--save_main_session", "leave it out"),
        ("--streaming", "leave it out"),
        ("--captioning-endpoint=http://localhost:8000/v1", "is this computer"),
    ],
)
def test_what_is_wrong(flag: str, message: str) -> None:
    asks = ("--captioning-algorithm=openai",) if "endpoint" in flag else ()
    found = mistakes(*asks, flag)
    assert len(found) == 1, found
    assert re.search(message, found[0])
    assert flag.partition("=")[0] in found[0]


def test_more_workers_at_the_start_than_at_most() -> None:
    (mistake,) = mistakes("--num_workers=9", "--max_num_workers=8")
    assert "--num_workers 9 is more than --max_num_workers 8" in mistake


@pytest.mark.parametrize(
    ("place", "flag"),
    [("--input-video-path=/videos", "--input-video-path"), ("--output-clip-path=/out", "--output-clip-path")],
)
def test_places_that_workers_cannot_reach(place: str, flag: str, tmp_path: Path) -> None:
    (mistake,) = mistakes(places=(*PLACES, place))
    assert mistake.startswith(flag)
    assert "workers cannot reach it" in mistake


def test_listed_videos_that_workers_cannot_reach(tmp_path: Path) -> None:
    _, plan = planned(places=("--input-video-list-json-path=list.json", "--output-clip-path=gs://bucket/out"))
    preflight.check_sources(plan, [Video("gs://bucket/a.mp4", "a.mp4", 1, "e")])
    with pytest.raises(UsageError, match=r"/videos/a\.mp4 is on this computer"):
        preflight.check_sources(plan, [Video("/videos/a.mp4", "a.mp4", 1, "e")])


def test_models_have_to_be_where_workers_reach_them() -> None:
    (mistake,) = mistakes(*WITH_MODELS)
    assert "cosmos_reason1, t5_xxl" in mistake
    assert "--model-weights-path=gs://BUCKET/models" in mistake
    (mistake,) = mistakes(*WITH_MODELS, "--model-weights-path=/models")
    assert mistake.startswith("--model-weights-path /models is on this computer")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            (f"{ACCELERATOR}type:nvidia-l4;count:1",),
            "without a driver: append ;install-nvidia-driver:5xx",
        ),
        ((f"{ACCELERATOR}nvidia-l4",), "'nvidia-l4' is none of type:NAME"),
        ((f"{ACCELERATOR}count:1;install-nvidia-driver",), "names no type:"),
        ((f"{ACCELERATOR}type:nvidia-l4;count:no;install-nvidia-driver",), "names no count:"),
        ((f"{ACCELERATOR}type:nvidia-tesla-a100;count:1;install-nvidia-driver", "--machine_type=n1-standard-8"), "a2-"),
        (("--machine_type=n2-standard-8",), "n2-standard-8 is not known to take a GPU"),
        (
            (f"{ACCELERATOR}type:nvidia-l4;count:1;install-nvidia-driver", "--machine_type=g2-standard-24"),
            "has 2 GPUs: give count:2, not 1",
        ),
        (
            (f"{ACCELERATOR}type:nvidia-l4;count:1;install-nvidia-driver", "--gpu-only-where-needed=nvidia-l4"),
            "--gpu-only-where-needed and worker_accelerator cannot be combined",
        ),
        (
            (
                "--experiments=worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver",
                "--resource_hints=accelerator=type:nvidia-l4;count:1;install-nvidia-driver",
            ),
            "--resource_hints=accelerator and worker_accelerator cannot be combined",
        ),
        (("--gpu-only-where-needed=nvidia-l4", "--flexrs_goal=COST_OPTIMIZED"), "--flexrs_goal does not go with"),
    ],
)
def test_accelerators(flags: tuple[str, ...], message: str) -> None:
    found = mistakes(*WITH_MODELS, *MODELS, *flags)
    assert len(found) == 1, found
    assert message in found[0]


def test_a_gpu_that_is_too_small() -> None:
    found = mistakes(*WITH_MODELS, *MODELS, "--machine_type=n1-standard-8")  # the GPU for it has 16 GB
    assert [re.findall(r"needs about (\d+) GB .* has (\d+) GB", one)[0] for one in found] == [
        ("19", "16"),
        ("20", "16"),
    ]


@pytest.mark.parametrize(
    ("flag", "secret"),
    [
        ("--s3_secret_access_key=sEcReT", "sEcReT"),
        ("--s3_access_key_id=sEcReT", "sEcReT"),
        ("--s3_session_token=sEcReT", "sEcReT"),
        ("--azure_connection_string=sEcReT", "sEcReT"),
        ("--dataflow_endpoint=https://user:sEcReT@host", "sEcReT"),
    ],
)
def test_keys_that_would_be_in_the_job_are_refused_and_not_repeated(flag: str, secret: str) -> None:
    found = mistakes(flag)
    assert found
    assert flag.partition("=")[0] in found[0]
    assert secret not in " ".join(found)


def test_a_wrong_number_is_a_mistake_like_others() -> None:
    with pytest.raises(UsageError, match=r"--disk_size_gb: invalid int value: 'much' \(a flag of Apache Beam\)"):
        planned("--disk_size_gb=much")


def test_doubts() -> None:
    def doubts(*flags: str) -> list[str]:
        runner, plan = planned(*flags)
        return list(runner.doubts(plan))

    assert doubts() == doubts(*WITH_MODELS, *MODELS) == []
    assert "--disk_size_gb 50" in doubts("--disk_size_gb=50")[0]
    assert "leave out the accelerator" in doubts(f"{ACCELERATOR}type:nvidia-l4;count:1;install-nvidia-driver")[0]
    right_fitted = (*WITH_MODELS, *MODELS, "--gpu-only-where-needed=nvidia-l4", "--machine_type=g2-standard-8")
    assert "do not use its GPUs" in doubts(*right_fitted)[0]


def test_the_patterns_are_those_of_beam() -> None:
    validator = PipelineOptionsValidator
    assert (checks.PROJECT, checks.JOB) == (validator.PROJECT_ID_PATTERN, validator.JOB_PATTERN)
    assert f"^{checks.BUCKET}$" == validator.GCS_BUCKET


def test_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # this machine is none of Google's
    monkeypatch.delenv("CLOUDSDK_CONFIG", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(UsageError, match="gcloud auth application-default login"):
        check_credentials()
    file = tmp_path / "user.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(UsageError, match=r"user\.json was not found"):
        check_credentials()
    file.write_text('{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}')
    check_credentials()
