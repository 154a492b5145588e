"""The image of the Dockerfile is built for real; the demo, the check and the workers of a Flink cluster run in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flink_cluster import flink_cluster
from tests.support.images import IMAGE, Images
from tests.support.needed import need
from tests.support.program import FIXED_STRIDE, run, snapshot
from tools import engines

pytestmark = pytest.mark.soak
CHECK = [sys.executable, "-m", "beam_curate.cli.main", "image", "check", IMAGE, "--engine", "buildah"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    need("buildah", "debootstrap", engines.BOOT)
    if os.geteuid():
        pytest.skip("debootstrap and chroot are for root")
    folder = tmp_path_factory.mktemp("images")
    try:
        images = Images(folder)
        images.build()
        yield images
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that the user of the image can write to."""
    open_to_all(tmp_path)
    return tmp_path


def open_to_all(folder: Path) -> None:
    """Has every user reach a folder below pytest's, which are for its own user."""
    for one in (folder, *folder.parents[:2]):
        one.chmod(0o777)


def in_image(images: Images, *command: str, mounts: tuple[str, ...] = (), expect: int = 0) -> str:
    whole = images.run_command(images.container(), *command, mounts=mounts)
    done = subprocess.run(whole, env=images.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == expect, done.stdout
    return done.stdout


def test_the_check_finds_all_that_a_worker_needs(images: Images) -> None:
    done = subprocess.run(CHECK, env=images.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    for line in ("ok: boot program /opt/apache/beam/boot", "ok: versions are those of this computer", "ok: encoder"):
        assert line in done.stdout
    assert "with the libraries of CUDA" in done.stdout and "error" not in done.stdout


def test_the_demo_runs_in_it_without_rights(images: Images, shared: Path) -> None:
    mounts = (f"{shared}:{shared}",)
    assert in_image(images, "id", "-u").strip() == "1000"
    printed = in_image(images, "beam-curate", "demo", "--output-clip-path", f"{shared}/demo", mounts=mounts)
    assert "cosmos_predict2_video2world_dataset: ok" in printed
    output = shared / "demo" / "curated"
    clips = json.loads((output / "summary.json").read_text())["total_num_clips_transcoded"]
    assert clips == len(list((output / "clips").iterdir())) > 0


def test_the_workspace_is_the_mounted_one(images: Images, shared: Path) -> None:
    model = shared / "models" / "google-t5" / "t5-11b"
    model.mkdir(parents=True)
    printed = in_image(images, "beam-curate", "image", "check", mounts=(f"{shared}:/config",), expect=1)
    assert "error: model t5_xxl: " in printed  # it is found, and has no files


def test_workers_in_it_do_the_work_of_a_flink_cluster(images: Images, videos: Path, shared: Path) -> None:
    need("java", engines.FLINK_LIB, engines.JOB_SERVER_JAR)
    open_to_all(videos)
    output = shared / "out"
    run(videos, output, *FIXED_STRIDE)
    expected = snapshot(output)
    shutil.rmtree(output)
    container = images.container()
    mounts = (f"{videos}:{videos}", f"{shared}:{shared}")
    pool = images.run_command(container, "/opt/apache/beam/boot", "--worker_pool", mounts=mounts)
    (shared / "flink").mkdir()
    os.umask(0)  # folders of the driver take files of the workers' user
    with flink_cluster(shared / "flink", (50_000, pool, images.environment)) as cluster, cluster.explained():
        run(videos, output, *FIXED_STRIDE, *cluster.flags)
    assert snapshot(output) == expected
