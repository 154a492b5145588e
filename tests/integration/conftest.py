from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, run, snapshot


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as users have them: several containers, rates, lengths and sizes, one with a folder of its own."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "first.mp4", frames=330, shots=(0, 150), audio="aac", seed=1)
    make_video(folder / "second.mkv", frames=260, shots=(0, 130), rate=Fraction(30000, 1001), seed=2)
    (folder / "deeper").mkdir()
    make_video(folder / "deeper" / "third.mov", frames=720, rate=Fraction(30), size=(322, 182), seed=3)
    make_video(folder / "zz short.mp4", frames=20, seed=4)
    return folder


@pytest.fixture(scope="session")
def direct(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], str]:
    """What DirectRunner makes of it with fixed stride: where, what, and what was printed.

    The place itself is free: paths stand in the records, so what is to be compared has to be written there too.
    """
    output = tmp_path_factory.mktemp("direct") / "out"
    printed = run(videos, output, *FIXED_STRIDE)
    taken = snapshot(output)
    shutil.rmtree(output)
    return output, taken, printed
