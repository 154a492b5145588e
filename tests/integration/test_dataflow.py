"""Runs that are submitted to Dataflow by Beam's own client, with a stand-in for the service; see its module."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from google.cloud.dataflow import JobState

from tests.support.dataflow import CLOUD
from tests.support.dataflow_service import JOB_ID, Service, dataflow_service
from tests.support.media import make_video
from tests.support.program import DESCRIBED, FIXED_STRIDE, start, wait_for
from tests.support.stores import new_place, upload


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An output in a bucket, beside an input with a video."""
    place = new_place("gs", tmp_path, request)
    videos = tmp_path / "videos"
    videos.mkdir()
    make_video(videos / "a.mp4", frames=120, seed=1)
    upload(videos, place.replace("/out", "/in"))
    return place


def submit(place: str, service: Service, cache: Path) -> subprocess.Popen[str]:
    bucket = place.removesuffix("/out")
    cloud = [flag for flag in CLOUD if not flag.startswith("--temp_location")]
    described = [flag for flag in DESCRIBED if not flag.startswith("--runner")]
    command = [sys.executable, "-m", "beam_curate.run", "--runner=DataflowRunner", *described, *FIXED_STRIDE, *cloud]
    places = ["--input-video-path", f"{bucket}/in", "--output-clip-path", place, f"--cache-path={cache}"]
    of_service = [f"--temp_location={bucket}/tmp", f"--dataflow_endpoint={service.endpoint}", "--no_auth"]
    return start([*command, *places, *of_service])


def test_a_job_is_submitted_followed_and_reported(place: str, tmp_path: Path) -> None:
    with dataflow_service(works=True) as service:
        process = submit(place, service, tmp_path / "cache")
        printed = process.communicate(timeout=200)[0]
    assert process.returncode == 0, printed
    page = f"https://console.cloud.google.com/dataflow/jobs/europe-west4/{JOB_ID}?project=footage-team"
    assert page in printed
    assert "1 found, 1 processed" in printed
    assert "1 items, 0 windows left out" in printed
    (pool,) = service.job["environment"]["workerPools"]
    assert pool["workerHarnessContainerImage"] == CLOUD[-1].partition("=")[2]
    assert pool["numThreadsPerWorker"] == 24
    assert service.job["name"].startswith("beam-curate-")


def test_a_job_that_fails_is_told_with_its_error(place: str, tmp_path: Path) -> None:
    error = "Startup of the worker pool in europe-west4 failed: the quota NVIDIA_L4_GPUS is exceeded."
    with dataflow_service(fails_with=error) as service:
        process = submit(place, service, tmp_path / "cache")
        printed = process.communicate(timeout=200)[0]
    assert process.returncode == 1, printed
    assert "NVIDIA_L4_GPUS is exceeded" in printed
    assert "Traceback" not in printed
    assert "run the same command again" in printed


def test_ctrl_c_cancels_the_job(place: str, tmp_path: Path) -> None:
    with dataflow_service() as service:
        process = submit(place, service, tmp_path / "cache")
        wait_for(lambda: service.job, process, within_s=120)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        printed = process.communicate(timeout=60)[0]
        assert time.monotonic() - begun < 10
    assert process.returncode == 130, printed
    assert service.asked_for == [JobState.JOB_STATE_CANCELLED]
