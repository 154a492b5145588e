"""Opening a source video and decoding its frames in order, each with a time stamp that can be trusted."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import av
import av.container
import av.video
from av.codec.context import ThreadType
from av.video.frame import PictureType

from beam_curate.containers import faults, hevc_messages
from beam_curate.containers.boxes import notes_on
from beam_curate.containers.facts import Crop, container_facts
from beam_curate.containers.tracks import audio_track, codec_name, file_name, open_container, track_notes, video_track
from beam_curate.elements import Span, VideoInfo
from beam_curate.errors import RefusedSourceError, UnreadableSourceError

# Seeking goes to the last key frame before a decoding time; with B-frames a picture is shown some frames
# after it is decoded, so we aim this much earlier than the first frame we need.
SEEK_MARGIN_S = 1
# FFmpeg's decoders of these keep errors inside a picture to themselves unless told not to. H.264's notes them
# on the picture; told to be strict, it found no more of 200 damaged files and lost sound pictures.
_SILENT_CODECS = ("hevc", "mjpeg")
# Their decoders say of every error, also when they work in several threads. The others note it on the picture, and in
# threads a picture may be handed out before the note is on it.
_RELIABLE_IN_THREADS = ("hevc", "mjpeg", "vp9", "av1", "prores", "dnxhd")
_NO_TIME_STAMPS = 0x80  # AVFMT_NOTIMESTAMPS
_MAX_B_FRAMES = 17  # H.264 and HEVC allow 16 in a row between two other pictures


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
    pixel_aspect: Fraction = Fraction(0)  # 0 where each frame says it
    crop: Crop | None = None
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def open_video(path: str, threads: bool = False) -> Iterator[tuple[av.container.InputContainer, av.video.VideoStream]]:
    """Opens a file and picks its video stream, see `beam_curate.containers.tracks`.

    Args:
        path: The file.
        threads: Whether to decode in several threads where errors are told then, too.

    Raises:
        UnreadableSourceError: There is no video stream that can be decoded, or the file is a list of others.
        av.error.FFmpegError: FFmpeg cannot open the file.
    """
    with open_container(path) as container:
        stream = video_track(container)
        codec = stream.codec_context.codec.canonical_name
        stream.thread_type = "AUTO" if threads and codec in _RELIABLE_IN_THREADS else "NONE"
        if codec in _SILENT_CODECS:
            stream.codec_context.options = {"err_detect": "explode"}
        if codec == "hevc" and (extradata := hevc_messages.sanitized_extradata(stream.codec_context.extradata)):
            stream.codec_context.extradata = extradata
        yield container, stream


def header(container: av.container.InputContainer, stream: av.video.VideoStream) -> SourceHeader:
    """Reads what the container claims.

    Raises:
        RefusedSourceError: Its pictures are of a kind that cannot be converted.
    """
    crop, dolby_vision = container_facts(stream)
    if dolby_vision is not None and not dolby_vision.has_pictures_of_its_own:
        raise RefusedSourceError(
            f"it is Dolby Vision of profile {dolby_vision.profile}, whose colours (IPT) cannot be converted here"
        )
    # Of a stream without a container, the demuxer names 25 frames/s, whatever the stream itself says.
    raw = bool(container.format.flags & _NO_TIME_STAMPS)
    rate = (not raw and stream.average_rate) or stream.guessed_rate or stream.base_rate or Fraction(0)
    audio = audio_track(container, stream)
    boxes = notes_on(file_name(container)) if "mp4" in container.format.name else ()
    duration_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    return SourceHeader(
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        frame_rate=rate,
        time_base=stream.time_base or Fraction(1, 1000),
        video_codec=stream.codec_context.codec.canonical_name,
        pixel_format=stream.codec_context.pix_fmt or "unknown",
        audio_codec=None if audio is None else codec_name(audio),
        container=container.format.name,
        bit_rate_kbps=(stream.codec_context.bit_rate or container.bit_rate or 0) // 1000,
        claimed_frames=stream.frames,
        claimed_duration_s=duration_s or float((container.duration or 0) / av.time_base),
        pixel_aspect=_overriding_aspect(stream),
        crop=crop,
        notes=(*track_notes(container, stream), *boxes),
    )


def _overriding_aspect(stream: av.video.VideoStream) -> Fraction:
    """Returns the shape of pixels that the container states in place of the codec's, or 0."""
    stated = stream.sample_aspect_ratio
    return stated if stated and stated != stream.codec_context.sample_aspect_ratio else Fraction(0)


def read_frames(path: str, *, seek_pts: int | None = None) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Yields (frame, whether it is damaged) in presentation order, to the end of the file.

    A frame counts as damaged from an error on until the next clean key frame: what is predicted from a broken
    picture is broken too. An undecodable packet does not end the video.

    A stream is decoded in a single thread, since many are read side by side, or in several where the codec is costly
    and the decoder reliable. In that case the first error has it read again in a single one, whose way with errors
    does not depend on timing, and goes on where the first reading stood.

    Args:
        path: The file.
        seek_pts: Start at the last key frame before this time; None for the first frame.

    Raises:
        UnreadableSourceError: No frame could be decoded.
        DiskError: The disk fails in the middle.
    """
    count = 0
    for threads in (True, False):
        with open_video(path, threads) as (container, stream):
            in_threads = stream.codec_context.thread_type != ThreadType.NONE
            if seek_pts is not None:
                container.seek(seek_pts, stream=stream, backward=True)
            for number, (frame, damaged) in enumerate(_with_dependents(_decoded(container, stream))):
                if damaged and in_threads:
                    break
                if number >= count:
                    yield frame, damaged
                    count += 1
            else:
                return


def packets_of(
    container: av.container.InputContainer, stream: av.video.VideoStream
) -> Iterator[av.Packet[av.video.VideoStream]]:
    """Yields the packets of a stream.

    Raises:
        UnreadableSourceError: A stream begins in the middle of the file that its start did not name.
        RefusedSourceError: The pictures are encrypted.
    """
    try:
        for packet in container.demux(stream):
            if packet.size and packet.has_sidedata("encryption_info"):
                raise RefusedSourceError("its pictures are encrypted (DRM), and there is no key to read them with")
            yield packet
    except IndexError as error:  # PyAV's way to meet such a stream
        raise UnreadableSourceError("its streams change in the middle of the file; remux it") from error


def _decoded(
    container: av.container.InputContainer, stream: av.video.VideoStream
) -> Iterator[tuple[av.VideoFrame, bool]]:
    any_frame = lost = broken = False
    key_fed = True  # whether a key frame that comes out now went in after the last error
    error: av.error.FFmpegError | None = None
    error_pts: int | None = None
    packets = packets_of(container, stream)
    context = stream.codec_context
    unit_length = hevc_messages.length_size(context.extradata)
    ended = False
    while not ended:
        packet = None
        try:
            packet = next(packets)
            # A transport stream misses a piece of it. Where two streams were joined, the first key frame is marked
            # so too, though nothing of it is missing; the decoder would tell.
            if packet.is_corrupt and not packet.is_keyframe:
                broken, key_fed, error_pts = True, False, packet.pts
            key_fed = key_fed or packet.is_keyframe
            if packet.size and context.name == "hevc":
                hevc_messages.sanitize(packet, unit_length)
            frames = packet.decode()
        except StopIteration:
            break
        except av.error.FFmpegError as problem:  # each decoder has its own way to say that a packet is broken
            if faults.out_of_memory(problem, context):
                raise MemoryError from problem
            error, lost, broken, key_fed = problem, True, True, False
            error_pts = packet.pts if packet is not None else None
            ended = packet is None  # the container itself is broken: what the decoder still holds is all
            if ended and (cause := faults.of_reading(problem, file_name(container))).retriable:
                raise cause from problem  # or rather, its disk fails in the middle
            frames = _flushed(stream) if ended else []
        for frame in frames:
            if frame.is_corrupt:
                broken = True
            elif frame.key_frame and (key_fed or _is_after(frame.pts, error_pts)):
                broken = False
            yield frame, broken or lost
            any_frame, lost = True, False
    if error is not None and not any_frame:
        raise UnreadableSourceError(f"no frame of it can be decoded: {error.strerror}")


def _is_after(pts: int | None, error_pts: int | None) -> bool:
    return pts is not None and error_pts is not None and pts > error_pts


def _with_dependents(frames: Iterator[tuple[av.VideoFrame, bool]]) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Marks B-frames that are shown before the damaged picture they are predicted from, too."""
    held: list[tuple[av.VideoFrame, bool]] = []
    for frame, damaged in frames:
        held.append((frame, damaged))
        if frame.pict_type == PictureType.B and len(held) < _MAX_B_FRAMES:
            continue
        any_damaged = any(damaged for _, damaged in held)
        yield from ((frame, any_damaged) for frame, _ in held)
        held = []
    any_damaged = any(damaged for _, damaged in held)
    yield from ((frame, any_damaged) for frame, _ in held)


def _flushed(stream: av.video.VideoStream) -> list[av.VideoFrame]:
    with contextlib.suppress(av.error.FFmpegError):
        return stream.decode(None)
    return []


def numbered(path: str, info: VideoInfo, span: Span) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    """Yields (place, frame, damaged) from a frame at or before a span's first on.

    The place is the frame's pts; or its number, where ``info.counted`` says that the frames' own pts do not do.
    Decoding starts at the beginning where seeking finds no clean key frame before the span, and of counted frames also
    where the span's first one is not found by its pts: wherever a worker starts, it gets the same frames.
    """
    found = _placed(path, info, span)
    return found if info.counted else _forward(found)


def _forward(found: Iterator[tuple[int, av.VideoFrame, bool]]) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    """Gives two frames in a row each other's pts where the first one's is the later: pictures come in their order."""
    held: tuple[int, av.VideoFrame, bool] | None = None
    for pts, frame, damaged in found:
        if held is None:
            held = pts, frame, damaged
            continue
        yield min(pts, held[0]), *held[1:]
        held = max(pts, held[0]), frame, damaged
    if held is not None:
        yield held


def _placed(path: str, info: VideoInfo, span: Span) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    target = span.start_pts - int(SEEK_MARGIN_S / info.time_base)
    if target > info.first_pts and span.seekable:
        anchored = False
        number: int | None = None
        for frame, damaged in read_frames(path, seek_pts=target):
            if number is not None:
                number += 1
            elif frame.pts is None:
                continue
            else:
                anchored = anchored or (frame.key_frame and not damaged and frame.pts <= span.start_pts)
                if frame.pts >= span.start_pts and not (anchored and (frame.pts == span.start_pts or not info.counted)):
                    break
                if frame.pts == span.start_pts and info.counted:
                    number = span.start_frame
            if info.counted and number is not None:
                yield number, frame, damaged
            elif not info.counted and frame.pts is not None:
                yield frame.pts, frame, damaged
        if anchored and (number is not None or not info.counted):
            return
    for number, (frame, damaged) in enumerate(read_frames(path)):
        if info.counted:
            yield number, frame, damaged
        elif frame.pts is not None:
            yield frame.pts, frame, damaged
