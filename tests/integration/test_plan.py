"""`beam-curate plan`: it asks nobody, and what it writes is the job that Beam would submit, without a secret in it."""

from __future__ import annotations

import base64
import bz2
import dataclasses
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from tests.support.dataflow import CLOUD, MODELS, PLACES, WITH_MODELS
from tests.support.media import make_video
from tests.support.offline import attempts_of, run_offline
from tests.support.program import DESCRIBED, FIXED_STRIDE
from tests.support.secrets import found_in, layers

PARDO = "beam:transform:pardo:v1"
HINT = "beam:resources:accelerator:v1"
DATAFLOW = ("--runner=DataflowRunner", *PLACES, *CLOUD)
COMMAND = ["-m", "beam_curate.cli.main", "plan"]
ROOT = Path(__file__).parents[2]
_GOOGLE_SECRETS = ("client_secret", "refresh_token")


@dataclasses.dataclass
class Planned:
    """A plan: what was printed and written."""

    printed: str
    folder: Path

    @property
    def job(self) -> dict:
        return json.loads((self.folder / "job.json").read_text())["environment"]

    @property
    def workers(self) -> dict:
        (pool,) = self.job["workerPools"]
        return pool

    @property
    def payload(self) -> bytes:
        return (self.folder / "pipeline.pb").read_bytes()

    @property
    def graph(self) -> beam_runner_api_pb2.Pipeline:
        return beam_runner_api_pb2.Pipeline.FromString(self.payload)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to submit from, with a home in it."""
    (tmp_path / "home").mkdir()
    return tmp_path


def plan(place: Path, *flags: str, expect: int = 0, **environment: str) -> Planned:
    done = run_offline([*COMMAND, *flags], place / "guard", {"HOME": str(place / "home")} | environment, cwd=place)
    assert done.returncode == expect, done.stdout + done.stderr
    assert attempts_of(place / "guard") == []
    return Planned(done.stdout, place / "beam_curate_plan")


def parts(printed: str) -> list[str]:
    lines = [line.strip() for line in printed.splitlines()]
    return [line for line in lines if line[:2] in {f"{number}." for number in range(1, 10)}]


def test_attempts_to_reach_the_network_are_seen(tmp_path: Path) -> None:
    ask = "import contextlib, urllib.request as u\nwith contextlib.suppress(OSError): u.urlopen('http://example.org')"
    assert run_offline(["-c", ask], tmp_path).returncode == 0
    assert attempts_of(tmp_path)


def test_a_job_for_dataflow(place: Path) -> None:
    planned = plan(place, *DATAFLOW, *WITH_MODELS, *MODELS, "--max_num_workers=4")
    workers, image = planned.workers, CLOUD[-1].partition("=")[2]
    assert workers["workerHarnessContainerImage"] == image
    assert [one["containerImage"] for one in workers["sdkHarnessContainerImages"]] == [image]
    assert (workers["machineType"], workers["diskSizeGb"]) == ("g2-standard-8", 200)
    assert workers["numThreadsPerWorker"] == 24
    assert workers["autoscalingSettings"] == {"maxNumWorkers": 4}
    assert "packages" not in workers  # the image has them
    job = planned.job
    assert job["serviceOptions"] == ["worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver:5xx"]
    assert "no_use_multiple_sdk_containers" in job["experiments"]
    assert "use_multiple_sdk_containers" not in job["experiments"]
    options = job["sdkPipelineOptions"]["options"]
    assert (options["project"], options["region"]) == ("footage-team", "europe-west4")
    assert (options["sdk_location"], options["temp_location"]) == ("container", "gs://bucket/tmp")
    assert json.loads((planned.folder / "job.json").read_text())["type"] == "JOB_TYPE_BATCH"
    assert parts(planned.printed) == [
        "1. ReadVideos",
        "2. ReadVideos > DetectShots > CutClips > Captions > Before text",
        "3. Before text > Text > Windows > WriteCosmosDataset > RecordVideos",
    ]


def test_gpus_only_where_needed(place: Path) -> None:
    flags = (*WITH_MODELS, *MODELS, "--gpu-only-where-needed=nvidia-l4", "--machine_type=n2-standard-16")
    planned = plan(place, *DATAFLOW, *flags, "--gpu-memory-gb=48")
    assert "serviceOptions" not in planned.job
    assert planned.workers["machineType"] == "n2-standard-16"
    assert len(planned.workers["sdkHarnessContainerImages"]) == 2
    hint = b"type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver:5xx"
    components = planned.graph.components
    hints = {name: dict(one.resource_hints).get(HINT) for name, one in components.environments.items()}
    assert sorted(hints.values(), key=str) == [None, hint] or sorted(hints.values(), key=str) == [hint, None]
    hinted = {
        transform.unique_name.partition("/")[0]
        for transform in components.transforms.values()
        if transform.spec.urn == PARDO and hints[transform.environment_id]
    }
    assert hinted == {"Captions", "Text"}
    assert [line.partition("  on workers with ")[0] for line in parts(planned.printed)] == [
        "1. ReadVideos",
        "2. ReadVideos > DetectShots > CutClips",
        "3. Captions > Text",
        "4. Windows > WriteCosmosDataset > RecordVideos",
    ]


def test_what_is_wrong_is_said_beside_the_plan(place: Path) -> None:
    planned = plan(place, "--runner=DataflowRunner", *PLACES, *WITH_MODELS, "--estimate-hours-of-video=10", expect=1)
    errors = [line for line in planned.printed.splitlines() if line.startswith("error: ")]
    assert [error.split()[1] for error in errors] == [
        "--runner=DataflowRunner",
        "--project",
        "--region",
        "--temp_location",
        "workers",
    ]
    assert "Estimate for 10 hours of video" in planned.printed
    assert [path.name for path in planned.folder.iterdir()] == ["pipeline.pb"]


@pytest.mark.parametrize("runner", ["DirectRunner", "PrismRunner", "FlinkRunner", "PortableRunner"])
def test_other_runners(runner: str, place: Path) -> None:
    videos = place / "videos"
    videos.mkdir()
    make_video(videos / "a.mp4", frames=240, seed=1)
    places = ("--input-video-path", str(videos), "--output-clip-path", str(place / "out"))
    planned = plan(place, *DESCRIBED, *FIXED_STRIDE, *places, f"--runner={runner}")
    assert "Estimate for 1 videos" in planned.printed
    found = parts(planned.printed)
    # One video is dealt out to the cores chunk by chunk.
    assert found[0] == "1. ReadVideos"
    assert found[1] == "2. ReadVideos > DetectShots > DealOut"
    assert found[2] == "3. DealOut > CutClips > Captions > Text > Windows > WriteCosmosDataset > RecordVideos"
    assert [path.name for path in planned.folder.iterdir()] == ["pipeline.pb"]
    assert not (place / "out").exists()
    steps = {transform.unique_name.partition("/")[0] for transform in planned.graph.components.transforms.values()}
    assert {"CutClips", "Captions", "RecordVideos"} <= steps


def test_models_that_a_run_here_would_lack(place: Path) -> None:
    places = ("--input-video-path=gs://bucket/in", "--output-clip-path=out")
    planned = plan(place, *places, *WITH_MODELS, "--workspace=workspace", expect=1)
    assert "error: --captioning-algorithm cosmos_r1 needs nvidia/Cosmos-Reason1-7B" in planned.printed


def test_mistakes_in_its_own_flags(place: Path) -> None:
    for flags in (["--estimate-hours-of-video=many"], ["--price-table=none.yaml", "--estimate-hours-of-video=1"]):
        done = run_offline([*COMMAND, *DATAFLOW, *flags], place / "guard", cwd=place)
        assert done.returncode == 2, done.stdout + done.stderr
        assert flags[0].partition("=")[0] in done.stderr
    assert not (place / "beam_curate_plan").exists()


def test_its_help_has_its_flags_and_those_of_a_run() -> None:
    done = subprocess.run([sys.executable, *COMMAND, "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
    for flag in ("--plan-path", "--estimate-hours-of-video", "--price-table", "--input-video-path", "--runner"):
        assert flag in done.stdout
    split = subprocess.run(
        [sys.executable, "-m", "beam_curate.run", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "--plan-path" not in split.stdout


def test_the_command_of_the_documentation(place: Path) -> None:
    text = (ROOT / "docs" / "dataflow.md").read_text()
    command = text.partition("    beam-curate plan ")[2].partition("\n\n")[0].replace("\\\n", " ")
    flags = command.replace("PROJECT", "footage-team").replace("BUCKET", "bucket").split()
    planned = plan(place, *flags)
    assert "Estimate for 1,000 hours of video" in planned.printed
    assert "on 20 workers at least" in planned.printed
    assert not [line for line in planned.printed.splitlines() if line.startswith(("error", "warning"))]


# Secrets.


def functions_of(graph: beam_runner_api_pb2.Pipeline) -> list[bytes]:
    """The pickles of all functions of a graph, unpacked."""
    found = []
    for transform in graph.components.transforms.values():
        if transform.spec.urn == PARDO:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            found.append(bz2.decompress(base64.b64decode(payload.do_fn.payload)))
    return found


def test_no_payload_holds_a_secret_or_a_path_of_the_submitter(place: Path) -> None:
    names = ("aws_secret", "aws_token", "environment", "user", "password", "google", "hub", "unused")
    held = {name: secrets.token_hex(16) for name in names}
    home = place / "home"
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        f"[team]\naws_access_key_id = AKIA{held['unused']}\naws_secret_access_key = {held['aws_secret']}\n"
        f"aws_session_token = {held['aws_token']}\n"
    )
    google = home / "google.json"
    google.write_text(
        json.dumps({"type": "authorized_user", "client_id": "me"} | dict.fromkeys(_GOOGLE_SECRETS, held["google"]))
    )
    planted = secrets.token_hex(16)  # it is looked for as well: the search has to find it
    planned = plan(
        place,
        *DATAFLOW,
        *WITH_MODELS,
        "--model-weights-path=s3://bucket/models",
        "--input-s3-profile-name=team",
        "--output-s3-profile-name=team",
        f"--captioning-prompt-text=Say {planted}.",
        GOOGLE_APPLICATION_CREDENTIALS=str(google),
        AWS_SECRET_ACCESS_KEY=held["environment"],
        AWS_SESSION_TOKEN=held["environment"],
        OPENAI_API_KEY=held["environment"],
        HF_TOKEN=held["hub"],
        HTTPS_PROXY=f"http://{held['user']}:{held['password']}@127.0.0.1:1",
    )
    graph, unpacked = planned.payload, set(layers(planned.payload))
    functions = functions_of(planned.graph)
    assert len(functions) > 15
    assert all(function in unpacked for function in functions)
    assert found_in(graph, [planted, "team", "bucket"]) == {planted, "team", "bucket"}
    places = [str(place), str(home), sys.prefix, str(ROOT), os.path.expanduser("~"), "site-packages"]
    assert found_in(graph, [*held.values(), *places]) == set()
    job = (planned.folder / "job.json").read_bytes()
    assert found_in(job, ["footage-team"]) == {"footage-team"}
    assert found_in(job, [*held.values(), str(home), sys.prefix, str(ROOT), "site-packages"]) == set()
    assert found_in(planned.printed.encode(), held.values()) == set()


def test_flags_with_keys_are_refused_before_a_job_is_written(place: Path) -> None:
    secret = secrets.token_hex(16)
    planned = plan(place, *DATAFLOW, f"--s3_secret_access_key={secret}", expect=1)
    assert "error: --s3_secret_access_key would be written into the job" in planned.printed
    assert [path.name for path in planned.folder.iterdir()] == ["pipeline.pb"]
    assert found_in(planned.payload + planned.printed.encode(), [secret]) == set()
