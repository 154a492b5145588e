"""Two runs at once on one output: both end well, and the result is that of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_curate.dataset.verify.verify import verify
from tests.support import reliability
from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, command, dataset_stems, run, snapshot, start, wait_for

SHOTS = ("--splitting-algorithm", "transnetv2", "--transnetv2-crop-s", "0")
ALIVE = "another run is writing to this output"


def both(source: Path, output: Path, *flags: str) -> tuple[str, str]:
    """Starts a second run while a first one works; returns what they printed."""
    first = start(command(source, output, *flags))
    wait_for(lambda: list((output / ".work" / "runs").glob("*/selection-0")), first)
    second = start(command(source, output, *flags))
    printed = first.communicate(timeout=600)[0], second.communicate(timeout=600)[0]
    assert (first.returncode, second.returncode) == (0, 0), printed
    return printed


def test_two_runs_at_once(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for seed in range(3):
        make_video(source / f"{seed}.mp4", frames=480, seed=seed)
    first, second = both(source, tmp_path / "out", *FIXED_STRIDE)
    assert ALIVE not in first and ALIVE in second
    assert_as_one(source, tmp_path, *FIXED_STRIDE)


@pytest.mark.soak
def test_two_runs_at_once_again_and_again(videos: Path, tmp_path: Path) -> None:
    rows = []
    for times, (name, flags) in ((3, ("fixed stride", FIXED_STRIDE)), (3, ("shot detection", SHOTS))):
        for time in range(times):
            folder = tmp_path / f"{name} {time}"
            _, second = both(videos, folder / "out", *flags)
            assert ALIVE in second
            assert_as_one(videos, folder, *flags)
        rows.append((name, times, "both exit 0, output as of one run, byte for byte"))
    reliability.write_section("two-runs", reliability.table(("two runs at once", "times", "outcome"), rows))


def assert_as_one(source: Path, folder: Path, *flags: str) -> None:
    """The same bytes as one run; it takes the same folder, since records hold paths."""
    output = folder / "out"
    assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok
    assert list((output / ".work" / "tmp").iterdir()) == []
    of_two = snapshot(output)
    output.rename(folder / "of two")
    run(source, output, *flags)
    assert dataset_stems(output)
    assert snapshot(output) == of_two
