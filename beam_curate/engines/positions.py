"""Token positions of a prompt with a video in Qwen's three-dimensional rotary embedding (M-RoPE)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def video_positions(
    token_types: Sequence[int], grid: tuple[int, int, int], merge: int, temporal: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns the positions of a prompt's tokens: int64 [3, num_tokens], for time, height and width.

    As in the papers of Qwen2-VL (arXiv 2409.12191, 2.1) and Qwen2.5-VL (arXiv 2502.13923, 2.1.2) and in vLLM: the
    text after a video begins one after the video's largest position. In transformers from 5.3 on it begins after the
    longer side of a frame, so that it overlaps with a video that is longer in time than that. Generated tokens follow
    the last position of the prompt.

    >>> video_positions([0, 1, 1, 0], grid=(1, 2, 4), merge=2, temporal=np.zeros(1, np.int64)).tolist()
    [[0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 2, 3]]

    Args:
        token_types: 0 for text; anything else for the video. The video's tokens are contiguous (Qwen2-VL,
            Qwen2.5-VL), or those of each grid are, separated by timestamps in text (Qwen3-VL).
        grid: Grids in time, patches in height, patches in width.
        merge: Patches per side that become one token.
        temporal: Position of each grid in time, from 0; not used if grids are separated by text.

    Raises:
        ValueError: The number of video tokens does not match the grid.
    """
    number, height, width = grid[0], grid[1] // merge, grid[2] // merge
    runs = [(is_text, len(list(run))) for is_text, run in itertools.groupby(kind == 0 for kind in token_types)]
    visual = [length for is_text, length in runs if not is_text]
    together = len(visual) == 1
    if visual != ([number * height * width] if together else [height * width] * number):
        raise ValueError(f"the prompt has {visual} tokens of the video, whose grid is {grid}")
    found: list[NDArray[np.int64]] = []
    begin = 0
    for is_text, length in runs:
        if is_text:
            block = np.broadcast_to(np.arange(length), (3, length))
        else:
            times = temporal if together else np.zeros(1, np.int64)
            axes = np.meshgrid(times, np.arange(height), np.arange(width), indexing="ij")
            block = np.stack([axis.ravel() for axis in axes])
        found.append(block + begin)
        begin = int(found[-1].max()) + 1
    return np.concatenate(found, axis=1).astype(np.int64)


def temporal_positions(seconds: NDArray[np.float64], tokens_per_second: float) -> NDArray[np.int64]:
    """Returns the temporal positions of grids in Qwen2.5-VL, rounded down.

    >>> temporal_positions(np.array([0.0, 0.2, 1.0]), 15).tolist()
    [0, 3, 15]

    Args:
        seconds: Start times of the grids, in s after the first.
        tokens_per_second: The ``tokens_per_second`` of the model's config.
    """
    # 15 x 0.2 s is 3 s, though a little less in floating point.
    return np.floor(seconds * tokens_per_second + 1e-6).astype(np.int64)
