r"""Decodes a video from beginning to end, in a child process, to find out whether a trainer can read it.

>>> from tempfile import NamedTemporaryFile
>>> with NamedTemporaryFile(suffix=".y4m") as file:
...     _ = file.write(b"YUV4MPEG2 W32 H16 F25:1\n" + 3 * (b"FRAME\n" + bytes(768))), file.flush()
...     facts = list(examine(file.name, max_pixels=10_000))[-1]
...     facts.codec, facts.num_frames, list(grey_std(file.name, num_frames=3, enough=1.0))[-1]
('rawvideo', 3, 0.0)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from beam_curate.containers import error_causes
from beam_curate.containers.tracks import open_container
from beam_curate.errors import UnreadableSourceError

# The trainer's reader, decord, also returns the frames that an mp4's edit list hides.
_DEMUXER_OPTIONS = {"ignore_editlist": "1"}
_SAMPLE_EVERY = 16  # every nth frame is sampled for its grey levels
_HEARTBEAT_FRAMES = 16


@dataclasses.dataclass(frozen=True)
class VideoFacts:
    """What decoding a video found.

    Attributes:
        codec: FFmpeg's name.
        width: Pixels.
        height: Pixels.
        frame_rate: Average frames/s; 0 if unknown.
        num_expected: Frames according to the file's header or the number of its packets, whichever is larger.
        num_frames: Frames decoded.
        grey_std: Standard deviation of the grey levels of all sampled frames, 0 to 255.
        damage: The error that ended decoding or the frame that is damaged; empty for an intact video.
    """

    codec: str
    width: int
    height: int
    frame_rate: float
    num_expected: int = 0
    num_frames: int = 0
    grey_std: float = 0.0
    damage: str = ""


def examine(path: str, max_pixels: int) -> Iterator[VideoFacts | None]:
    """Yields None as a heartbeat while a video is decoded, and then its facts.

    Only a few frames are in memory at a time. Frames of more than ``max_pixels`` are not decoded.

    Raises:
        UnreadableSourceError: The file has no video that FFmpeg can decode.
    """
    with open_container(path, **_DEMUXER_OPTIONS) as container:
        stream = _video(container)
        rate = stream.average_rate or Fraction(0)
        facts = VideoFacts(stream.codec_context.codec.canonical_name, stream.width, stream.height, float(rate))
        if stream.width * stream.height > max_pixels:  # decoding it could exhaust memory
            yield facts
            return
        decoding = _Decoding(container, stream)
        levels = GreyLevels()
        for number, frame in enumerate(decoding.frames()):
            if number % _SAMPLE_EVERY == 0:
                levels.add(frame)
            if number % _HEARTBEAT_FRAMES == 0:
                yield None
        yield dataclasses.replace(
            facts,
            # A truncated file has fewer packets than its header states.
            num_expected=max(stream.frames, decoding.num_packets),
            num_frames=decoding.num_frames,
            grey_std=levels.std,
            damage=decoding.damage,
        )


def grey_std(path: str, num_frames: int, enough: float) -> Iterator[float | None]:
    """Yields the `VideoFacts.grey_std` of a video, or ``enough`` as soon as it is known to be at least that.

    For nearly all videos, only the first frame is decoded.

    Args:
        path: The video.
        num_frames: Its number of frames.
        enough: A standard deviation, out of 255.

    Raises:
        UnreadableSourceError: The video cannot be decoded, or has damaged frames.
    """
    num_samples = -(-num_frames // _SAMPLE_EVERY)
    with open_container(path, **_DEMUXER_OPTIONS) as container:
        decoding = _Decoding(container, _video(container))
        levels = GreyLevels()
        within = 0.0
        for number, frame in enumerate(decoding.frames()):
            if number % _HEARTBEAT_FRAMES == 0:
                yield None
            if number % _SAMPLE_EVERY:
                continue
            # The variance over all frames is at least the mean of their variances, since frames have one size.
            within += levels.add(frame) ** 2
            if within >= enough**2 * num_samples:
                yield enough
                return
        if decoding.damage:
            raise UnreadableSourceError(f"is damaged ({decoding.damage})")
        yield levels.std


class GreyLevels:
    """A histogram of the grey levels, 0 to 255, of the frames added.

    >>> levels = GreyLevels()
    >>> levels.add(av.VideoFrame.from_ndarray(np.array([[0, 200]] * 2, np.uint8), format="gray"))
    100.0
    """

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)

    def add(self, frame: av.VideoFrame) -> float:
        """Adds a frame; returns the standard deviation of its own grey levels."""
        try:
            grey = frame.to_ndarray(format="gray")
        except BlockingIOError as error:  # the scaler could not start its threads
            raise MemoryError from error
        counts = np.bincount(grey.ravel(), minlength=256)
        self._counts += counts
        return _std(counts)

    @property
    def std(self) -> float:
        """Standard deviation over all frames; 0 without a frame."""
        return _std(self._counts)


def _std(counts: np.ndarray) -> float:
    levels, total = np.arange(256), max(1, int(counts.sum()))
    mean = float((counts * levels).sum()) / total
    return math.sqrt(float((counts * (levels - mean) ** 2).sum()) / total)


class _Decoding:
    """One pass through a video; the attributes describe what has been decoded so far."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.num_packets = 0
        self.num_frames = 0
        self.damage = ""
        self._container, self._stream = container, stream
        # One thread per video: the caller decodes many videos at once.
        stream.codec_context.thread_count = 1
        # By default FFmpeg conceals damage with parts of other frames.
        stream.codec_context.options = {"err_detect": "explode"}

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yields all frames, keeping none."""
        try:
            for packet in self._container.demux(self._stream):
                self.num_packets += packet.size > 0  # the last packet is empty and flushes the decoder
                if packet.is_corrupt:
                    self.damage = f"the data of frame {self.num_packets - 1} are incomplete"
                for frame in packet.decode():
                    if frame.is_corrupt:
                        self.damage = f"frame {self.num_frames} is damaged"
                    self.num_frames += 1
                    yield frame
        except av.FFmpegError as error:
            if error_causes.is_out_of_memory(error):  # EAGAIN, too, is a failed allocation: no thread is started
                raise MemoryError from error
            self.damage = error_causes.reason(error)


def _video(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")  # the stream that decord takes
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        raise UnreadableSourceError("has no video stream that FFmpeg can decode")
    return stream
