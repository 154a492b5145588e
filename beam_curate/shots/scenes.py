"""From TransNetV2's shot change probabilities to the frame ranges worth cutting. Pure functions."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

FrameRange = tuple[int, int]  # first frame, end frame (exclusive)


@dataclasses.dataclass(frozen=True)
class SceneRules:
    """Which scenes are kept, and how they are shortened; in seconds as the flags give them.

    Attributes:
        threshold: A frame is a shot change when its probability is greater.
        min_length_s: Shortest scene.
        min_length_frames: Shortest scene; the longer of both minima counts.
        max_length_s: Longest clip.
        max_length_mode: ``stride`` cuts a longer scene into pieces, ``truncate`` keeps its beginning.
        crop_s: Taken off both ends of a scene, where dissolves linger.
    """

    threshold: float = 0.4
    min_length_s: float = 2.0
    min_length_frames: int = 48
    max_length_s: float = 60.0
    max_length_mode: str = "stride"
    crop_s: float = 0.5


def scenes_of(probabilities: NDArray[np.float32], threshold: float) -> list[FrameRange]:
    """Returns the runs of frames between shot changes.

    Args:
        probabilities: float [num_frames], the probability that a frame is part of a shot change.
        threshold: Strict lower bound of a shot change.

    As in the published post-processing, frames of a change belong to no scene, and a video that is one long
    change is one scene. The last scene reaches to the end of the video.
    """
    change = np.concatenate(([True], probabilities > threshold, [True])).astype(np.int8)
    steps = np.diff(change)
    starts, ends = np.flatnonzero(steps == -1), np.flatnonzero(steps == 1)
    scenes = [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    return scenes or [(0, len(probabilities))]


def clip_ranges(scenes: list[FrameRange], frame_rate: float, rules: SceneRules) -> list[FrameRange]:
    """Crops, splits and filters scenes.

    Args:
        scenes: Frame ranges of one video, in order.
        frame_rate: Frames/s of the video.
        rules: The lengths.
    """
    minimum = max(math.ceil(rules.min_length_s * frame_rate), rules.min_length_frames, 1)
    maximum = max(math.ceil(rules.max_length_s * frame_rate), 1)
    crop = int(rules.crop_s * frame_rate)
    ranges: list[FrameRange] = []
    for scene_start, scene_end in scenes:
        start, end = scene_start + crop, scene_end - crop
        if rules.max_length_mode == "truncate":
            end = min(end, start + maximum)
        pieces = [(piece, min(piece + maximum, end)) for piece in range(start, end, maximum)]
        ranges.extend(piece for piece in pieces if piece[1] - piece[0] >= minimum)
    return ranges
