"""Videos whose motion is known: a texture of blocks that is shown through a window which moves over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (640, 360)


def make_moving(
    path: Path,
    *,
    speed: int = 4,
    frames: int = 120,
    size: tuple[int, int] = SIZE,
    rate: int = 24,
    part: float = 1.0,
    grain: float = 0.0,
    options: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Writes a video and returns its path.

    Args:
        path: Where to; its folder must exist.
        speed: Pixels to the left in each frame.
        frames: How many.
        size: Width and height in pixels.
        rate: Frames/s.
        part: Share of the width that moves, from the left.
        grain: Standard deviation of noise, in grey levels.
        options: Of the encoder.
        seed: Of texture and noise.
    """
    width, height = size
    random = np.random.default_rng(seed)
    blocks = (height // 12 + 1, (width + speed * frames) // 12 + 1, 3)
    texture = np.kron(random.integers(0, 255, blocks, dtype=np.uint8), np.ones((12, 12, 1), dtype=np.uint8))
    moving = round(width * part)

    def picture(number: int) -> NDArray[np.uint8]:
        shown = texture[:height, :width].copy()
        left = speed * number
        shown[:, :moving] = texture[:height, left : left + moving]
        noisy = shown + random.normal(0, grain, shown.shape) if grain else shown
        return np.clip(noisy, 0, 255).astype(np.uint8)

    return write_pictures(path, picture, frames, size, rate, options)


def write_pictures(
    path: Path,
    picture: Callable[[int], NDArray[np.uint8]],
    frames: int,
    size: tuple[int, int],
    rate: int = 24,
    options: dict[str, str] | None = None,
) -> Path:
    """Encodes pictures, RGB [height, width, 3], as H.264."""
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "18"} | (options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        file.mux(stream.encode())
    return path
