"""Copies parts of a clip packet by packet: the same pictures, bit for bit, in a hundredth of the time of encoding."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import av.video

from beam_curate.containers.error_causes import classify_write_error
from beam_curate.elements import Span, VideoInfo
from beam_curate.video.cut import CutFile, read_back
from beam_curate.video.decode import open_video, packets_of
from beam_curate.video.mp4 import Mp4Writer
from beam_curate.video.sound import Sound, sounds


def copy(path: str, info: VideoInfo, spans: Sequence[Span], folder: str) -> Iterator[CutFile]:
    r"""Copies those spans of a clip that need no encoding into ``folder/{clip_id}.mp4``.

    >>> from tempfile import TemporaryDirectory
    >>> from beam_curate.video import cut, encode, scan, timeline
    >>> def timed(path: str) -> timeline.Timeline:
    ...     return timeline.Timeline(*scan.packet_times(path))
    >>> with TemporaryDirectory() as folder:
    ...     path = f"{folder}/a.y4m"
    ...     _ = Path(path).write_bytes(b"YUV4MPEG2 W64 H48 F25:1\n" + 200 * (b"FRAME\n" + bytes(4608)))
    ...     source = timed(path)
    ...     (clip,) = filter(None, cut.cut(path, source.info, [source.span("clip", 0, 200)], encode.Encoding(), folder))
    ...     of_clip = timed(clip.path)
    ...     windows = [of_clip.span(f"{start}-{end}", start, end) for start, end in ((0, 64), (64, 200), (100, 200))]
    ...     [(window.clip_id, window.num_frames) for window in copy(clip.path, of_clip.info, windows, folder)]
    [('0-64', 64), ('64-200', 136)]

    A span is copied if its first packet is a key frame, and its packets hold the same frames in decoding order as in
    presentation order. Key frames of our clips are IDR frames: nothing after one refers to what is before it. And no
    packet refers to a later one. So a span that ends before a key frame or with the clip always qualifies; another one
    does unless B-frames at its end need a frame that is shown later.

    Args:
        path: A clip written by `cut`.
        info: Its facts.
        spans: Parts of it, ordered and not overlapping.
        folder: Where to write.

    Yields:
        One CutFile for each span that was copied, in order; nothing for the others.
    """
    with open_video(path) as (container, stream):
        packets = [(packet.pts, packet.is_keyframe) for packet in _pictures(container, stream)]
    spans = _independent(spans, packets) if len(packets) == info.num_frames else []
    if not spans:
        return
    with sounds(path, info, spans) as sound, open_video(path) as (container, stream):
        pictures = enumerate(_pictures(container, stream))
        for span in spans:
            following = (packet for number, packet in pictures if number >= span.start_frame)
            own = list(itertools.islice(following, span.num_frames))
            yield _written(stream, own, span, info, sound[span.clip_id], Path(folder))


def _pictures(
    container: av.container.InputContainer, stream: av.video.VideoStream
) -> Iterator[av.Packet[av.video.VideoStream]]:
    return (packet for packet in packets_of(container, stream) if packet.size and not packet.is_discard)


def _independent(spans: Sequence[Span], packets: Sequence[tuple[int | None, bool]]) -> list[Span]:
    """Returns the spans that can be decoded from their own packets; those are (pts, is key frame), as decoded."""
    decoded = [pts for pts, _ in packets if pts is not None]
    if len(decoded) < len(packets):
        return []
    shown = sorted(decoded)

    def is_independent(span: Span) -> bool:
        first, own = span.start_frame, slice(span.start_frame, span.end_frame)
        # In an open group, frames that are shown before the key frame refer to the group before.
        is_closed = packets[first][1] and decoded[first] == shown[first]
        return is_closed and sorted(decoded[own]) == shown[own]

    return [span for span in spans if is_independent(span)]


def _written(
    template: av.video.VideoStream,
    packets: Sequence[av.Packet[Any]],
    span: Span,
    info: VideoInfo,
    sound: Sound,
    folder: Path,
) -> CutFile:
    path = folder / f"{span.clip_id}.mp4"
    try:
        sound = sound.checked()
        with contextlib.closing(Mp4Writer(path, sound.track)) as mp4:
            stream = mp4.container.add_stream_from_template(template, opaque=True)
            stream.codec_context.bit_rate = 0  # that of the whole clip; the muxer computes this part's
            mp4.start(stream)
            begin = min(packet.pts or 0 for packet in packets)
            for packet in packets:
                # Decoding times keep their lead over presentation times, so the first one may become negative: mp4
                # stores it as an edit list, as for a clip that was just encoded.
                packet.pts, packet.dts = (packet.pts or 0) - begin, (packet.dts or 0) - begin
                mp4.mux(packet)
            mp4.finish()
        notes = (sound.note,) if sound.note else ()
        return read_back(span.clip_id, path, (span.end_pts - span.start_pts) * info.time_base, notes)
    except Exception as error:  # noqa: BLE001 - as in `cut`, one part's error must not stop the others
        cause = classify_write_error(error, folder, encoder="")
        path.unlink(missing_ok=True)
        return CutFile(span.clip_id, error=cause)
