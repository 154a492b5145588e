"""The audio of clips: packets copied from the source if mp4 can hold them. Bad audio never costs the video."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import av
import av.audio
import av.container

from beam_curate.containers import error_causes
from beam_curate.containers.tracks import audio_track, codec_name, open_container, video_track
from beam_curate.elements import Span, VideoInfo

# Audio codecs that players expect inside mp4 (those the mp4 registration authority lists and FFmpeg writes).
MP4_AUDIO_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
# How far FFmpeg reads to find the parameters of audio that begins late; by default 5 s and 5 MB.
_LOOK_FURTHER = {"analyzeduration": "60000000", "probesize": "50000000"}
_SLACK_S = 1  # a stamp further than this from the end of the packet before is wrong, or the clock restarts
_NO_PACKETS = "the source has no audio during this clip"


@dataclasses.dataclass(frozen=True)
class AudioPacket:
    """A packet to be copied.

    Attributes:
        start_s: Start after the beginning of the clip, in s.
        pts: The same in the time base of its source, later than the pts of the packet before.
        duration: In the same unit.
        packet: The source's packet.
    """

    start_s: float
    pts: int
    duration: int
    packet: av.Packet[Any]


@dataclasses.dataclass(frozen=True)
class AudioTrack:
    """The packets of one clip, in order, and the stream they come from."""

    template: av.audio.AudioStream
    packets: Sequence[AudioPacket]

    def add_to(self, container: av.container.OutputContainer) -> av.audio.AudioStream:
        """Adds a stream with the same parameters to an mp4."""
        stream = container.add_stream_from_template(self.template)
        # An estimate that changes while the source is read; the muxer computes the real one.
        stream.codec_context.bit_rate = 0
        return stream

    def mux(self, container: av.container.OutputContainer, stream: av.audio.AudioStream, item: AudioPacket) -> None:
        """Writes one packet."""
        packet = item.packet
        assert self.template.time_base is not None
        packet.time_base = self.template.time_base  # muxing it into another file changed it
        packet.pts = packet.dts = item.pts
        packet.duration = item.duration
        packet.stream = stream
        container.mux(packet)


@dataclasses.dataclass(frozen=True)
class Sound:
    """The audio of a clip: a track, or a note on why it has none, or neither if the source has no audio."""

    track: AudioTrack | None = None
    note: str | None = None

    def checked(self) -> Sound:
        """Returns itself if mp4 takes the track, tested by writing it to memory; else a note on why it does not."""
        if self.track is None:
            return self
        try:
            with av.open(io.BytesIO(), "w", format="mp4") as container:
                stream = self.track.add_to(container)
                for item in self.track.packets:
                    self.track.mux(container, stream, item)
        except Exception as error:  # the clip is kept without audio, whatever the muxer rejects
            if error_causes.is_out_of_memory(error):
                raise
            template = self.track.template
            what = f"{codec_name(template)} track of {template.rate} Hz"
            return Sound(note=f"audio dropped: mp4 does not take its {what} ({error_causes.reason(error)})")
        return self


@contextlib.contextmanager
def sounds(path: str, info: VideoInfo, spans: Sequence[Span]) -> Iterator[dict[str, Sound]]:
    """Reads the compressed audio of each span into memory, by clip id.

    >>> info = VideoInfo(32, 16, 25, 1, 1, 25, 3, 0.12, True, True, "wmv3", "yuv420p", "wmav2", "asf", 0)
    >>> with sounds("a.wmv", info, [Span("clip", 0, 3, 0, 3, 0.0, 0.12)]) as found:
    ...     found["clip"].note
    'audio dropped: mp4 cannot hold wmav2'

    The source stays open until the context exits: the tracks refer to it.

    Raises:
        DiskError: The source cannot be read from its disk.
    """

    def none(note: str | None) -> dict[str, Sound]:
        return {span.clip_id: Sound(note=note) for span in spans}

    if info.audio_codec is None:
        yield none(None)
    elif not info.has_timestamps:
        yield none("audio dropped: without the frames' time stamps its place is not known")
    elif info.audio_codec not in MP4_AUDIO_CODECS:
        yield none(f"audio dropped: mp4 cannot hold {info.audio_codec}")
    else:
        with contextlib.ExitStack() as stack:
            try:
                stream = stack.enter_context(_audio(path))
                found = none("audio dropped: its header does not say how to decode it") if stream is None else {}
                if stream is not None:
                    found = _divided(stream, info, spans)
            except Exception as error:
                cause = error_causes.classify_read_error(error, path)
                if cause.retriable or error_causes.is_out_of_memory(error):
                    raise cause from error
                found = none(f"audio dropped: it cannot be read ({error_causes.reason(error)})")
            yield found


@contextlib.contextmanager
def _audio(path: str) -> Iterator[av.audio.AudioStream | None]:
    """Opens the audio track of a source; None if its parameters are not found, even by reading further."""
    with open_container(path) as container:
        stream = audio_track(container, video_track(container))
        if stream is not None and stream.rate:
            yield stream
            return
        index = None if stream is None else stream.index
    if index is None:
        yield None
        return
    with open_container(path, **_LOOK_FURTHER) as container:
        found = container.streams[index]
        yield found if isinstance(found, av.audio.AudioStream) and found.rate else None


def _divided(stream: av.audio.AudioStream, info: VideoInfo, spans: Sequence[Span]) -> dict[str, Sound]:
    """Assigns packets to the spans in which they begin."""
    places = [(float(s.start_pts * info.time_base), float(s.end_pts * info.time_base), s.clip_id) for s in spans]
    packets: dict[str, list[AudioPacket]] = {span.clip_id: [] for span in spans}
    container, time_base = stream.container, stream.time_base
    assert isinstance(container, av.container.InputContainer) and time_base is not None
    with contextlib.suppress(av.error.FFmpegError):  # files without seeking are read from the start
        container.seek(int(places[0][0] / time_base), stream=stream, backward=True)
    last_s = float("-inf")
    for time_s, packet in _timed(_until_damage(container.demux(stream))):
        if time_s >= places[-1][1] or time_s < last_s - _SLACK_S:
            break  # beyond the clips, or the clock restarts
        last_s = time_s
        for start_s, end_s, clip_id in places:
            if start_s <= time_s < end_s:
                before = packets[clip_id][-1].pts if packets[clip_id] else -1
                pts = max(before + 1, round((time_s - start_s) / time_base))
                packets[clip_id].append(AudioPacket(time_s - start_s, pts, packet.duration or 0, packet))
    return {
        clip_id: Sound(AudioTrack(stream, found)) if found else Sound(note=_NO_PACKETS)
        for clip_id, found in packets.items()
    }


def _timed(packets: Iterator[av.Packet[Any]]) -> Iterator[tuple[float, av.Packet[Any]]]:
    """Yields (time in s, packet); a single bad stamp is replaced by the end of the packet before."""
    expected_s: float | None = None
    for packet, following in itertools.pairwise(itertools.chain(packets, [None])):
        assert packet is not None
        time_s = _time_s(packet)
        next_s = None if following is None else _time_s(following)
        if expected_s is not None:
            is_far = time_s is not None and abs(time_s - expected_s) > _SLACK_S
            next_is_near = next_s is not None and abs(next_s - expected_s) <= _SLACK_S
            if time_s is None or (is_far and next_is_near):
                time_s = expected_s
        if time_s is None or packet.time_base is None:
            continue
        yield time_s, packet
        expected_s = time_s + float((packet.duration or 0) * packet.time_base)


def _time_s(packet: av.Packet[Any]) -> float | None:
    return None if packet.pts is None or packet.time_base is None else float(packet.pts * packet.time_base)


def _until_damage(packets: Iterator[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
    """Yields the packets that are not empty, up to the first error."""
    with contextlib.suppress(av.error.InvalidDataError, IndexError):
        yield from (packet for packet in packets if packet.size)
