"""Windows that `copy` makes of clips hold the clip's own pictures, bit for bit, at their right times."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import random
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import decord
import numpy as np
import pytest

from beam_curate.elements import Span
from beam_curate.errors import OutputError
from beam_curate.video.copy import copy
from beam_curate.video.cut import CutFile, cut
from beam_curate.video.encode import Encoding
from beam_curate.video.scan import packet_times
from beam_curate.video.timeline import Timeline
from tests.support import media
from tests.support.damage import find_box
from tests.support.ffmpeg_program import ffmpeg

SIZE = (160, 96)
INTERVAL = 64  # from key frame to key frame
UNEVEN = tuple(itertools.accumulate(itertools.islice(itertools.cycle((20, 120, 30, 60, 10)), 200), initial=0))
CUTS = (0, 7, 50, 63, 65, 100, 127, 130, 190)  # shots, also right beside key frames


@dataclasses.dataclass(frozen=True)
class Case:
    """A source and how it is encoded.

    Attributes:
        frames: Of the clip; the source has one more.
        rate: Frames/s; unused with `pts`.
        pts: Times of frames in ms, if they are uneven.
        audio: FFmpeg's name of an audio encoder.
        shots: Frames at which the picture changes.
        encoding: Fields of `Encoding`.
    """

    frames: int
    rate: Fraction = Fraction(24)
    pts: Sequence[int] | None = None
    audio: str | None = None
    shots: Sequence[int] = (0,)
    encoding: dict[str, Any] = dataclasses.field(default_factory=dict)

    def source(self, path: Path) -> Path:
        uneven = {"pts": self.pts[: self.frames + 1], "time_base": Fraction(1, 1000)} if self.pts else {}
        return media.make_video(
            path, frames=self.frames + 1, rate=self.rate, size=SIZE, audio=self.audio, shots=self.shots, **uneven
        )

    def times_s(self) -> list[Fraction]:
        """When each frame begins, and the first after them."""
        if self.pts is None:
            return [number / self.rate for number in range(self.frames + 1)]
        return [Fraction(stamp, 1000) for stamp in self.pts[: self.frames + 1]]

    def windows(self) -> list[tuple[int, int]]:
        return list(itertools.pairwise([*range(0, self.frames, INTERVAL), self.frames]))


CASES = {
    "constant": Case(200),
    "29.97": Case(200, rate=Fraction(30000, 1001)),
    "60": Case(140, rate=Fraction(60)),
    "one frame more": Case(129),
    "one frame less": Case(127),
    "one key frame": Case(50),
    "audio": Case(200, audio="aac"),
    "opus": Case(200, audio="libopus"),
    "cuts": Case(200, shots=CUTS),
    "cuts everywhere": Case(140, shots=tuple(range(0, 140, 3))),
    "ultrafast": Case(200, shots=CUTS, encoding={"preset": "ultrafast"}),  # without B-frames
    "medium": Case(200, shots=CUTS, encoding={"preset": "medium"}),  # B-frames that others refer to
    "slower": Case(193, shots=CUTS, encoding={"preset": "slower"}),
    "bit rate": Case(200, shots=CUTS, encoding={"bit_rate_kbps": 300}),
    "bit rate, audio": Case(200, rate=Fraction(25), audio="aac", encoding={"bit_rate_kbps": 100, "preset": "fast"}),
    "variable": Case(200, pts=UNEVEN),
    "variable, cuts": Case(200, pts=UNEVEN, shots=CUTS, encoding={"preset": "medium"}),
    "variable, audio": Case(131, pts=UNEVEN, audio="aac"),
    "variable, bit rate": Case(200, pts=UNEVEN, encoding={"bit_rate_kbps": 300}),
}


@dataclasses.dataclass(frozen=True)
class Made:
    """A clip and the windows copied of it."""

    case: Case
    clip: Path
    windows: dict[tuple[int, int], CutFile]


def timeline_of(path: Path) -> Timeline:
    return Timeline(*filter(None, packet_times(str(path))))


def spans_of(timeline: Timeline, ranges: Sequence[tuple[int, int]]) -> list[Span]:
    return [timeline.span(f"{start}-{end}", start, end) for start, end in ranges]


def clip_of(source: Path, frames: int, folder: Path, **encoding: Any) -> Path:
    folder.mkdir()
    timeline = timeline_of(source)
    spans = [timeline.span("clip", 0, frames)]
    (clip,) = filter(None, cut(str(source), timeline.info, spans, Encoding(**encoding), str(folder)))
    assert clip.error is None, clip.error
    return Path(clip.path)


def copied(clip: Path, ranges: Sequence[tuple[int, int]], folder: Path) -> dict[tuple[int, int], CutFile]:
    folder.mkdir()
    timeline = timeline_of(clip)
    made = list(copy(str(clip), timeline.info, spans_of(timeline, ranges), str(folder)))
    assert {file.name for file in folder.iterdir()} == {f"{window.clip_id}.mp4" for window in made if not window.error}
    return {tuple(map(int, window.clip_id.split("-"))): window for window in made}  # type: ignore[misc]


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    case, folder = CASES[request.param], tmp_path_factory.mktemp("copy")
    source = case.source(folder / "source.mp4")
    clip = clip_of(source, case.frames, folder / "clips", **case.encoding)
    return Made(case, clip, copied(clip, case.windows(), folder / "windows"))


def packets_of(path: str | Path, kind: str = "video") -> list[av.Packet[Any]]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(**{kind: 0}) if packet.size]


def pictures(path: str | Path) -> list[str]:
    """Returns a digest of each decoded frame, as stored: YUV."""
    with av.open(str(path)) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def times_of(path: str | Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def unit_types(packet: av.Packet[Any]) -> list[int]:
    """Returns the types of a packet's NAL units (H.264, 7.4.1), each after its length in 4 bytes."""
    content, types = bytes(packet), []
    while content:
        (length,) = struct.unpack_from(">I", content)
        types.append(content[4] & 31)
        content = content[4 + length :]
    return types


def box(path: str | Path, name: str) -> bytes:
    """Returns the first box of a name, which in a video track."""
    content = Path(path).read_bytes()
    start, size = find_box(content, name)
    return content[start : start + size]


def test_clips_have_closed_groups_that_begin_at_each_64th_frame(made: Made) -> None:
    packets = packets_of(made.clip)
    shown = sorted(packet.pts for packet in packets)
    keys = [shown.index(packet.pts) for packet in packets if packet.is_keyframe]
    assert set(keys) >= set(range(0, made.case.frames, INTERVAL))
    assert [packet.is_keyframe for packet in packets] == [5 in unit_types(packet) for packet in packets]
    # Closed: what is decoded before a key frame is shown before it.
    assert all(packets[key].pts == shown[key] for key in keys)


def test_all_windows_that_begin_there_are_copied(made: Made) -> None:
    assert list(made.windows) == made.case.windows()
    clip = [bytes(packet) for packet in packets_of(made.clip)]
    for (start, end), window in made.windows.items():
        assert [bytes(packet) for packet in packets_of(window.path)] == clip[start:end]


def test_pictures_are_those_of_the_clip_and_of_the_source(made: Made) -> None:
    clip = pictures(made.clip)
    for (start, end), window in made.windows.items():
        assert pictures(window.path) == clip[start:end]
        assert media.frame_numbers(Path(window.path)) == list(range(start, end))


def test_the_trainers_reader_sees_the_same_pictures_in_any_order(made: Made) -> None:
    clip = decord.VideoReader(str(made.clip))[:].asnumpy()
    for (start, end), window in made.windows.items():
        reader = decord.VideoReader(window.path)
        assert len(reader) == end - start
        order = random.Random(start).choices(range(end - start), k=40)
        assert np.array_equal(reader.get_batch(order).asnumpy(), clip[start:end][order])
        assert np.array_equal(reader.get_batch(range(end - start)).asnumpy(), clip[start:end])
        assert reader.get_avg_fps() == pytest.approx(float(window.frame_rate), 1e-4)
        last = decord.VideoReader(window.path)[end - start - 1].asnumpy()
        assert np.array_equal(last, clip[end - 1])


def test_each_frame_has_its_time(made: Made) -> None:
    times_s = made.case.times_s()
    for (start, end), window in made.windows.items():
        assert times_of(window.path) == [time_s - times_s[start] for time_s in times_s[start:end]]
        with av.open(window.path) as container:
            stream = container.streams.video[0]
            assert (stream.start_time, stream.frames) == (0, end - start)
            assert stream.duration * stream.time_base == times_s[end] - times_s[start]
            assert float(stream.average_rate) == pytest.approx((end - start) / (times_s[end] - times_s[start]), 1e-4)


def test_the_ffmpeg_program_neither_drops_nor_repeats_frames(made: Made) -> None:
    for (start, end), window in made.windows.items():
        rate = ("-fps_mode", "cfr", "-r", str(made.case.rate)) if made.case.pts is None else ("-fps_mode", "vfr")
        raw = ffmpeg("-i", window.path, *rate, "-pix_fmt", "gray", "-f", "rawvideo", "pipe:")
        frames = np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0])
        assert [media.read_frame_number(frame) for frame in frames] == list(range(start, end))


def test_the_facts_are_those_of_the_window(made: Made) -> None:
    times_s = made.case.times_s()
    for (start, end), window in made.windows.items():
        length_s = times_s[end] - times_s[start]
        assert (window.error, window.notes, window.video_codec) == (None, (), "h264")
        assert (window.width, window.height, window.num_frames) == (*SIZE, end - start)
        assert window.duration_s == float(length_s)
        assert window.frame_rate == ((end - start) / length_s).limit_denominator(100_000)


def test_headers_are_those_of_a_clip_that_was_just_encoded(made: Made, tmp_path: Path) -> None:
    timeline = timeline_of(made.clip)
    spans = spans_of(timeline, made.case.windows())
    encoded = filter(None, cut(str(made.clip), timeline.info, spans, Encoding(**made.case.encoding), str(tmp_path)))
    for window, fresh in zip(made.windows.values(), encoded, strict=True):
        for name in ("tkhd", "elst", "hdlr", "stts"):  # size and length, edit list, kind, durations of frames
            if window.num_frames > 1:  # one frame waits for no other before it is shown
                assert box(window.path, name) == box(fresh.path, name), name
        assert box(window.path, "mdhd")[:24] == box(fresh.path, "mdhd")[:24]  # up to the time base
        content = Path(window.path).read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")
        assert b"x264" not in content and b"Lavf" not in content  # copied audio may name its encoder
        with av.open(window.path) as of_window, av.open(str(made.clip)) as of_clip:
            ours, theirs = of_window.streams.video[0].codec_context, of_clip.streams.video[0].codec_context
            assert ours.extradata == theirs.extradata
            for name in ("color_range", "colorspace", "color_trc", "color_primaries", "profile", "pix_fmt"):
                assert getattr(ours, name) == getattr(theirs, name)
        assert (b"colr" in content) == (b"colr" in made.clip.read_bytes())


def test_audio_is_that_of_the_window(made: Made) -> None:
    times_s = made.case.times_s()
    packets = packets_of(made.clip, "audio") if made.case.audio else []
    for (start, end), window in made.windows.items():
        own = [packet for packet in packets if times_s[start] <= packet.pts * packet.time_base < times_s[end]]
        with av.open(window.path) as container:
            assert len(container.streams.audio) == bool(own)
        found = packets_of(window.path, "audio") if own else []
        assert [bytes(packet) for packet in found] == [bytes(packet) for packet in own]
        for packet, original in zip(found, own, strict=True):
            start_s = original.pts * original.time_base - times_s[start]
            # In mp4, the first packet's start is given in ms.
            assert packet.pts * packet.time_base == pytest.approx(start_s, abs=0.001)


def test_bytes_are_the_same_on_every_run(made: Made, tmp_path: Path) -> None:
    again = copied(made.clip, made.case.windows(), tmp_path / "again")
    (alone,) = copied(made.clip, made.case.windows()[-1:], tmp_path / "alone").values()
    for window, other in zip(made.windows.values(), again.values(), strict=True):
        assert Path(window.path).read_bytes() == Path(other.path).read_bytes()
    assert Path(window.path).read_bytes() == Path(alone.path).read_bytes()


@pytest.mark.parametrize("preset", ["ultrafast", "veryfast", "medium"])
def test_what_is_copied_is_right_wherever_a_window_begins_and_ends(tmp_path: Path, preset: str) -> None:
    source = media.make_video(tmp_path / "a.mkv", frames=140, size=SIZE, shots=(0, 30, 90))
    clip = clip_of(source, 140, tmp_path / "clips", preset=preset)
    expected = pictures(clip)
    keys = [number for number, packet in enumerate(packets_of(clip)) if packet.is_keyframe]
    found = set()
    ranges = [(start, end) for start in (0, 1, 30, 63, 64, 65, 90, 100, 128) for end in range(start + 1, 141)]
    for start, end in random.Random(0).sample(ranges, 120):
        for window in copied(clip, [(start, end)], tmp_path / f"{start}-{end}").values():
            assert pictures(window.path) == expected[start:end]
            found.add((start, end))
    assert {start for start, _ in found} == {start for start in (0, 30, 64, 90, 128) if start in keys}


def test_windows_that_begin_elsewhere_are_left_to_the_encoder(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "a.mkv", frames=256, size=SIZE)
    clip = clip_of(source, 256, tmp_path / "clips")
    ranges = [(0, 64), (70, 100), (100, 192), (192, 256)]
    assert list(copied(clip, ranges, tmp_path / "windows")) == [(0, 64), (192, 256)]
    assert copied(clip, [(100, 200)], tmp_path / "none") == {}


def test_open_groups_are_left_to_the_encoder_where_frames_would_be_lost(tmp_path: Path) -> None:
    options = {"preset": "medium", "x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}
    clip = media.make_video(tmp_path / "a.mp4", frames=120, size=SIZE, keyframe_interval=30, options=options)
    expected = pictures(clip)
    found = set()
    for start in range(120):
        for window in copied(clip, [(start, 120)], tmp_path / str(start)).values():
            assert pictures(window.path) == expected[start:]
            found.add(start)
    assert found == {0}, "B-frames are shown before each of the other key frames, and refer to what is before it"


def test_a_folder_that_cannot_be_written_is_an_error_of_the_output(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "a.mkv", frames=70, size=SIZE)
    clip = clip_of(source, 70, tmp_path / "clips")
    timeline = timeline_of(clip)
    (window,) = copy(str(clip), timeline.info, spans_of(timeline, [(0, 64)]), str(tmp_path / "missing"))
    assert isinstance(window.error, OutputError)
