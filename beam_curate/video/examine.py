"""Decoding a video from beginning to end, in a child process, for the facts that tell whether a trainer can read it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from beam_curate.containers import faults
from beam_curate.containers.tracks import open_container
from beam_curate.errors import UnreadableSourceError

# The trainer's reader, decord, too, shows the frames that an mp4's edit list hides.
_DEMUXER_OPTIONS = {"ignore_editlist": "1"}
_SAMPLE_EVERY = 16  # frames between two whose pixels are looked at
_HEARTBEAT_FRAMES = 16


@dataclasses.dataclass(frozen=True)
class VideoFacts:
    """What decoding a video found.

    Attributes:
        codec: FFmpeg's name.
        width: Pixels.
        height: Pixels.
        frame_rate: Average frames/s; 0 when there is none.
        num_expected: Frames that the file has by its header or its packets, whichever says more.
        num_frames: Frames decoded.
        picture_std: Standard deviation of the grey levels of all sampled frames, 0 to 255.
        damage: What ended the decoding early or was damaged; empty when nothing was.
    """

    codec: str
    width: int
    height: int
    frame_rate: float
    num_expected: int = 0
    num_frames: int = 0
    picture_std: float = 0.0
    damage: str = ""


def examine(path: str, most_pixels: int) -> Iterator[VideoFacts | None]:
    """Yields the facts of a video once all of it is decoded, and None now and then, as a sign of life.

    Memory is that of a few frames. Frames of more than ``most_pixels`` are not decoded.

    Raises:
        UnreadableSourceError: It has no video that FFmpeg can decode.
    """
    with open_container(path, **_DEMUXER_OPTIONS) as container:
        stream = _video(container)
        rate = stream.average_rate or Fraction(0)
        facts = VideoFacts(stream.codec_context.codec.canonical_name, stream.width, stream.height, float(rate))
        if stream.width * stream.height > most_pixels:  # decoding it could take all memory
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
            # A cut-off file has fewer packets than its header says.
            num_expected=max(stream.frames, decoding.num_packets),
            num_frames=decoding.num_frames,
            picture_std=levels.std,
            damage=decoding.damage,
        )


def picture_std(path: str, num_frames: int, enough: float) -> Iterator[float | None]:
    """Yields the `VideoFacts.picture_std` of a video, or ``enough`` as soon as it cannot be less.

    Of nearly all videos only the first frame is decoded.

    Args:
        path: The video.
        num_frames: Frames that it has.
        enough: Of 255.

    Raises:
        UnreadableSourceError: It cannot be decoded, or has damaged frames.
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
            # The variance of all is at least the mean of the variances of each, since frames are of one size.
            within += levels.add(frame) ** 2
            if within >= enough**2 * num_samples:
                yield enough
                return
        if decoding.damage:
            raise UnreadableSourceError(f"is damaged ({decoding.damage})")
        yield levels.std


class GreyLevels:
    """How often each grey level came up, 0 to 255, in the frames added."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)

    def add(self, frame: av.VideoFrame) -> float:
        """Adds a frame; returns the standard deviation of its own grey levels."""
        try:
            grey = frame.to_ndarray(format="gray")
        except BlockingIOError as error:  # the scaler's threads find no room
            raise MemoryError from error
        counts = np.bincount(grey.ravel(), minlength=256)
        self._counts += counts
        return _std(counts)

    @property
    def std(self) -> float:
        """Standard deviation of all; 0 without a frame."""
        return _std(self._counts)


def _std(counts: np.ndarray) -> float:
    levels, total = np.arange(256), max(1, int(counts.sum()))
    mean = float((counts * levels).sum()) / total
    return math.sqrt(float((counts * (levels - mean) ** 2).sum()) / total)


class _Decoding:
    """One pass through a video; the attributes tell of what has been decoded so far."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.num_packets = 0
        self.num_frames = 0
        self.damage = ""
        self._container, self._stream = container, stream
        # One thread a video: the caller runs many videos at once.
        stream.codec_context.thread_count = 1
        # By default FFmpeg hides damage by repeating pieces of other frames.
        stream.codec_context.options = {"err_detect": "explode"}

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yields all frames, keeping none."""
        try:
            for packet in self._container.demux(self._stream):
                self.num_packets += packet.size > 0  # the last packet is empty: it flushes the decoder
                if packet.is_corrupt:
                    self.damage = f"the data of frame {self.num_packets - 1} are incomplete"
                for frame in packet.decode():
                    if frame.is_corrupt:
                        self.damage = f"frame {self.num_frames} is damaged"
                    self.num_frames += 1
                    yield frame
        except av.FFmpegError as error:
            if faults.out_of_memory(error):  # it starts no thread: so FFmpeg says, too, that a frame finds no room
                raise MemoryError from error
            self.damage = faults.words(error)


def _video(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")  # the stream that decord takes
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        raise UnreadableSourceError("has no video that FFmpeg can decode")
    return stream
