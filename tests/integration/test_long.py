"""Long: one source of two hours. What is made of its end is as right as what is made of its beginning."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.media import frame_numbers, make_video
from tests.support.program import command, summary

pytestmark = pytest.mark.soak

FRAMES_PER_S = 5
FRAMES = 2 * 3600 * FRAMES_PER_S
# A cut every 300 s, and one 12 s before the end.
CUTS = (*range(1500, FRAMES, 1500), FRAMES - 12 * FRAMES_PER_S)
CLIPS_ONLY = ("--generate-cosmos-predict-dataset", "disable")


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the long video."""
    folder = tmp_path_factory.mktemp("long")
    make_video(folder / "long.mp4", frames=FRAMES, rate=Fraction(FRAMES_PER_S), size=(160, 96), shots=(0, *CUTS))
    return folder


def curated(source: Path, output: Path, *flags: str) -> list[dict[str, Any]]:
    """Runs the program and returns the records of all clips, in the order of their frames."""
    done = subprocess.run(
        command(source, output, *CLIPS_ONLY, *flags), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    metas = [json.loads(path.read_text()) for path in (output / "metas" / "v0").glob("*.json")]
    assert len(metas) == summary(output)["total_num_clips_transcoded"]
    return sorted(metas, key=lambda meta: meta["frame_span"])


def assert_is_right(meta: dict[str, Any]) -> None:
    """Every frame of a clip is the one its record names, and its caption covers them all."""
    start, end = meta["frame_span"]
    assert frame_numbers(Path(meta["clip_location"])) == list(range(start, end))
    assert meta["duration_span"] == pytest.approx([start / FRAMES_PER_S, end / FRAMES_PER_S])
    (window,) = meta["windows"]
    assert (window["start_frame"], window["end_frame"]) == (0, end - start - 1)
    assert window["describe_caption"]


def test_clips_of_equal_length_cover_all_of_it(two_hours: Path, tmp_path: Path) -> None:
    flags = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "10")
    metas = curated(two_hours, tmp_path / "out", *flags)
    assert [meta["frame_span"] for meta in metas] == [[start, start + 50] for start in range(0, FRAMES, 50)]
    for meta in (metas[0], metas[len(metas) // 2], *metas[-3:]):
        assert_is_right(meta)


def test_shots_are_found_up_to_the_end(two_hours: Path, tmp_path: Path) -> None:
    flags = ("--splitting-algorithm", "transnetv2", "--transnetv2-crop-s", "0", "--transnetv2-max-length-s", "1000")
    metas = curated(two_hours, tmp_path / "out", *flags)
    # The network marks the last frame before a cut, and what it marks belongs to no shot.
    ends = [*(cut - 1 for cut in CUTS), FRAMES]
    assert [meta["frame_span"] for meta in metas] == [list(span) for span in zip((0, *CUTS), ends, strict=True)]
    assert_is_right(metas[-1])
    assert frame_numbers(Path(metas[-2]["clip_location"])) == list(range(CUTS[-2], CUTS[-1] - 1))
