"""A disk that fills up: the program says so, leaves nothing partial, and goes on when there is room again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_curate.dataset.verify.verify import verify
from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, command, dataset_stems, snapshot

FLAGS = (*FIXED_STRIDE, "--predict2-min-frames", "60", "--captioning-window-size", "64")
FLAGS += ("--captioning-remainder-threshold", "32")  # so that clips have several windows, which are cut
FULL = "No space left on device"
# Of what the whole output takes; they fill up in different stages: cutting, windows, publishing, records, the summary.
FEW_SHARES, MANY_SHARES = (
    (0.3, 0.97),
    (0.002, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99),
)
IN_NAMESPACE = "BEAM_CURATE_TEST_IN_NAMESPACE"


@pytest.mark.parametrize("shares", [FEW_SHARES, pytest.param(MANY_SHARES, marks=pytest.mark.soak)], ids=["few", "many"])
def test_a_full_disk(tmp_path: Path, shares: tuple[float, ...], request: pytest.FixtureRequest) -> None:
    if os.geteuid() != 0 and IN_NAMESPACE not in os.environ:
        again_as_root_of_a_namespace(request.node.nodeid)
        return
    source, disk = tmp_path / "in", tmp_path / "disk"
    source.mkdir()
    disk.mkdir()
    for seed in range(3):
        make_video(source / f"{seed}.mp4", frames=240, seed=seed)
    with mounted(disk, 1 << 30):
        status, printed = curate(source, disk / "out")
        assert status == 0 and FULL not in printed, printed
        undisturbed = snapshot(disk / "out")
        usage = shutil.disk_usage(disk)
        needed = usage.used
    for share in shares:
        with mounted(disk, int(needed * share)):
            status, printed = curate(source, disk / "out")
            assert FULL in printed, (share, printed)
            assert "Traceback" not in printed, (share, printed)
            assert status in (1, 2), (share, printed)
            assert_nothing_partial(disk / "out")

            subprocess.run(["mount", "-o", f"remount,size={1 << 30}", str(disk)], check=True)
            status, printed = curate(source, disk / "out")
            assert status == 0 and FULL not in printed, (share, printed)
            assert snapshot(disk / "out") == undisturbed, share
            assert list((disk / "out" / ".work" / "tmp").iterdir()) == [], share


def curate(source: Path, output: Path) -> tuple[int, str]:
    done = subprocess.run(
        command(source, output, *FLAGS), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    return done.returncode, done.stdout


def assert_nothing_partial(output: Path) -> None:
    """Every item that the trainer's loader would list is whole, and so is every clip."""
    if dataset_stems(output):
        report = verify(output / "cosmos_predict2_video2world_dataset", min_frames=60, allow_random_embeddings=True)
        assert report.ok, report.faults
    assert not [path for path in output.glob("clips/*") if path.stat().st_size == 0]


@contextlib.contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[None]:
    """Mounts a file system of its own size on a folder."""
    pages = -(-size_bytes // 4096)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={pages * 4096}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def again_as_root_of_a_namespace(node: str) -> None:
    """Runs a test again where this user may mount."""
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "pytest", "-m", "soak or not soak", node],
        env=os.environ | {IN_NAMESPACE: "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
