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

from beam_curate.captions.clip_file import frame_times, open_clip
from beam_curate.captions.windows import MIN_FRAMES
from beam_curate.elements import ClipFile
from beam_curate.errors import LostFramesError

# These and the rules below are the Qwen family's own preparation of video (qwen-vl-utils, `vision_process.py`), which
# NVIDIA's and cosmos-curate's captioners use as well. Pixels are counted in visual tokens: a token covers patch x patch
# pixels of two frames.
MAX_FRAMES = 768
MIN_FRAME_TOKENS = 128
MAX_FRAME_TOKENS = 768

THREADS = "AUTO"
"""How PyAV decodes a clip: in several threads where the codec can."""


@dataclasses.dataclass(frozen=True)
class SampledWindow:
    """What a model sees of a window.

    Attributes:
        start_frame: First frame of the window.
        end_frame: Last frame of the window, inclusive.
        indices: Frames of the clip that are seen, in order.
        width: Pixels that they are resized to.
        height: Pixels that they are resized to.
        frame_rate: Frames/s of what is seen: their number over the window's length.
        tokens: Visual tokens that it takes as a video, by which windows are divided into batches.
        times: Of each frame that is seen, in s after the window's first frame.
    """

    start_frame: int
    end_frame: int
    indices: tuple[int, ...]
    width: int
    height: int
    frame_rate: float
    tokens: int
    times: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class FrameSampling:
    """How a model looks at video.

    Attributes:
        fps: Frames/s to look at.
        patch: Pixels a side that a visual token covers.
        visual_tokens: Most visual tokens of a window.
        frames_per_token: 2 where the model sees a video; 1 where it sees each frame as a picture of its own.
    """

    fps: float
    patch: int
    visual_tokens: int = 24576
    frames_per_token: int = 2


def sample_window(
    media: ClipFile, window: tuple[int, int], rules: FrameSampling, times: NDArray[np.float64] | None = None
) -> SampledWindow:
    """Decides what a model sees of a window.

    Args:
        media: The clip.
        window: First and last frame, inclusive.
        rules: How the model looks at video.
        times: What `clip_times` returns for the clip.
    """
    first, last = window
    rate = float(media.frame_rate)
    if times is None:
        indices = frame_indices(first, last, rate, rules.fps)
        seconds = [(index - first) / rate for index in indices]
        length_s = (last - first + 1) / rate
    else:
        own = times[first : last + 2] - times[first]
        length_s = float(own[-1])
        chosen = evenly_in_time(own[:-1], number_of_frames(len(own) - 1, length_s, rules.fps))
        indices = tuple(first + index for index in chosen)
        seconds = own[list(chosen)].tolist()
    width, height = frame_size(media.width, media.height, len(indices), rules)
    tokens = math.ceil(len(indices) / 2) * (width // rules.patch) * (height // rules.patch)
    return SampledWindow(first, last, indices, width, height, len(indices) / length_s, tokens, tuple(seconds))


def clip_times(clip: str | Path, media: ClipFile) -> NDArray[np.float64] | None:
    """Returns when each frame of a clip with a variable rate begins, and last when its last frame ends, in s.

    None for a clip with a constant rate, and for a file that does not hold the frames it should: decoding will say so.

    Args:
        clip: Local path of the clip.
        media: What was read back from it.
    """
    times = frame_times(clip, media.frame_rate)
    return times if times is not None and len(times) == media.num_frames + 1 else None


def number_of_frames(num_frames: int, length_s: float, sampling_fps: float) -> int:
    """Returns how many frames of a window a model sees: the even number that is next to rate times length.

    At least 4 and at most 768, as far as the window has so many. qwen-vl-utils rounds as here up to version 0.0.10, and
    down from then on.

    Args:
        num_frames: Frames of the window.
        length_s: Its length in s.
        sampling_fps: Frames/s to look at.
    """
    most = min(MAX_FRAMES, num_frames)
    even = 2 * math.floor(length_s * sampling_fps / 2 + 0.5)
    return min(max(even, MIN_FRAMES), most - most % 2 if most > MIN_FRAMES else most)


def frame_indices(first: int, last: int, frame_rate: float, sampling_fps: float) -> tuple[int, ...]:
    """Returns which frames of a window a model sees: evenly spaced, the first and the last among them.

    Args:
        first: First frame of the window.
        last: Last frame, inclusive.
        frame_rate: Frames/s of the clip.
        sampling_fps: Frames/s to look at.
    """
    num_frames = last - first + 1
    wanted = number_of_frames(num_frames, num_frames / frame_rate, sampling_fps)
    return tuple(round(float(index)) for index in np.linspace(first, last, wanted))


def evenly_in_time(times: NDArray[np.float64], wanted: int) -> tuple[int, ...]:
    """Returns the frames of a variable rate that are nearest to even times: each once, the first and the last too.

    Where several times have the same nearest frame, there are fewer than wanted; their number is even and at least 4
    all the same, as far as there are so many: those that are farthest in time from the others are added.

    Args:
        times: Of each frame, in s, increasing.
        wanted: Frames, at most as many as there are.
    """
    targets = np.linspace(times[0], times[-1], wanted)
    chosen = np.unique(np.interp(targets, times, np.arange(len(times))).round().astype(int))
    while (len(chosen) % 2 and len(chosen) < len(times)) or len(chosen) < min(wanted, MIN_FRAMES):
        distance = np.abs(times[:, None] - times[chosen]).min(axis=1)
        distance[chosen] = -1
        chosen = np.sort(np.append(chosen, distance.argmax()))
    return tuple(chosen.tolist())


def frame_size(width: int, height: int, num_frames: int, rules: FrameSampling) -> tuple[int, int]:
    """Returns the width and height in pixels that frames are resized to.

    Sides are multiples of the patch, and the aspect is kept as nearly as they allow. As nearly as whole tokens allow,
    a frame has 128 to 768 tokens; of many frames each has its share of the most of a window, but at least 134.

    Args:
        width: Pixels of the clip.
        height: Pixels of the clip.
        num_frames: Frames that are seen of the window.
        rules: How the model looks at video.
    """
    patch, pixels = rules.patch, rules.patch**2
    share = rules.visual_tokens * pixels * rules.frames_per_token // num_frames
    most = max(min(MAX_FRAME_TOKENS * pixels, share), int(MIN_FRAME_TOKENS * pixels * 1.05))
    sides = [max(patch, round(side / patch) * patch) for side in (width, height)]
    scale = 1.0
    if math.prod(sides) > most:
        scale = math.sqrt(most / (width * height))
        sides = [max(patch, math.floor(side * scale / patch) * patch) for side in (width, height)]
        # A picture that is many times as wide as high, or the reverse, has its short side at the least already.
        sides = [min(side, most // min(sides) // patch * patch) for side in sides]
    elif math.prod(sides) < MIN_FRAME_TOKENS * pixels:
        scale = math.sqrt(MIN_FRAME_TOKENS * pixels / (width * height))
        sides = [math.ceil(side * scale / patch) * patch for side in (width, height)]
    return sides[0], sides[1]


def sample_frames(clip: str | Path, windows: Sequence[SampledWindow]) -> Iterator[NDArray[np.uint8]]:
    """Yields the frames seen of each window, uint8 RGB [num_frames, height, width, 3].

    The clip is decoded once, up to the last frame that is seen, and only as far as frames are asked for.

    Args:
        clip: Local path of a video.
        windows: In order, not overlapping.

    Raises:
        LostFramesError: A frame that should be seen cannot be decoded.
        DiskError: The operating system does not read the file.
    """
    with open_clip(clip) as (container, stream):
        stream.thread_type = THREADS
        decoded = enumerate(container.decode(stream))
        reformatter = VideoReformatter()  # keeps its scaler from frame to frame
        for window in windows:
            yield _resized(decoded, window, reformatter, Path(clip).name)


def _resized(
    decoded: Iterator[tuple[int, av.VideoFrame]], window: SampledWindow, reformatter: VideoReformatter, name: str
) -> NDArray[np.uint8]:
    pictures = np.empty((len(window.indices), window.height, window.width, 3), np.uint8)
    for position, index in enumerate(window.indices):
        frame = next((frame for number, frame in decoded if number == index), None)
        if frame is None:
            raise LostFramesError(f"{name} ends before frame {window.end_frame}")
        small = reformatter.reformat(frame, window.width, window.height, "rgb24", interpolation="BICUBIC")
        pictures[position] = small.to_ndarray()
    return pictures
