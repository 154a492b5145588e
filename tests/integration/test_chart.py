"""The Helm chart: what it makes of values is taken by a real API server, and mistakes are told before."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import beam_curate
from beam_curate.options.parse import Parsed, parse
from runners.flink import CHART
from tests.support.kubernetes import (
    NAMESPACE,
    ApiServer,
    api_server,
    containers,
    file_of,
    helm,
    only,
    operated,
    pods,
    rendered,
    template,
)
from tests.support.needed import need
from tools import engines

CONFIG = {"input-video-path": "s3://footage/day1", "output-clip-path": "s3://datasets/day1"}
IMAGE = {"repository": "registry.example.com/beam-curate", "tag": "0.1.0"}
MINIMAL = {"image": IMAGE, "run": {"config": CONFIG}}
SHARED = {"volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "footage"}}]}
OPENAI_KEY = {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "openai", "key": "key"}}}
VALUES: dict[str, dict[str, Any]] = {
    "minimal": MINIMAL,
    "S3 credentials": MINIMAL
    | {
        "run": {"config": CONFIG | {"input_s3_profile_name": "team", "output-s3-profile-name": "team"}},
        "credentials": {"s3": {"secretName": "stores", "key": "aws"}},
        "imagePullSecrets": ["registry", "other"],
    },
    "workload identity": MINIMAL
    | {
        "run": {"config": {"input-video-path": "gs://footage/day1", "output-clip-path": "gs://datasets/day1"}},
        "serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "curate@project.iam.gserviceaccount.com"}},
    },
    "an account of the cluster's": MINIMAL
    | {
        "serviceAccount": {"create": False, "name": "curators"},
        "credentials": {"gcs": {"secretName": "google"}},
        "networkPolicy": {"enabled": False},
    },
    "volumes of a class": MINIMAL
    | {
        "pool": {"scratch": {"storageClassName": "fast", "size": "2Ti"}, "gpuMemoryGb": 80},
        "models": {"existingClaim": "models"},
    },
    "no GPU": MINIMAL | {"pool": {"gpus": 0}, "env": [OPENAI_KEY]},
    "many GPUs": MINIMAL
    | {
        "taskManager": {
            "replicas": 64,
            "slots": 32,
            "cpu": 1.5,
            "memory": "8g",
            "nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "runtimeClassName": "nvidia",
        },
        "nodeSelector": {"pool": "small"},
        "tolerations": [{"operator": "Exists"}],
        "flink": {"version": "1.19", "configuration": {"web.timeout": "60000"}},
    },
    "a shared file system and more flags": MINIMAL
    | SHARED
    | {
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        "run": {
            "config": {
                "input_video_path": "/shared/videos: day 1/*/front #1.mp4",
                "output_clip_path": "/shared/out",
                "limit": 1000000,
                "cache-gb": 50.5,
                "keep-duplicates": True,
                "generate-embeddings": False,
                "captioning-prompt-text": 'Say what "happens":\n- in {{ one }} sentence',
            },
            "extraArgs": ["--parallelism=7", "--", "--max_bundle_size=100"],
            "backoffLimit": 0,
        },
    },
}
"""Values as users have them."""


@pytest.fixture(autouse=True)
def with_helm() -> None:
    need(engines.HELM)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    need(engines.KUBE_APISERVER, engines.ETCD, engines.FLINK_CRD)
    with api_server(tmp_path_factory.mktemp("kubernetes")) as started:
        yield started


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What Flink's operator makes of each of `VALUES`."""
    need(engines.HELM, "javac", engines.FLINK_OPERATOR_LIB)
    folder = tmp_path_factory.mktemp("operator")
    made = operated([rendered(folder, values) for values in VALUES.values()], folder)
    return dict(zip(VALUES, made, strict=True))


@pytest.fixture(params=VALUES)
def resources(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, Any]]:
    return rendered(tmp_path, VALUES[request.param])


def test_helm_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    done = helm("lint", "--strict", str(CHART), "--values", file_of(MINIMAL, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_api_server_takes_every_resource_and_every_pod(resources: list[dict[str, Any]], server: ApiServer) -> None:
    for resource in (*resources, *pods(resources).values()):
        assert server.create(resource) == "", resource
    assert pods(resources).keys() == {"jobserver", "jobmanager", "taskmanager", "run"}


@pytest.mark.parametrize("name", VALUES)
def test_the_api_server_takes_what_flinks_operator_makes(
    name: str, operator: dict[str, list[dict[str, Any]]], server: ApiServer
) -> None:
    assert [deployment["metadata"]["name"] for deployment in operator[name]] == [
        "curate-beam-curate",
        "curate-beam-curate-taskmanager",
    ]
    for deployment in operator[name]:
        assert server.create(deployment) == "", deployment
        for pod in pods([deployment]).values():
            assert server.create(pod) == "", pod


def test_flinks_operator_keeps_the_pool_as_the_chart_has_it(
    operator: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    for name, values in VALUES.items():
        _, made = operator[name]
        before, after = (pods(source)["taskmanager"] for source in (rendered(tmp_path, values), [made]))
        assert after["spec"]["initContainers"] == as_told(before["spec"]["initContainers"])
        assert [container["name"] for container in after["spec"]["containers"]] == ["flink-main-container"]
        for volume in as_told(before["spec"]["volumes"]):
            assert volume in after["spec"]["volumes"]


@pytest.mark.parametrize(
    ("kind", "place", "told"),
    [
        ("FlinkDeployment", "spec.replicas", 'unknown field "spec.replicas"'),
        ("FlinkDeployment", "spec.flinkVersion", 'spec.flinkVersion: Unsupported value: "wrong"'),
        ("FlinkDeployment", "spec.taskManager.resource.gpu", 'unknown field "spec.taskManager.resource.gpu"'),
        (
            "FlinkDeployment",
            "spec.taskManager.podTemplate.spec.initContainers.0.gpu",
            'unknown field "spec.taskManager.podTemplate.spec.initContainers[0].gpu"',
        ),
        (
            "FlinkDeployment",
            "spec.taskManager.podTemplate.spec.initContainers.0.startupProbe.periodSeconds",
            "startupProbe.periodSeconds: Invalid value",
        ),
        (
            "Job",
            "spec.template.spec.containers.0.resource",
            'unknown field "spec.template.spec.containers[0].resource"',
        ),
        ("Job", "spec.podFailurePolicy.rules.0.action", 'Unsupported value: "wrong"'),
        ("Deployment", "spec.selector.matchLabels.more", "`selector` does not match template `labels`"),
        ("NetworkPolicy", "spec.ingress.0.ports.0.endports", 'unknown field "spec.ingress[0].ports[0].endports"'),
    ],
)
def test_the_api_server_refuses_mistakes(tmp_path: Path, server: ApiServer, kind: str, place: str, told: str) -> None:
    resource = only(rendered(tmp_path, MINIMAL), kind)
    *parents, last = place.split(".")
    inner: Any = resource
    for name in parents:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = "wrong"
    assert told in server.create(resource)


def test_the_api_server_refuses_pods_with_more_rights(tmp_path: Path, server: ApiServer) -> None:
    pod = pods(rendered(tmp_path, MINIMAL))["taskmanager"]
    pod["spec"]["initContainers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert 'violates PodSecurity "restricted:latest"' in server.create(pod)


def test_containers_have_resources_and_no_right_to_change_their_image(resources: list[dict[str, Any]]) -> None:
    for pod in pods(resources).values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in containers(pod).values():
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            _, _, tag = container["image"].rpartition(":")
            assert re.search(r"\d", tag)  # a version, and not latest


def test_the_gpu_is_the_pools_and_flink_starts_after_it(tmp_path: Path) -> None:
    pod = pods(rendered(tmp_path, MINIMAL))["taskmanager"]
    pool, flink = containers(pod)["worker-pool"], containers(pod)["flink-main-container"]
    assert pool["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in str(flink)
    assert pool["args"] == ["--worker_pool"]
    assert pool["restartPolicy"] == "Always"  # of an init container: a sidecar, which the others wait for
    assert pool["startupProbe"]["tcpSocket"]["port"] == pool["readinessProbe"]["tcpSocket"]["port"] == 50000
    mounts = {mount["mountPath"]: mount["name"] for mount in pool["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    assert volumes[mounts["/tmp"]]["emptyDir"]["sizeLimit"] == "100Gi"


@pytest.mark.parametrize("version", ["1.19", "1.20"])
def test_one_value_is_the_version_of_flink(tmp_path: Path, version: str) -> None:
    resources = rendered(tmp_path, MINIMAL | {"flink": {"version": version}})
    flink = only(resources, "FlinkDeployment")["spec"]
    assert flink["flinkVersion"] == f"v{version.replace('.', '_')}"
    assert flink["image"].startswith(f"flink:{version}.")
    (server,) = containers(pods(resources)["jobserver"]).values()
    assert server["image"] == f"apache/beam_flink{version}_job_server:{engines.BEAM}"
    assert f"--flink_version={version}" in containers(pods(resources)["run"])["run"]["args"]


def test_the_chart_has_the_version_of_the_program() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["version"] == beam_curate.__version__


def test_without_a_gpu_none_is_asked_for(tmp_path: Path) -> None:
    assert "nvidia" not in str(rendered(tmp_path, VALUES["no GPU"]))


def test_taskmanagers_and_slots_are_as_many_as_asked_for(tmp_path: Path) -> None:
    resources = rendered(tmp_path, VALUES["many GPUs"])
    flink = only(resources, "FlinkDeployment")["spec"]
    assert flink["taskManager"]["replicas"] == 64
    assert flink["flinkConfiguration"] == {
        "taskmanager.numberOfTaskSlots": "32",
        "taskmanager.network.sort-shuffle.min-buffers": "16",
        "web.timeout": "60000",
    }
    assert "--parallelism=2048" in containers(pods(resources)["run"])["run"]["args"]
    assert "--slots=2048" in containers(pods(resources)["run"])["wait"]["args"]


def test_the_programs_own_parser_takes_the_rendered_command(resources: list[dict[str, Any]], tmp_path: Path) -> None:
    parsed = parsed_command(resources, tmp_path)
    assert parsed.options.run.runner == "FlinkRunner"
    assert parsed.options.run.workspace == "/config"
    assert parsed.options.input.output_clip_path


def test_what_is_given_arrives(tmp_path: Path) -> None:
    values = VALUES["a shared file system and more flags"]
    parsed = parsed_command(rendered(tmp_path, values), tmp_path)
    given = values["run"]["config"]
    assert parsed.options.input.input_video_path == given["input_video_path"]
    assert parsed.options.input.limit == 1_000_000
    assert parsed.options.run.cache_gb == 50.5
    assert parsed.options.input.keep_duplicates is True
    assert parsed.options.caption.captioning_prompt_text == given["captioning-prompt-text"]
    assert parsed.beam_args[-2:] == ("--parallelism=7", "--max_bundle_size=100")
    assert parsed_command(rendered(tmp_path, VALUES["volumes of a class"]), tmp_path).options.run.gpu_memory_gb == 80


def test_a_job_stages_nothing(tmp_path: Path) -> None:
    """Otherwise TaskManagers would look for files that lie in the job server's pod."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.transforms.environments import python_sdk_dependencies

    arguments = [*parsed_command(rendered(tmp_path, MINIMAL), tmp_path).beam_args, "--runner=FlinkRunner"]
    assert python_sdk_dependencies(PipelineOptions(arguments)) == []
    arguments.remove("--experiments=disable_logging_submission_environment")
    assert len(python_sdk_dependencies(PipelineOptions(arguments))) == 1


def test_credentials_are_mounted_where_work_is_done_and_nowhere_else(tmp_path: Path) -> None:
    resources = rendered(tmp_path, VALUES["S3 credentials"])
    assert {resource["kind"] for resource in resources if "stores" in str(resource)} == {"FlinkDeployment", "Job"}
    for component, name in (("taskmanager", "worker-pool"), ("run", "run")):
        pod = pods(resources)[component]
        container = containers(pod)[name]
        environment = {variable["name"]: variable.get("value") for variable in container["env"]}
        (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "s3-credentials")
        (volume,) = (volume for volume in pod["spec"]["volumes"] if volume["name"] == "s3-credentials")
        (item,) = volume["secret"]["items"]
        assert (volume["secret"]["secretName"], item["key"]) == ("stores", "aws")
        assert environment["COSMOS_S3_PROFILE_PATH"] == f"{mount['mountPath']}/{item['path']}"
    assert "s3-credentials" not in str(pods(resources)["jobserver"]) + str(pods(resources)["jobmanager"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": {"tag": "1"}}, "image.repository: name the image"),
        ({"image": {"repository": "registry/beam-curate"}}, "image.tag: name one version"),
        ({"image": IMAGE | {"tag": "latest"}}, "image.tag: latest is another image from day to day"),
        ({"image": IMAGE | {"tag": 1.0}}, "at '/image/tag': got number, want string"),
        ({"run": {"config": {"input-video-path": "s3://a/b"}}}, "run.config: output-clip-path is missing"),
        ({"run": {"config": {"output_clip_path": "s3://a/b"}}}, "run.config: input-video-path is missing"),
        ({"run": {"config": CONFIG | {"runner": "DirectRunner"}}}, "run.config: leave out runner and config"),
        ({"run": {"config": CONFIG | {"limit": [1]}}}, "at '/run/config/limit'"),
        ({"run": {"conf": CONFIG}}, "at '/run': additional properties 'conf' not allowed"),
        ({"workerPool": {}}, "additional properties 'workerPool' not allowed"),
        ({"taskManager": {"replicas": 0}}, "at '/taskManager/replicas': minimum: got 0, want 1"),
        ({"taskManager": {"replicas": "two"}}, "at '/taskManager/replicas': got string, want integer"),
        ({"taskManager": {"memory": "4Gi"}}, "at '/taskManager/memory'"),
        ({"pool": {"gpus": True}}, "at '/pool/gpus': got boolean, want integer"),
        ({"pool": {"resources": {"request": {}}}}, "additional properties 'request' not allowed"),
        ({"flink": {"version": "2.0"}}, "at '/flink/version': value must be one of '1.19', '1.20'"),
        ({"flink": {"configuration": {"web.timeout": 60}}}, "at '/flink/configuration/web.timeout'"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name: name the existing service account"),
        ({"networkPolicy": {"operatorNamespace": ""}}, "networkPolicy.operatorNamespace: name the namespace"),
        ({"credentials": {"s3": {"accessKey": "AKIA"}}}, "additional properties 'accessKey' not allowed"),
    ],
)
def test_mistakes_in_values_are_told(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    done = template(tmp_path, MINIMAL | change)
    assert done.returncode != 0
    assert told in done.stderr


@pytest.mark.parametrize(
    ("release", "told"),
    [("1day", "a name of lower-case letters, digits and dashes that begins with a letter"), ("r" * 45, "too long")],
)
def test_names_that_flink_refuses_are_told(tmp_path: Path, release: str, told: str) -> None:
    done = template(tmp_path, MINIMAL, release)
    assert done.returncode != 0
    assert told in done.stderr


def test_every_change_is_a_job_of_its_own(tmp_path: Path) -> None:
    """What applies templates without counting revisions cannot change a Job either."""
    changed = copy.deepcopy(MINIMAL)
    changed["run"]["config"]["limit"] = 10
    names = [only(rendered(tmp_path, values), "Job")["metadata"]["name"] for values in (MINIMAL, changed, MINIMAL)]
    assert names[0] == names[2] != names[1]


def test_a_release_is_installed_run_again_and_removed(tmp_path: Path, server: ApiServer) -> None:
    place = ("--namespace", NAMESPACE, "--kubeconfig", str(server.kubeconfig(tmp_path / "kubeconfig")))
    chart = (str(CHART), *place, "--values", file_of(MINIMAL, tmp_path))
    jobs = []
    for command in ("install", "upgrade", "upgrade"):
        done = helm(command, "curate", *chart)
        assert done.returncode == 0, done.stderr
        assert "curates into s3://datasets/day1" in done.stdout
        assert server.names("flink.apache.org/v1beta1", "flinkdeployments") == ["curate-beam-curate"]
        jobs += server.names("batch/v1", "jobs")
    assert len(set(jobs)) == len(jobs) == 3  # each has one, and those before are gone
    done = helm("uninstall", "curate", *place)
    assert done.returncode == 0, done.stderr
    for version, plural in (("batch/v1", "jobs"), ("apps/v1", "deployments"), ("v1", "services"), ("v1", "secrets")):
        assert server.names(version, plural) == []


def as_told(content: Any) -> Any:
    """The content with quantities as texts, as Kubernetes writes them."""
    if isinstance(content, dict):
        quantities = content.keys() >= {"cpu"} or "nvidia.com/gpu" in content
        return {key: str(value) if quantities else as_told(value) for key, value in content.items()}
    return [as_told(one) for one in content] if isinstance(content, list) else content


def parsed_command(resources: list[dict[str, Any]], folder: Path) -> Parsed:
    """What the program understands of the Job's command, with the file from the ConfigMap."""
    container = containers(pods(resources)["run"])["run"]
    assert container["command"] == ["python", "-m", "beam_curate.run"]
    (mount,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "config")
    for name, text in only(resources, "ConfigMap")["data"].items():
        (folder / name).write_text(text)
    return parse([argument.replace(f"={mount}/", f"={folder}/") for argument in container["args"]])
