"""The frames of a caption window that a model sees: which ones, how large, and their pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from beam_curate.captions.clip_file import open_clip
from beam_curate.captions.windows import MIN_FRAMES
from beam_curate.elements import ClipFile
from beam_curate.errors import LostFramesError

# These and the rule below are Qwen2.5-VL's own preparation of video, which cosmos-curate uses for its captioners.
MAX_FRAMES = 768
MIN_PIXELS = 128 * 28 * 28
MAX_PIXELS = 768 * 28 * 28
TOTAL_PIXELS = 24576 * 28 * 28
"""Of all pairs of frames of a window: a visual token covers two frames."""

THREADS = "AUTO"
"""How PyAV decodes a clip: in several threads where the codec can."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What a model sees of a window.

    Attributes:
        start_frame: First frame of the window.
        end_frame: Last frame of the window, inclusive.
        indices: Frames of the clip that are seen, in order.
        width: Pixels that they are resized to.
        height: Pixels that they are resized to.
        frame_rate: Frames/s of what is seen.
        tokens: Visual tokens that it takes.
    """

    start_frame: int
    end_frame: int
    indices: tuple[int, ...]
    width: int
    height: int
    frame_rate: float
    tokens: int


def sampling(media: ClipFile, window: tuple[int, int], sampling_fps: float, patch: int) -> Sampling:
    """Decides what a model sees of a window.

    Args:
        media: The clip.
        window: First and last frame, inclusive.
        sampling_fps: Frames/s to look at.
        patch: Pixels a side that a visual token covers.
    """
    first, last = window
    rate = float(media.frame_rate)
    indices = frame_indices(first, last, rate, sampling_fps)
    width, height = frame_size(media.width, media.height, len(indices), patch)
    tokens = math.ceil(len(indices) / 2) * (width // patch) * (height // patch)
    seen_fps = len(indices) * rate / (last - first + 1)
    return Sampling(first, last, indices, width, height, seen_fps, tokens)


def frame_indices(first: int, last: int, frame_rate: float, sampling_fps: float) -> tuple[int, ...]:
    """Returns which frames of a window a model sees: evenly spaced, the first and the last among them.

    Their number is even, at least 4 and at most 768, as far as the window has so many.

    Args:
        first: First frame of the window.
        last: Last frame, inclusive.
        frame_rate: Frames/s of the clip.
        sampling_fps: Frames/s to look at.
    """
    num_frames = last - first + 1
    most = min(MAX_FRAMES, num_frames)
    even = 2 * math.floor(num_frames / frame_rate * sampling_fps / 2 + 0.5)
    wanted = min(max(even, MIN_FRAMES), most - most % 2 if most > MIN_FRAMES else most)
    return tuple(round(float(index)) for index in np.linspace(first, last, wanted))


def frame_size(width: int, height: int, num_frames: int, patch: int) -> tuple[int, int]:
    """Returns the width and height in pixels that frames are resized to.

    Sides are multiples of `patch`, and the aspect is kept as nearly as they allow. As nearly as whole tokens allow,
    the area lies between 100,352 pixels and 602,112; of many frames each has its share of 19,267,584 pixels for two,
    but at least 105,369.

    Args:
        width: Pixels of the clip.
        height: Pixels of the clip.
        num_frames: Frames that are seen of the window.
        patch: Pixels a side that a visual token covers.
    """
    most = max(min(MAX_PIXELS, TOTAL_PIXELS * 2 // num_frames), int(MIN_PIXELS * 1.05))
    sides = [max(patch, round(side / patch) * patch) for side in (width, height)]
    scale = 1.0
    if math.prod(sides) > most:
        scale = math.sqrt(most / (width * height))
        sides = [max(patch, math.floor(side * scale / patch) * patch) for side in (width, height)]
        # A picture that is many times as wide as high, or the reverse, has its short side at the least already.
        sides = [min(side, most // min(sides) // patch * patch) for side in sides]
    elif math.prod(sides) < MIN_PIXELS:
        scale = math.sqrt(MIN_PIXELS / (width * height))
        sides = [math.ceil(side * scale / patch) * patch for side in (width, height)]
    return sides[0], sides[1]


def sample_frames(clip: str | Path, windows: Sequence[Sampling]) -> Iterator[NDArray[np.uint8]]:
    """Yields the frames seen of each window, uint8 RGB [num_frames, height, width, 3].

    The clip is decoded once, up to the last frame that is seen, and only as far as frames are asked for.

    Args:
        clip: Local path of a video.
        windows: In order, not overlapping.

    Raises:
        LostFramesError: A frame that should be seen cannot be decoded.
        OSError: The file cannot be read.
    """
    with open_clip(clip) as (container, stream):
        stream.thread_type = THREADS
        decoded = enumerate(container.decode(stream))
        reformatter = VideoReformatter()  # keeps its scaler from frame to frame
        for window in windows:
            yield _resized(decoded, window, reformatter, Path(clip).name)


def _resized(
    decoded: Iterator[tuple[int, av.VideoFrame]], window: Sampling, reformatter: VideoReformatter, name: str
) -> NDArray[np.uint8]:
    pictures = np.empty((len(window.indices), window.height, window.width, 3), np.uint8)
    for position, index in enumerate(window.indices):
        frame = next((frame for number, frame in decoded if number == index), None)
        if frame is None:
            raise LostFramesError(f"{name} ends before frame {window.end_frame}")
        small = reformatter.reformat(frame, window.width, window.height, "rgb24", interpolation="BICUBIC")
        pictures[position] = small.to_ndarray()
    return pictures
