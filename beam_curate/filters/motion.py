"""The filter ``motion``: clips in which hardly anything moves, by the motion vectors that their encoder chose.

Score and thresholds are those of cosmos-curate 1.4, but for two things: a patch counts with the mean over all of its
pixels, where cosmos-curate looks at four of them, and lengths are not rounded to whole seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
from numpy.typing import NDArray

from beam_curate.captions.clip_file import open_clip
from beam_curate.errors import NoScoreError
from beam_curate.filters.base import ClipFilter
from beam_curate.processes.permits import CORES

PATCH = 256
"""Side of a patch in pixels, and the smallest side of a clip that is scored."""

_CELL = 8  # blocks of H.264 that have vectors of their own are cut from an even grid of so many pixels
_FEWEST = 10  # frames with vectors that are looked at, where there are as many


@dataclasses.dataclass(frozen=True)
class MotionFilter(ClipFilter):
    """Scores how far the picture moves between frames, in shares of width plus height.

    Attributes:
        global_mean_threshold: Smallest mean over all frames and pixels.
        per_patch_min_256_threshold: Smallest mean of the patch that moves least.
        target_fps: How many frames/s are looked at.
        duration_ratio: How much of the clip is looked at, from its beginning.
    """

    global_mean_threshold: float
    per_patch_min_256_threshold: float
    target_fps: float
    duration_ratio: float

    name: ClassVar[str] = "motion"
    version: ClassVar[int] = 1
    rule: ClassVar[frozenset[str]] = ClipFilter.rule | {"global_mean_threshold", "per_patch_min_256_threshold"}
    transient: ClassVar[frozenset[str]] = rule
    model = None

    def score(self, clip: Path) -> Mapping[str, Any]:
        """Returns ``global_mean``, ``per_patch_min_256``, ``per_patch_min_256_sampled``, and how they were found."""
        with CORES.one():
            return motion_score(clip, self.target_fps, self.duration_ratio)

    def judge(self, values: Mapping[str, Any]) -> str | None:
        """Returns which of both scores is below its threshold.

        >>> filter = MotionFilter(True, 0.00098, 0.000001, target_fps=2.0, duration_ratio=0.5)
        >>> filter.judge({"global_mean": 0.0005, "per_patch_min_256": 0.0001})
        'global_mean 0.0005 is below --motion-global-mean-threshold 0.00098'
        """
        for name in ("global_mean", "per_patch_min_256"):
            threshold: float = getattr(self, f"{name}_threshold")
            if values[name] < threshold:
                flag = f"--motion-{name.replace('_', '-')}-threshold"
                return f"{name} {values[name]:.3g} is below {flag} {threshold:g}"
        return None


def motion_score(clip: Path, target_fps: float, duration_ratio: float) -> dict[str, Any]:
    """Returns the motion score of a clip.

    Args:
        clip: Of at least 256 pixels on each side.
        target_fps: How many frames/s are looked at.
        duration_ratio: How much of the clip is looked at.

    Returns:
        ``global_mean``, ``per_patch_min_256``, ``per_patch_min_256_sampled`` (as cosmos-curate samples it), all in
        shares of width plus height; ``frames``, and ``method``: ``motion_vectors``, or ``frame_differences`` where no
        frame has vectors: the mean difference of grey levels, 0 to 1, in the place of the length of vectors.

    Raises:
        NoScoreError: It is smaller than a patch, or has a single frame.
        LostFramesError: It cannot be decoded.
    """
    with open_clip(clip) as (container, stream):
        context = stream.codec_context
        height, width = context.height, context.width
        if min(height, width) < PATCH:
            raise NoScoreError(f"{width} x {height} pixels; a motion score needs {PATCH} on each side")
        context.options = {"flags2": "+export_mvs", "skip_loop_filter": "all"}  # it changes pixels, and no vector
        rate = stream.average_rate or Fraction(24)
        step = max(1, round(rate / Fraction(target_fps)))
        most = max(_FEWEST, round(target_fps * duration_ratio * float(stream.frames / rate)))
        total, frames = np.zeros((-(-height // _CELL), -(-width // _CELL))), 0
        for number, frame in enumerate(container.decode(stream)):
            if number % step == 0 and (vectors := _vectors(frame)) is not None:
                total += lengths_of(vectors, height, width)
                frames += 1
                if frames == most:
                    break
    if not frames:
        return _differences(clip, step, most) | {"method": "frame_differences"}
    return _summed_up(total / frames, height, width) | {"frames": frames, "method": "motion_vectors"}


def _vectors(frame: av.VideoFrame) -> NDArray[Any] | None:
    """Returns the motion vectors of a frame as a structured array; None for a frame without, such as a key frame."""
    found: Any = frame.side_data.get("MOTION_VECTORS")
    return None if found is None else found.to_ndarray()


def lengths_of(vectors: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Returns how far each part of a frame moves: [ceil(height / 8), ceil(width / 8)], in shares of width plus height.

    Each vector holds for its block; where blocks overlap, as the two vectors of a block predicted from both sides do,
    the later one counts. What has no vector does not move.

    Args:
        vectors: As FFmpeg exports them (libavutil/motion_vector.h).
        height: Pixels.
        width: Pixels.
    """
    rows, columns = -(-height // _CELL), -(-width // _CELL)
    moved = np.hypot(vectors["motion_x"], vectors["motion_y"]) / np.maximum(vectors["motion_scale"], 1)
    w, h = vectors["w"].astype(np.int64), vectors["h"].astype(np.int64)
    left, top = (vectors["dst_x"] - w // 2) // _CELL, (vectors["dst_y"] - h // 2) // _CELL
    counts = ((w == 8) | (w == 16)) & ((h == 8) | (h == 16))
    cells = np.zeros((rows, columns))
    place, length, order = [], [], []
    for down in range(2):
        for right in range(2):
            y, x = top + down, left + right
            inside = (
                counts & (down * _CELL < h) & (right * _CELL < w) & (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
            )
            place.append((y * columns + x)[inside])
            length.append(moved[inside])
            order.append(np.flatnonzero(inside))
    later = np.argsort(np.concatenate(order), kind="stable")
    cells.ravel()[np.concatenate(place)[later]] = np.concatenate(length)[later]  # of equal places the last one stays
    return cells / (height + width)


def _summed_up(cells: NDArray[np.float64], height: int, width: int) -> dict[str, float]:
    """Returns the three scores of a map of cells, of which the last row and column may be cut by the frame's edge."""
    sides = (height, width)
    ends = [np.minimum(np.arange(count + 1) * _CELL, side) for count, side in zip(cells.shape, sides, strict=True)]
    area = np.outer(*(np.diff(end) for end in ends))
    sums = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1))
    sums[1:, 1:] = (cells * area).cumsum(0).cumsum(1)
    # Sums up to the borders of the patches: linear within a cell, whose pixels are all alike.
    rows, columns = (np.linspace(0, side, _patches(side) + 1) for side in sides)
    down = np.array([np.interp(rows, ends[0], column) for column in sums.T])
    both = np.array([np.interp(columns, ends[1], row) for row in down.T])
    patches = np.diff(np.diff(both, axis=0), axis=1) / np.outer(np.diff(rows), np.diff(columns))
    y, x = (_sampled(side) // _CELL for side in sides)
    sampled = cells[np.ix_(y, x)].reshape(len(y) // 2, 2, len(x) // 2, 2).mean(axis=(1, 3))
    return {
        "global_mean": float(sums[-1, -1] / (height * width)),
        "per_patch_min_256": max(0.0, float(patches.min())),
        "per_patch_min_256_sampled": float(sampled.min()),
    }


def _patches(side: int) -> int:
    """Returns how many patches a side has: the whole number nearest to one for each 256 pixels.

    >>> _patches(256), _patches(720), _patches(1080)
    (1, 3, 4)
    """
    return max(1, round(side / PATCH))


def _sampled(side: int) -> NDArray[np.int64]:
    """Returns the two pixels in the middle of each patch, where bilinear scaling by 1 / 256 looks (OpenCV's resize)."""
    middle = np.arange(_patches(side)) * PATCH + PATCH // 2
    return np.minimum(np.stack([middle - 1, middle], axis=1).ravel(), side - 1)


def _differences(clip: Path, step: int, most: int) -> dict[str, Any]:
    """Returns the score of a clip without vectors, from the differences of grey levels between frames."""
    total: Any = 0.0
    before: Any = None
    compared = 0
    with open_clip(clip) as (container, stream):
        height, width = stream.codec_context.height, stream.codec_context.width
        for number, frame in enumerate(container.decode(stream)):
            if number % step:
                continue
            grey = _cells_of(frame.to_ndarray(format="gray"))
            if before is not None:
                total, compared = total + np.abs(grey - before), compared + 1
            before = grey
            if compared == most:
                break
    if not compared:
        raise NoScoreError("motion needs two frames")
    return _summed_up(total / compared, height, width) | {"frames": compared}


def _cells_of(grey: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the mean grey level of each cell, 0 to 1."""
    rows, columns = (np.arange(0, side, _CELL) for side in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey.astype(np.float64), rows, axis=0), columns, axis=1)
    sizes = [np.diff(np.append(starts, side)) for starts, side in zip((rows, columns), grey.shape, strict=True)]
    return np.asarray(sums / np.outer(*sizes) / 255)
