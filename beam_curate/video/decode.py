"""Opening a source video and decoding its frames in order, each with a time stamp that can be trusted."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import av
import av.container
import av.video

from beam_curate.elements import VideoInfo
from beam_curate.errors import UnreadableSourceError

# Seeking goes to the last key frame before a decoding time; with B-frames a picture is shown some frames
# after it is decoded, so we aim this much earlier than the first frame we need.
SEEK_MARGIN_S = 1


@dataclasses.dataclass(frozen=True)
class SourceHeader:
    """What the container says before a frame is decoded; counts and durations here are claims, not facts."""

    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    video_codec: str
    pixel_format: str
    audio_codec: str | None
    container: str
    bit_rate_kbps: int
    claimed_frames: int
    claimed_duration_s: float


@contextlib.contextmanager
def open_video(path: str) -> Iterator[tuple[av.container.InputContainer, av.video.VideoStream]]:
    """Opens a file and picks its video stream; cover pictures do not count.

    Raises:
        UnreadableSourceError: There is no video stream.
        av.error.FFmpegError: FFmpeg cannot open the file.
    """
    # "file:" keeps FFmpeg from reading a name such as "a:b.mp4" as a protocol.
    with av.open(f"file:{path}", metadata_errors="ignore") as container:
        streams = [
            stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise UnreadableSourceError("it has no video stream (audio or pictures only)")
        stream = streams[0]
        if stream.codec_context is None:
            raise UnreadableSourceError("FFmpeg has no decoder for its video stream")
        stream.thread_type = "AUTO"
        yield container, stream


def header(container: av.container.InputContainer, stream: av.video.VideoStream) -> SourceHeader:
    """Reads what the container claims."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(0)
    audio = container.streams.audio[0] if container.streams.audio else None
    duration_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    return SourceHeader(
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        frame_rate=rate,
        time_base=stream.time_base or Fraction(1, 1000),
        video_codec=stream.codec_context.codec.canonical_name,
        pixel_format=stream.codec_context.pix_fmt or "unknown",
        audio_codec=audio.codec_context.codec.canonical_name if audio and audio.codec_context else None,
        container=container.format.name,
        bit_rate_kbps=(stream.codec_context.bit_rate or container.bit_rate or 0) // 1000,
        claimed_frames=stream.frames,
        claimed_duration_s=duration_s or float((container.duration or 0) / av.time_base),
    )


def out_of_memory(error: Exception) -> bool:
    """Whether an error comes from the memory limit; a thread that has no room for its stack is one."""
    return isinstance(error, (MemoryError, BlockingIOError)) or str(error) == "can't start new thread"


@dataclasses.dataclass
class DecodeErrors:
    """Where decoding went wrong: numbers of the frames that came out next after an error, or came out broken."""

    frames: list[int] = dataclasses.field(default_factory=list)


def decoded(
    container: av.container.InputContainer, stream: av.video.VideoStream, errors: DecodeErrors
) -> Iterator[av.VideoFrame]:
    """Yields all frames from the present position in presentation order.

    An undecodable packet does not end the video: it is noted in ``errors`` and decoding goes on.

    Raises:
        UnreadableSourceError: Nothing could be decoded.
    """
    count = 0
    first_error: av.error.FFmpegError | None = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.InvalidDataError as error:
            # Demuxing cannot go on: what follows is lost, what came before stands.
            first_error = first_error or error
            errors.frames.append(count)
            break
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:  # each decoder has its own way to say that a packet is broken
            if out_of_memory(error):
                raise
            first_error = first_error or error
            errors.frames.append(count)
            continue
        for frame in frames:
            if frame.is_corrupt:
                errors.frames.append(count)
            yield frame
            count += 1
    if count == 0 and first_error is not None:
        raise UnreadableSourceError(f"no frame of it can be decoded: {first_error.strerror}")


def numbered(path: str, info: VideoInfo, from_pts: int, *, seek: bool = True) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (pts, frame) from a frame at or before ``from_pts`` on.

    Where frames carry no usable time stamps (``info.has_timestamps`` is False), the frame number stands in
    for the pts and decoding starts at the beginning.
    """
    with open_video(path) as (container, stream):
        frames = decoded(container, stream, DecodeErrors())
        if not info.has_timestamps:
            yield from enumerate(frames)
            return
        target = from_pts - int(SEEK_MARGIN_S / info.time_base)
        seek = seek and target > (stream.start_time or 0)
        if seek:
            container.seek(target, stream=stream, backward=True)
        stamped = ((frame.pts, frame) for frame in frames if frame.pts is not None)
        first = next(stamped, None)
        if first is not None and (first[0] <= from_pts or not seek):
            yield first
            yield from stamped
    if seek and (first is None or first[0] > from_pts):
        # The container's index misled the seek: decode from the start instead.
        yield from numbered(path, info, from_pts, seek=False)
