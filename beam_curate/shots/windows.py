"""The sliding windows in which TransNetV2 looks at a video, made from a stream of frames in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from beam_curate.models.transnetv2 import MARGIN, STEP, WINDOW


def windows(batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yields uint8 windows [100, 27, 48, 3] covering all frames of a video.

    Args:
        batches: Consecutive frames, uint8 [n, 27, 48, 3] each.

    Window i answers for frames 50 i to 50 i + 49. The video is padded with 25 copies of its first frame and,
    at the end, with as many of its last as the last window needs, as the published model does.
    """
    held: NDArray[np.uint8] | None = None
    count = 0
    for batch in batches:
        count += len(batch)
        held = np.repeat(batch[:1], MARGIN, axis=0) if held is None else held
        held = np.concatenate((held, batch))
        while len(held) >= WINDOW:
            yield held[:WINDOW]
            held = held[STEP:]
    if held is None:
        return
    answered = 0 if count + MARGIN < WINDOW else (count + MARGIN - WINDOW) // STEP + 1
    missing = -(-count // STEP) - answered
    if missing > 0:
        pad = WINDOW + (missing - 1) * STEP - len(held)
        held = np.concatenate((held, np.repeat(held[-1:], pad, axis=0)))
        for start in range(0, missing * STEP, STEP):
            yield held[start : start + WINDOW]
