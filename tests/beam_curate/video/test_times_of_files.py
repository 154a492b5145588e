"""Bad and variable time stamps in files of every format: which frames become clips, and when each is shown."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from beam_curate.elements import Span, Video, VideoShots
from beam_curate.errors import UnreadableSourceError
from beam_curate.shots.scenes import PAUSES, SceneRules, divide, losses_of, split_at
from beam_curate.shots.stage import FixedStrideDetector
from beam_curate.video.cut import CutFile, cut
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import Encoding
from beam_curate.video.scan import ShotFrames, packet_times, shot_frames
from beam_curate.video.timeline import Timeline
from tests.support import media
from tests.support.plans import NO_FILES
from tests.support.restamped import restamped

SIZE, FRAMES, RATE = (96, 64), 240, Fraction(24)
LIMITS = Limits(timeout_s=60, memory_mb=2000)
FAR_S, PAUSE_S = 300, 600
B_FRAMES = {"bf": "2"}
VP8 = {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}}
KINDS: dict[str, dict[str, Any]] = {
    "b-frames.mp4": {"options": B_FRAMES, "audio": "aac"},
    "plain.mp4": {"audio": "aac"},
    "b-frames.mkv": {"options": B_FRAMES, "audio": "aac"},
    "plain.mkv": {"audio": "ac3"},
    "vp8.webm": {"audio": "libopus", **VP8},
    "vp9.webm": {"codec": "libvpx-vp9", "audio": "libopus"},
    "mjpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p", "audio": "aac"},
    "b-frames.ts": {"options": B_FRAMES, "audio": "aac"},
    "mpeg2.ts": {"codec": "mpeg2video", "options": B_FRAMES, "audio": "aac"},
    "plain.flv": {"audio": "aac"},
    "hevc.mp4": {"codec": "libx265", "audio": "aac"},
}
EQUAL_REFUSED = ("plain.mp4", "mjpeg.mov", "plain.flv", "mpeg2.ts")  # by the muxers


def timeline_of(path: Path) -> Timeline:
    return Timeline(*filter(None, packet_times(str(path))))


def by_decoding(path: Path) -> Timeline:
    first, *middle, last = shot_frames(str(path))
    stamps = tuple(stamp for batch in middle if isinstance(batch, ShotFrames) for stamp in batch.pts)
    return Timeline(first, dataclasses.replace(last, pts=stamps))


def strides(path: Path, duration_s: float = 2.0, min_length_s: float = 2.0) -> VideoShots:
    facts = os.stat(path)
    video = Video(str(path), path.name, facts.st_size, str(facts.st_mtime_ns))
    return FixedStrideDetector(duration_s, min_length_s, 0, LIMITS).run(video, NO_FILES)


def frames_of(shots: VideoShots) -> list[tuple[int, int]]:
    return [(span.start_frame, span.end_frame) for span in shots.spans]


def clips_of(path: Path, shots: VideoShots, folder: Path, **encoding: Any) -> Iterator[tuple[Span, CutFile]]:
    folder.mkdir(exist_ok=True)
    made = [clip for clip in cut(str(path), shots.info, shots.spans, Encoding(**encoding), str(folder)) if clip]
    for span, clip in zip(shots.spans, made, strict=True):
        assert clip.error is None, clip.error
        assert media.frame_numbers(Path(clip.path)) == list(range(span.start_frame, span.end_frame))
        yield span, clip


def times_of(clip: CutFile) -> list[float]:
    """Returns when each frame begins and the last one ends, as the file states it."""
    with av.open(clip.path) as container:
        frames = [(float(f.pts * f.time_base), float(f.duration * f.time_base)) for f in container.decode(video=0)]
    return [*(start for start, _ in frames), sum(frames[-1])]


def sound_s(clip: CutFile) -> float:
    with av.open(clip.path) as container:
        (stream,) = container.streams.audio
        return sum(frame.samples for frame in container.decode(stream)) / stream.rate


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("sources")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            media.make_video(path, frames=FRAMES, rate=RATE, size=SIZE, **KINDS[name])
        return path

    return make


def far(
    frames: range | tuple[int, ...], seconds: int = FAR_S
) -> Callable[[Fraction], Callable[[list[int]], list[int]]]:
    return lambda unit: lambda true: [stamp + round(seconds / unit) * (i in frames) for i, stamp in enumerate(true)]


BREAKS = {
    "far ahead": far((100,)),
    "far ahead at the border of a clip": far((96,)),
    "a row far ahead": far(range(100, 105)),
    "the last far ahead": far((239,)),
    "rows far ahead near the end": far((230, 231, 232, 235)),
    "equal": lambda unit: lambda true: [true[i - 1] if i in (80, 144) else stamp for i, stamp in enumerate(true)],
    "near 2^63": lambda unit: lambda true: [stamp if i != 100 else (1 << 62) - 1 for i, stamp in enumerate(true)],
}
FAST = {("b-frames.mkv", kind) for kind in BREAKS} | {(name, "far ahead") for name in KINDS} | {("vp8.webm", "equal")}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if (name, kind) in FAST else pytest.mark.soak)
        for name, kind in itertools.product(KINDS, BREAKS)
        if not (kind == "equal" and name in EQUAL_REFUSED)
        and not (kind == "near 2^63" and not name.endswith((".mkv", ".webm")))  # others hold fewer bits
    ],
)
def test_isolated_bad_stamps_cost_no_frame(
    sources: Callable[[str], Path], tmp_path: Path, name: str, kind: str
) -> None:
    source = sources(name)
    unit = timeline_of(source).info.time_base
    path = restamped(source, tmp_path / name, BREAKS[kind](unit))
    shots = strides(path)
    assert frames_of(shots) == [(start, start + 48) for start in range(0, 240, 48)]
    assert shots.info.frame_rate == RATE and shots.info.has_timestamps and shots.info.duration_s == pytest.approx(10)
    assert any("cannot be true" in note for note in shots.info.notes)
    assert shots.losses == ()
    for _, clip in clips_of(path, shots, tmp_path / "clips"):
        assert (clip.frame_rate, clip.duration_s) == (RATE, 2)
        assert times_of(clip) == pytest.approx([i / 24 for i in range(49)])
        assert sound_s(clip) == pytest.approx(2, abs=0.06)
    assert by_decoding(path).info == shots.info


@pytest.mark.parametrize("name", ["b-frames.mp4", "vp8.webm", "b-frames.ts"])
def test_clips_do_not_depend_on_where_decoding_starts(
    sources: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    source = sources(name)
    path = restamped(source, tmp_path / name, far((10, 100, 150))(timeline_of(source).info.time_base))
    shots = strides(path)
    whole = [Path(clip.path).read_bytes() for _, clip in clips_of(path, shots, tmp_path / "whole")]
    for span, content in zip(shots.spans, whole, strict=True):
        alone = dataclasses.replace(shots, spans=(span,))
        assert [Path(clip.path).read_bytes() for _, clip in clips_of(path, alone, tmp_path / "alone")] == [content]


@pytest.mark.parametrize("name", ["b-frames.mp4", "b-frames.mkv", "b-frames.ts"])
def test_two_swapped_stamps_at_the_border_of_a_clip(sources: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    path = restamped(sources(name), tmp_path / name, lambda true: [*true[:95], true[96], true[95], *true[97:]])
    shots = strides(path)
    assert frames_of(shots) == [(start, start + 48) for start in range(0, 240, 48)]
    assert len(list(clips_of(path, shots, tmp_path / "clips"))) == 5


SLOW_END = [round(i * 1000 / 30) for i in range(150)] + [5000 + 500 * i for i in range(10)]


@pytest.mark.parametrize("name", ["slow.webm", "slow.mkv", "slow.mp4"])
@pytest.mark.parametrize("pair", [None, 80, 155], ids=["sound", "equal pair", "equal pair in the slow part"])
def test_a_variable_rate_is_kept(tmp_path: Path, name: str, pair: int | None) -> None:
    stamps = SLOW_END
    kind = VP8 if name == "slow.webm" else {"options": B_FRAMES}
    source = media.make_video(
        tmp_path / f"source.{name}",
        frames=160,
        rate=Fraction(30),
        size=SIZE,
        pts=stamps,
        time_base=Fraction(1, 1000),
        audio="libopus" if name == "slow.webm" else "aac",
        **kind,
    )
    path = source
    if pair is not None:
        path = restamped(source, tmp_path / name, lambda true: [*true[:pair], true[pair - 1], *true[pair + 1 :]])
    shots = strides(path)
    end = [(156, 160)] if name == "slow.mp4" else []  # in mp4, the last frame lasts as long as the one before
    assert frames_of(shots) == [(0, 60), (60, 120), (120, 152), (152, 156), *end]
    assert not shots.info.constant_frame_rate
    assert bool(shots.info.notes) is (pair is not None)
    assert shots.info.duration_s == pytest.approx(10 if end else 9.533, abs=0.001)
    stamps = [*stamps, 10_000]
    for span, clip in clips_of(path, shots, tmp_path / "clips"):
        true = [(stamp - stamps[span.start_frame]) / 1000 for stamp in stamps[span.start_frame : span.end_frame + 1]]
        assert times_of(clip) == pytest.approx(true, abs=0.0015)
        assert clip.duration_s == pytest.approx(2, abs=0.0015)
        assert float(clip.frame_rate) == pytest.approx(span.num_frames / 2, rel=0.001)
        assert sound_s(clip) == pytest.approx(min(2, 9.533 - span.start_s), abs=0.06)


def test_other_readers_see_the_right_rate_and_duration(tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    path = media.make_video(
        tmp_path / "a.webm", frames=160, rate=Fraction(30), size=SIZE, pts=SLOW_END, time_base=Fraction(1, 1000), **VP8
    )
    shots = strides(path)
    for span, clip in clips_of(path, shots, tmp_path / "clips"):
        reader = decord.VideoReader(clip.path)
        assert reader.get_avg_fps() == pytest.approx(span.num_frames / 2, rel=0.001)
        assert reader.get_frame_timestamp(span.num_frames - 1)[1] == pytest.approx(2, abs=0.0015)
        with av.open(clip.path) as container:
            stream = container.streams.video[0]
            assert float(stream.duration * stream.time_base) == pytest.approx(2, abs=0.0015)
            assert float(stream.average_rate) == pytest.approx(span.num_frames / 2, rel=0.001)


def test_dropping_frames_of_a_variable_rate_keeps_the_times_of_the_others(tmp_path: Path) -> None:
    path = media.make_video(
        tmp_path / "a.webm", frames=160, rate=Fraction(30), size=SIZE, pts=SLOW_END, time_base=Fraction(1, 1000), **VP8
    )
    shots = dataclasses.replace(strides(path), spans=strides(path).spans[2:3])  # 30 short frames and 2 long ones
    (clip,) = [c for c in cut(str(path), shots.info, shots.spans, Encoding(max_output_frames=16), str(tmp_path)) if c]
    assert media.frame_numbers(Path(clip.path)) == list(range(120, 152, 2))
    assert times_of(clip) == pytest.approx([(SLOW_END[i] - 4000) / 1000 for i in range(120, 152, 2)] + [2.0])
    assert (clip.frame_rate, clip.duration_s) == (8, 2)


@pytest.mark.parametrize("name", ["b-frames.mp4", "vp8.webm", "b-frames.ts", "b-frames.mkv", "plain.flv"])
@pytest.mark.parametrize("pause_s", [5, 600, 3600])
def test_a_pause_ends_a_shot(sources: Callable[[str], Path], tmp_path: Path, name: str, pause_s: int) -> None:
    if name == "plain.flv" and pause_s == 3600:
        pytest.skip("FFmpeg takes so large a jump for a clock that starts again, and joins both sides")
    source = sources(name)
    path = restamped(source, tmp_path / name, far(range(130, 240), pause_s)(timeline_of(source).info.time_base))
    shots = strides(path, min_length_s=1)
    assert frames_of(shots) == [(0, 48), (48, 96), (96, 130), (130, 178), (178, 226)]
    assert shots.info.frame_rate == RATE
    assert shots.info.duration_s == pytest.approx(10 + pause_s, abs=0.002)
    assert sum(loss.seconds for loss in shots.losses if loss.cause == PAUSES) == pytest.approx(pause_s, abs=0.002)
    for span, clip in clips_of(path, shots, tmp_path / "clips"):
        assert clip.duration_s == pytest.approx(span.num_frames / 24)
    rules = SceneRules(min_length_s=2, min_length_frames=48, crop_s=0.5)
    timeline = by_decoding(path)
    pieces = divide(split_at([(0, 60), (60, 240)], timeline.stretches), timeline.starts_s, timeline.ends_s, rules)
    assert [(p.start, p.end) for p in pieces if p.cause is None] == [(72, 118), (142, 228)][1:]
    lost = losses_of(timeline, pieces)
    assert sum(loss.seconds for loss in lost) + 86 / 24 == pytest.approx(10 + pause_s, abs=0.002)


CONTAINERS = ("mp4", "mov", "mkv", "ts", "flv", "avi", "m2ts", "webm")
RATES = (Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(50))


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_clips_do_not_depend_on_the_container(tmp_path: Path, rate: Fraction) -> None:
    count = round(12 * rate)
    source = media.make_video(tmp_path / "a.mp4", frames=count, rate=rate, size=(64, 64))
    vp9 = media.make_video(tmp_path / "v.mkv", frames=count, rate=rate, size=(64, 64), codec="libvpx-vp9")
    for suffix in CONTAINERS:
        copy = tmp_path / f"copy.{suffix}"
        if suffix == "avi":
            media.make_video(copy, frames=count, rate=rate, size=(64, 64), codec="mpeg4")
        else:
            restamped(vp9 if suffix == "webm" else source, copy, lambda true: true)
        for stride_s, shortest_s in ((2, 2.0), (10, 2.0), (3, 1.5), (5, 0.5)):
            expected = []
            for start_s in range(0, 13, stride_s):
                inside = [i for i in range(count) if start_s <= i / rate < start_s + stride_s]
                end_s = min(Fraction(start_s + stride_s), count / rate)
                if inside and end_s - start_s >= shortest_s:
                    expected.append((inside[0], inside[-1] + 1))
            assert frames_of(strides(copy, stride_s, shortest_s)) == expected, (suffix, stride_s)


def test_a_file_without_a_decodable_frame_is_unreadable(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "a.mp4", frames=48, size=SIZE, codec="libx264")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in places:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(UnreadableSourceError):
        list(packet_times(str(path)))
