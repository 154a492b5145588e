"""The motion score of a clip, against decoding the same frames, and painting vectors, against one after the other."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
from common import in_turn, report
from footage import make_footage
from numpy.typing import NDArray

from beam_curate.captions.clip_file import open_clip
from beam_curate.filters import motion
from tests.beam_curate.filters.test_motion import painted

FPS, RATIO, SECONDS, RATE = 2.0, 0.5, 20, 24
SIZE = (1280, 720)


def decode(clip: Path) -> None:
    """Decodes the frames that a score needs, and looks at none."""
    frames = max(10, round(FPS * RATIO * SECONDS))
    with open_clip(clip) as (container, stream):
        for _ in itertools.islice(container.decode(stream), round(RATE / FPS) * frames + 1):
            pass


def main() -> None:
    """Compares what both sides make, times them in turn, and prints a line for each result."""
    width, height = SIZE
    with tempfile.TemporaryDirectory() as folder:
        clip = make_footage(Path(folder) / "clip.mp4", size=SIZE, rate=RATE, seconds=SECONDS)
        ours, plain = in_turn(lambda: motion.motion_score(clip, FPS, RATIO), lambda: decode(clip))
        with open_clip(clip) as (container, stream):
            stream.codec_context.options = {"flags2": "+export_mvs"}
            found = (motion._vectors(frame) for frame in itertools.islice(container.decode(stream), 24))
            vectors = [one for one in found if one is not None]

    def in_cells() -> list[NDArray[np.float64]]:
        return [motion.lengths_of(one, height, width) for one in vectors]

    def one_by_one() -> list[NDArray[np.float64]]:
        return [painted(one, height, width) for one in vectors]

    for fast, slow in zip(in_cells(), one_by_one(), strict=True):
        assert abs(np.kron(fast, np.ones((8, 8)))[:height, :width] - slow).max() < 1e-6
    fast_s, slow_s = in_turn(in_cells, one_by_one)
    report("motion", ours / plain, "<=1.3", f"{ours:.2f} s for {SECONDS} s in 720p")
    report("motion_painting", slow_s / fast_s, ">=8", f"{sum(map(len, vectors)) / len(vectors):.0f} vectors a frame")


if __name__ == "__main__":
    main()
