"""The sliding windows in which TransNetV2 looks at a video, made from a stream of frames in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from beam_curate.shots.transnetv2 import FAST_WINDOW, MARGIN, WINDOW


def windows(batches: Iterable[NDArray[np.uint8]], *, fast: bool = False) -> Iterator[NDArray[np.uint8]]:
    """Yields uint8 windows [n, 27, 48, 3] that together answer for all frames of a video, in order.

    A window answers for all its frames but the outer 25 on either side. The video is padded with 25 copies of its
    first frame and, at the end, with as many of its last as the last window needs, as the published model does.

    Args:
        batches: Consecutive frames, uint8 [n, 27, 48, 3] each.
        fast: Windows of 300 frames in place of the published 100, of which the last one has as many as it needs.
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
    unanswered = len(held) - MARGIN
    padding = MARGIN if fast else -(-unanswered // step) * step + 2 * MARGIN - len(held)
    held = np.concatenate((held, np.repeat(held[-1:], padding, axis=0)))
    if fast:
        yield held
        return
    for start in range(0, unanswered, step):
        yield held[start : start + size]
