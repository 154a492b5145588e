"""Divides a stream of frames into the sliding windows that TransNetV2 takes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from beam_curate.shots.transnetv2 import FAST_WINDOW, MARGIN, WINDOW


def sliding_windows(batches: Iterable[NDArray[np.uint8]], *, fast: bool = False) -> Iterator[NDArray[np.uint8]]:
    """Yields uint8 windows [n, 27, 48, 3] that together give a probability for each frame of a video, in order.

    A window gives probabilities for all its frames but the outer 25 on either side. As in the published inference, the
    video is padded with 25 copies of its first frame and with as many copies of its last as the last window needs.

    >>> [len(window) for window in sliding_windows([np.zeros((120, 27, 48, 3), np.uint8)])]
    [100, 100, 100]

    Args:
        batches: Consecutive frames, uint8 [n, 27, 48, 3] each.
        fast: Use windows of 300 frames instead of the published 100; the last one is only as long as needed.
    """
    size = FAST_WINDOW if fast else WINDOW
    step = size - 2 * MARGIN
    held: NDArray[np.uint8] | None = None
    for batch in batches:
        held = np.repeat(batch[:1], MARGIN, axis=0) if held is None else held
        held = np.concatenate((held, batch))
        while len(held) >= size:
            yield held[:size]
            held = held[step:]
    if held is None:
        return
    remaining = len(held) - MARGIN
    padding = MARGIN if fast else -(-remaining // step) * step + 2 * MARGIN - len(held)
    held = np.concatenate((held, np.repeat(held[-1:], padding, axis=0)))
    if fast:
        yield held
        return
    for start in range(0, remaining, step):
        yield held[start : start + size]
