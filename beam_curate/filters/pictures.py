"""The frames of a clip as a picture model wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beam_curate.captions.clip_file import frame_times, open_clip
from beam_curate.errors import LostFramesError

if TYPE_CHECKING:
    from PIL import Image

SIDE = 224
"""Side of the pictures of CLIP ViT-L/14, in pixels."""


def square_pictures(clip: Path, fps: float) -> NDArray[np.uint8]:
    """Returns frames of a clip, each scaled so that its shorter side has 224 pixels, and cropped to the middle.

    This is what CLIP's own image processor does (bicubic with antialiasing), up to its normalisation.

    Args:
        clip: A clip.
        fps: Frames/s that are taken: those nearest to every 1/fps s from the first frame on, each once.

    Returns:
        uint8 RGB [n, 224, 224, 3], n at least 1.

    Raises:
        LostFramesError: It cannot be decoded, or has no frame.
    """
    pictures = []
    with open_clip(clip) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise LostFramesError(f"{clip.name} has no frame rate")
        times = frame_times(clip, rate)
        starts = np.arange(max(1, stream.frames)) / float(rate) if times is None else times[:-1]
        wanted = nearest(starts, fps)
        last = max(wanted)
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                pictures.append(_square(frame.to_image()))
            if number == last:
                break
    if not pictures:
        raise LostFramesError(f"{clip.name} has no frames")
    return np.stack(pictures)


def nearest(starts: NDArray[np.float64], fps: float) -> set[int]:
    """Returns the frames nearest to every 1/fps s.

    >>> sorted(nearest(np.arange(48) / 24, fps=1.0))
    [0, 24, 47]

    Args:
        starts: When each frame begins, in s, increasing.
        fps: How many of them in a second.
    """
    if len(starts) == 1:
        return {0}
    targets = np.arange(starts[0], starts[-1] + 0.5 / fps, 1 / fps)
    after = np.clip(np.searchsorted(starts, targets), 1, len(starts) - 1)
    before = after - 1
    chosen = np.where(targets - starts[before] <= starts[after] - targets, before, after)
    return set(chosen.tolist())


def _square(picture: Image.Image) -> NDArray[np.uint8]:
    from PIL.Image import Resampling

    short = min(picture.size)
    width, height = (int(SIDE * side / short) for side in picture.size)
    scaled = picture.convert("RGB").resize((width, height), Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return np.asarray(scaled.crop((left, top, left + SIDE, top + SIDE)))
