"""Samples the frames of a caption window for a model: which frames, at which size, and their pixels."""

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

# These constants and the rules below are the Qwen family's own preprocessing of video (qwen-vl-utils,
# `vision_process.py`), which NVIDIA's and cosmos-curate's captioners use as well. Pixels are counted in visual tokens:
# a token covers patch x patch pixels of two frames.
MAX_FRAMES = 768
MIN_FRAME_TOKENS = 128
MAX_FRAME_TOKENS = 768

THREADS = "AUTO"
"""PyAV's thread type for decoding a clip: several threads if the codec supports them."""


@dataclasses.dataclass(frozen=True)
class SampledWindow:
    """The sampled frames of a window.

    Attributes:
        start_frame: First frame of the window.
        end_frame: Last frame of the window, inclusive.
        indices: Sampled frames of the clip, in order.
        width: Width after resizing, in pixels.
        height: Height after resizing, in pixels.
        frame_rate: Sampling rate in frames/s: number of samples over the window's length.
        tokens: Visual tokens as a video; they determine the batches.
        times: Timestamps of the samples, in s after the window's first frame.
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
    """How frames are sampled and resized for a model.

    Attributes:
        fps: Sampling rate in frames/s.
        patch: Side of the square that a visual token covers, in pixels.
        visual_tokens: Maximum number of visual tokens per window.
        frames_per_token: 2 if the model is given a video, 1 if each frame is an image of its own.
    """

    fps: float
    patch: int
    visual_tokens: int = 24576
    frames_per_token: int = 2


def sample_window(
    media: ClipFile, window: tuple[int, int], rules: FrameSampling, times: NDArray[np.float64] | None = None
) -> SampledWindow:
    """Chooses the frames of a window, and their size.

    >>> from beam_curate.elements import StoredFile
    >>> media = ClipFile(StoredFile("clip.mp4", 9, ""), 1280, 720, 24, 1, 96, 4.0, "h264")
    >>> sample_window(media, (0, 95), FrameSampling(fps=1.0, patch=28)).indices
    (0, 32, 63, 95)

    Args:
        media: The clip.
        window: First and last frame, inclusive.
        rules: How frames are sampled for the model.
        times: Result of `clip_times` for the clip.
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
    """Returns the start time of each frame of a clip with a variable frame rate, and the end of the last, in s.

    None for a clip with a constant frame rate, and for a file without the expected frames: decoding will report it.

    >>> from beam_curate.elements import StoredFile
    >>> media = ClipFile(StoredFile("clip.mp4", 9, ""), 1280, 720, 24, 1, 96, 4.0, "h264")
    >>> clip_times("/nowhere/clip.mp4", media) is None
    True

    Args:
        clip: Local path of the clip.
        media: Its facts.
    """
    times = frame_times(clip, media.frame_rate)
    return times if times is not None and len(times) == media.num_frames + 1 else None


def number_of_frames(num_frames: int, length_s: float, sampling_fps: float) -> int:
    """Returns how many frames of a window to sample: the even number nearest to rate times length.

    At least 4 and at most 768, as far as the window has so many. qwen-vl-utils rounds like this up to version 0.0.10,
    and down from then on.

    >>> number_of_frames(256, 256 / 30, sampling_fps=2.0)
    18

    Args:
        num_frames: Frames of the window.
        length_s: Its length in s.
        sampling_fps: Sampling rate in frames/s.
    """
    most = min(MAX_FRAMES, num_frames)
    even = 2 * math.floor(length_s * sampling_fps / 2 + 0.5)
    return min(max(even, MIN_FRAMES), most - most % 2 if most > MIN_FRAMES else most)


def frame_indices(first: int, last: int, frame_rate: float, sampling_fps: float) -> tuple[int, ...]:
    """Returns evenly spaced frames of a window, including the first and the last.

    >>> frame_indices(0, 95, frame_rate=24.0, sampling_fps=1.0)
    (0, 32, 63, 95)

    Args:
        first: First frame of the window.
        last: Last frame, inclusive.
        frame_rate: Frame rate of the clip, in frames/s.
        sampling_fps: Sampling rate in frames/s.
    """
    num_frames = last - first + 1
    wanted = number_of_frames(num_frames, num_frames / frame_rate, sampling_fps)
    return tuple(round(float(index)) for index in np.linspace(first, last, wanted))


def evenly_in_time(times: NDArray[np.float64], wanted: int) -> tuple[int, ...]:
    """Returns the frames nearest to evenly spaced times, each once, including the first and the last.

    If several times share a nearest frame, there are fewer than wanted, but still an even number and at least 4 if the
    window has so many: the frames that are farthest in time from the chosen ones are added.

    >>> evenly_in_time(np.array([0.0, 0.1, 0.2, 1.0, 2.0, 3.0]), 4)
    (0, 3, 4, 5)

    Args:
        times: Timestamps of the frames, in s, increasing.
        wanted: Number of frames, at most as many as there are.
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

    Sides are multiples of the patch, and the aspect ratio is kept as closely as they allow. A frame has about 128 to
    768 tokens; with many frames, each gets an equal share of the window's maximum, but at least 134.

    >>> frame_size(1280, 720, num_frames=16, rules=FrameSampling(fps=2.0, patch=28))
    (1008, 560)

    Args:
        width: Pixels of the clip.
        height: Pixels of the clip.
        num_frames: Sampled frames of the window.
        rules: How frames are sampled for the model.
    """
    patch, pixels = rules.patch, rules.patch**2
    share = rules.visual_tokens * pixels * rules.frames_per_token // num_frames
    most = max(min(MAX_FRAME_TOKENS * pixels, share), int(MIN_FRAME_TOKENS * pixels * 1.05))
    sides = [max(patch, round(side / patch) * patch) for side in (width, height)]
    scale = 1.0
    if math.prod(sides) > most:
        scale = math.sqrt(most / (width * height))
        sides = [max(patch, math.floor(side * scale / patch) * patch) for side in (width, height)]
        # The short side of a very elongated frame is already at its minimum.
        sides = [min(side, most // min(sides) // patch * patch) for side in sides]
    elif math.prod(sides) < MIN_FRAME_TOKENS * pixels:
        scale = math.sqrt(MIN_FRAME_TOKENS * pixels / (width * height))
        sides = [math.ceil(side * scale / patch) * patch for side in (width, height)]
    return sides[0], sides[1]


def sample_frames(clip: str | Path, windows: Sequence[SampledWindow]) -> Iterator[NDArray[np.uint8]]:
    """Yields the sampled frames of each window, uint8 RGB [num_frames, height, width, 3].

    The clip is decoded once, lazily, up to the last sampled frame.

    >>> import tempfile
    >>> clip = Path(tempfile.mkdtemp(), "clip.mp4")
    >>> with av.open(clip, "w") as file:
    ...     stream = file.add_stream("libx264", rate=24)
    ...     file.mux(stream.encode(av.VideoFrame(640, 480)) + stream.encode())
    >>> window = SampledWindow(0, 0, (0,), width=280, height=196, frame_rate=24.0, tokens=70, times=(0.0,))
    >>> [frames.shape for frames in sample_frames(clip, [window])]
    [(1, 196, 280, 3)]

    Args:
        clip: Local path of a video.
        windows: In order, not overlapping.

    Raises:
        LostFramesError: A sampled frame cannot be decoded.
        DiskError: The operating system cannot read the file.
    """
    with open_clip(clip) as (container, stream):
        stream.thread_type = THREADS
        decoded = enumerate(container.decode(stream))
        reformatter = VideoReformatter()  # keeps its scaler between frames
        for window in windows:
            yield _resized(decoded, window, reformatter, Path(clip).name)


def _resized(
    decoded: Iterator[tuple[int, av.VideoFrame]], window: SampledWindow, reformatter: VideoReformatter, name: str
) -> NDArray[np.uint8]:
    resized = np.empty((len(window.indices), window.height, window.width, 3), np.uint8)
    for position, index in enumerate(window.indices):
        frame = next((frame for number, frame in decoded if number == index), None)
        if frame is None:
            raise LostFramesError(f"{name} ends before frame {window.end_frame}")
        small = reformatter.reformat(frame, window.width, window.height, "rgb24", interpolation="BICUBIC")
        resized[position] = small.to_ndarray()
    return resized
