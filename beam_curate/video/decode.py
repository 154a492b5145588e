r"""Opens a source video and decodes its frames in presentation order, each with whether it is damaged.

>>> from tempfile import NamedTemporaryFile
>>> with NamedTemporaryFile(suffix=".y4m") as file:
...     _ = file.write(b"YUV4MPEG2 W32 H16 F25:1\n" + 3 * (b"FRAME\n" + bytes(768))), file.flush()
...     with open_video(file.name) as (container, stream):
...         header(container, stream).frame_rate, sum(packet.size > 0 for packet in packets_of(container, stream))
...     [damaged for _, damaged in read_frames(file.name)]
(Fraction(25, 1), 3)
[False, False, False]
"""

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

from beam_curate.containers import error_causes, hevc_messages
from beam_curate.containers.facts import Crop, container_facts, trailing_file_notes
from beam_curate.containers.tracks import audio_track, codec_name, file_name, open_container, track_notes, video_track
from beam_curate.elements import Span, VideoInfo
from beam_curate.errors import RefusedSourceError, UnreadableSourceError

# Seeking goes to the last key frame before a decoding time. With B-frames, a frame is shown some frames after it is
# decoded, so the target is this much earlier than the first frame needed.
SEEK_MARGIN_S = 1
# FFmpeg's decoders of these report errors inside a frame in strict mode only. H.264's marks the frame as corrupt; in
# strict mode it found no more of 200 damaged files and lost intact frames.
_SILENT_CODECS = ("hevc", "mjpeg")
# Decoders that raise every error, also with several threads. The others mark the frame as corrupt, and with threads a
# frame may be returned before it is marked.
_RELIABLE_IN_THREADS = ("hevc", "mjpeg", "vp9", "av1", "prores", "dnxhd")
_NO_TIME_STAMPS = 0x80  # AVFMT_NOTIMESTAMPS
_MAX_B_FRAMES = 17  # H.264 and HEVC allow 16 in a row


@dataclasses.dataclass(frozen=True)
class SourceHeader:
    """What the container states; until all frames are read, counts and durations are claims."""

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
    pixel_aspect: Fraction = Fraction(0)  # 0 if each frame states it
    crop: Crop | None = None
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def open_video(path: str, threads: bool = False) -> Iterator[tuple[av.container.InputContainer, av.video.VideoStream]]:
    """Opens a file and selects its video stream, see `beam_curate.containers.tracks`.

    Args:
        path: The file.
        threads: Whether to decode in several threads if the codec's decoder reports errors reliably then.

    Raises:
        UnreadableSourceError: There is no video stream that can be decoded, or the file is a list of other files.
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
    """Returns what the container states.

    Raises:
        RefusedSourceError: It is Dolby Vision with colours that cannot be converted.
    """
    crop, dolby_vision = container_facts(stream)
    if dolby_vision is not None and not dolby_vision.has_usable_base_layer:
        raise RefusedSourceError(
            f"it is Dolby Vision of profile {dolby_vision.profile}, whose colours (IPT) cannot be converted"
        )
    # For a raw stream, the demuxer reports 25 frames/s, whatever the stream states.
    raw = bool(container.format.flags & _NO_TIME_STAMPS)
    rate = (not raw and stream.average_rate) or stream.guessed_rate or stream.base_rate or Fraction(0)
    audio = audio_track(container, stream)
    trailing = trailing_file_notes(file_name(container)) if "mp4" in container.format.name else ()
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
        notes=(*track_notes(container, stream), *trailing),
    )


def _overriding_aspect(stream: av.video.VideoStream) -> Fraction:
    """Returns the pixel aspect ratio that the container states if it differs from the codec's, else 0."""
    stated = stream.sample_aspect_ratio
    return stated if stated and stated != stream.codec_context.sample_aspect_ratio else Fraction(0)


def read_frames(path: str, *, seek_pts: int | None = None) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Yields (frame, whether it is damaged) in presentation order, to the end of the file.

    Frames count as damaged from an error to the next intact key frame, since they are predicted from a damaged one.
    An undecodable packet does not end the video.

    A stream is decoded in one thread, since many are read in parallel, or in several if the codec is costly and its
    decoder reports errors reliably. In that case, the first error restarts decoding in one thread, whose error
    handling does not depend on timing; frames that were already yielded are skipped.

    Args:
        path: The file.
        seek_pts: Start at the last key frame before this time; None to start at the first frame.

    Raises:
        UnreadableSourceError: No frame could be decoded.
        DiskError: The disk failed in the middle of the file.
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
        UnreadableSourceError: A stream begins in the middle of the file that was not announced at its start.
        RefusedSourceError: The video is encrypted.
    """
    try:
        for packet in container.demux(stream):
            if packet.size and packet.has_sidedata("encryption_info"):
                raise RefusedSourceError("it is encrypted (DRM) and cannot be decoded without a key")
            yield packet
    except IndexError as error:  # raised by PyAV for a new stream
        raise UnreadableSourceError("its streams change in the middle of the file; remux it") from error


def _decoded(
    container: av.container.InputContainer, stream: av.video.VideoStream
) -> Iterator[tuple[av.VideoFrame, bool]]:
    any_frame = lost = corrupt = False
    key_fed = True  # whether a key frame returned now was fed after the last error
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
            # A part of the packet is missing from a transport stream. Where two streams were joined, an intact first
            # key frame is marked so, too; if it is not intact, the decoder reports it.
            if packet.is_corrupt and not packet.is_keyframe:
                corrupt, key_fed, error_pts = True, False, packet.pts
            key_fed = key_fed or packet.is_keyframe
            if packet.size and context.name == "hevc":
                hevc_messages.sanitize(packet, unit_length)
            frames = packet.decode()
        except StopIteration:
            break
        except av.error.FFmpegError as problem:  # which one for a corrupt packet depends on the decoder
            if error_causes.is_out_of_memory(problem, context):
                raise MemoryError from problem
            error, lost, corrupt, key_fed = problem, True, True, False
            error_pts = packet.pts if packet is not None else None
            ended = packet is None  # the container is corrupt: only frames held by the decoder are left
            if ended and (cause := error_causes.classify_read_error(problem, file_name(container))).retriable:
                raise cause from problem  # not corrupt: the disk failed
            frames = _flushed(stream) if ended else []
        for frame in frames:
            if frame.is_corrupt:
                corrupt = True
            elif frame.key_frame and (key_fed or _is_after(frame.pts, error_pts)):
                corrupt = False
            yield frame, corrupt or lost
            any_frame, lost = True, False
    if error is not None and not any_frame:
        raise UnreadableSourceError(f"no frame of it can be decoded: {error.strerror}")


def _is_after(pts: int | None, error_pts: int | None) -> bool:
    return pts is not None and error_pts is not None and pts > error_pts


def _with_dependents(frames: Iterator[tuple[av.VideoFrame, bool]]) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Also marks B-frames that are shown before the damaged frame they are predicted from."""
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
    r"""Yields (place, frame, damaged), starting with a frame at or before the first one of a span.

    >>> from tempfile import NamedTemporaryFile
    >>> from beam_curate.video import scan, timeline
    >>> with NamedTemporaryFile(suffix=".y4m") as file:
    ...     _ = file.write(b"YUV4MPEG2 W32 H16 F25:1\n" + 3 * (b"FRAME\n" + bytes(768))), file.flush()
    ...     source = timeline.Timeline(*scan.packet_times(file.name))
    ...     [place for place, _, _ in numbered(file.name, source.info, source.span("clip", 1, 3))]
    [0, 1, 2]

    The place of a frame is its pts, or its number if ``info.counted``. Decoding starts at the beginning of the file if
    seeking finds no intact key frame before the span, or if frames are counted and the span's first frame is not found
    by its pts. So the frames of a span do not depend on where decoding starts.
    """
    found = _placed(path, info, span)
    return found if info.counted else _forward(found)


def _forward(found: Iterator[tuple[int, av.VideoFrame, bool]]) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    """Swaps the pts of two consecutive frames if the first one's is later: decoders return frames in order."""
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
