"""Whether the trainer can read a video of the dataset, found by decoding all of it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from beam_curate.dataset.rules import MOST_PIXELS, frames_fault, size_fault
from beam_curate.errors import UnreadableSourceError
from beam_curate.video.tracks import open_container

READABLE_CODECS = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "vp9", "ffv1"})
"""FFmpeg's names of the codecs that decord 0.6.0, the trainer's reader, reads in mp4; it cannot read AV1."""

MIN_PICTURE_STD = 1.0
"""Of 255. A standard deviation below it, over the pixels of all sampled frames, means one plain colour."""

# decord, too, shows the frames that an mp4's edit list hides.
_DEMUXER_OPTIONS = {"ignore_editlist": "1"}
_SAMPLE_EVERY = 16  # frames between two whose pixels are looked at


@dataclasses.dataclass(frozen=True)
class VideoCheck:
    """What decoding a video found.

    Attributes:
        codec: FFmpeg's name, empty when the file could not be opened.
        num_frames: Frames decoded.
        duration_s: Frames over the average frame rate; 0 when there is none.
        findings: (rule, message) of everything wrong.
    """

    codec: str = ""
    num_frames: int = 0
    duration_s: float = 0.0
    findings: tuple[tuple[str, str], ...] = ()


def check_video(path: Path, *, min_frames: int, window_frames: int | None = None) -> VideoCheck:
    """Decodes a video from its first to its last frame and checks what the trainer needs of it.

    Memory is that of a few frames. Runs on one thread, and without the GIL while decoding.

    Args:
        path: The mp4.
        min_frames: Fewest frames that the trainer can crop a sample from.
        window_frames: Frames that the file's name promises, or None where it promises nothing.
    """
    try:
        with open_container(str(path), **_DEMUXER_OPTIONS) as container:
            stream = container.streams.best("video")  # the stream that decord takes
            if not isinstance(stream, VideoStream) or stream.codec_context is None:
                return VideoCheck(findings=(("video_unreadable", "has no video that FFmpeg can decode"),))
            return _check_stream(container, stream, min_frames, window_frames)
    except UnreadableSourceError as error:
        return VideoCheck(findings=(("video_unreadable", str(error)),))
    except (av.FFmpegError, OSError) as error:
        return VideoCheck(findings=(("video_unreadable", f"cannot be opened as a video ({_reason(error)})"),))


def _check_stream(
    container: InputContainer, stream: VideoStream, min_frames: int, window_frames: int | None
) -> VideoCheck:
    """Checks an open video; the arguments are those of ``check_video``."""
    codec = stream.codec_context.codec.canonical_name
    frame_rate = float(stream.average_rate or 0)
    has_rate = math.isfinite(frame_rate) and frame_rate > 0
    if stream.width * stream.height > MOST_PIXELS:  # decoding it could take all memory
        return VideoCheck(codec, findings=(("video_size", str(size_fault(stream.width, stream.height))),))
    decoded = _decode(container, stream)
    # A cut-off file has fewer packets than its header says.
    expected = max(stream.frames, decoded.num_packets)
    findings = []
    if codec not in READABLE_CODECS:
        findings.append(("video_codec", f"is encoded as {codec}, which decord 0.6.0 is not known to read"))
    if fault := size_fault(stream.width, stream.height):
        findings.append(("video_width", fault))
    if not has_rate:
        findings.append(("video_frame_rate", "has no usable average frame rate"))
    if decoded.error or decoded.num_frames != expected:
        why = f" ({decoded.error})" if decoded.error else ""
        findings.append(("video_damaged", f"is damaged: {decoded.num_frames} of {expected} frames decode{why}"))
    if fault := frames_fault(expected, min_frames):
        findings.append(("video_short", fault))
    if window_frames not in (None, expected):
        findings.append(("video_window", f"has {expected} frames, but its name says {window_frames}"))
    if decoded.num_frames and decoded.picture_std < MIN_PICTURE_STD:
        findings.append(("video_blank", "shows one plain colour from beginning to end"))
    duration_s = decoded.num_frames / frame_rate if has_rate else 0.0
    return VideoCheck(codec, decoded.num_frames, duration_s, tuple(findings))


@dataclasses.dataclass
class _Decoded:
    """Running result of decoding a stream; ``error`` tells what ended it early or was damaged."""

    num_packets: int = 0
    num_frames: int = 0
    error: str = ""
    _pixels: int = 0
    _sum: float = 0.0
    _sum_squares: float = 0.0

    def sample(self, frame: av.VideoFrame) -> None:
        """Adds the grey levels of a frame to the picture statistics."""
        grey = frame.to_ndarray(format="gray").astype("float64")
        self._pixels += grey.size
        self._sum += float(grey.sum())
        self._sum_squares += float((grey * grey).sum())

    @property
    def picture_std(self) -> float:
        """Standard deviation of the grey levels sampled, 0 to 255."""
        if not self._pixels:
            return 0.0
        mean = self._sum / self._pixels
        return math.sqrt(max(0.0, self._sum_squares / self._pixels - mean * mean))


def _decode(container: InputContainer, stream: VideoStream) -> _Decoded:
    """Decodes all frames, keeping none."""
    decoded = _Decoded()
    # One thread a video: the caller runs many videos at once.
    stream.codec_context.thread_count = 1
    # By default FFmpeg hides damage by repeating pieces of other frames.
    stream.codec_context.options = {"err_detect": "explode"}
    try:
        for packet in container.demux(stream):
            decoded.num_packets += packet.size > 0  # the last packet is empty: it flushes the decoder
            if packet.is_corrupt:
                decoded.error = f"the data of frame {decoded.num_packets - 1} are incomplete"
            for frame in packet.decode():
                if frame.is_corrupt:
                    decoded.error = f"frame {decoded.num_frames} is damaged"
                if decoded.num_frames % _SAMPLE_EVERY == 0:
                    decoded.sample(frame)
                decoded.num_frames += 1
    except av.FFmpegError as error:
        decoded.error = _reason(error)
    return decoded


def _reason(error: OSError | av.FFmpegError) -> str:
    """What went wrong, without the path, which the report shows already."""
    return error.strerror or type(error).__name__
