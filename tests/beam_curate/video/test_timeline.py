from fractions import Fraction

import numpy as np
import pytest

from beam_curate.errors import UnreadableSourceError
from beam_curate.video.decode import SourceHeader
from beam_curate.video.scan import ShotFrames, Times, packet_times, shot_frames
from beam_curate.video.timeline import Timeline
from tests.support import media


def header(frame_rate=Fraction(25), time_base=Fraction(1, 1000), claimed_frames=0):
    return SourceHeader(
        width=320,
        height=180,
        frame_rate=frame_rate,
        time_base=time_base,
        video_codec="h264",
        pixel_format="yuv420p",
        audio_codec=None,
        container="matroska,webm",
        bit_rate_kbps=0,
        claimed_frames=claimed_frames,
        claimed_duration_s=0.0,
    )


def timeline(pts, last_duration=40, damaged=0, **claims):
    return Timeline(header(**claims), Times(tuple(pts), last_duration, damaged))


@pytest.mark.parametrize(
    ("pts", "last_duration", "claimed_rate", "has_timestamps", "even", "rate", "duration_s"),
    [
        pytest.param([0, 40, 80, 120], 40, 25, True, True, 25, 0.16, id="even"),
        pytest.param([500, 540, 580, 620], 40, 25, True, True, 25, 0.16, id="start other than 0"),
        pytest.param([-80, -40, 0, 40], 40, 25, True, True, 25, 0.16, id="negative start"),
        pytest.param([0, 42, 83, 125, 167], 42, 24, True, True, 24, 5 / 24, id="rounded to ms"),
        pytest.param([0, 40, 80, 120], 0, 25, True, True, 25, 0.16, id="last duration unknown"),
        pytest.param([0, 40, 80, 120], 40, 50, True, True, 25, 0.16, id="rate claimed twice as high"),
        pytest.param([0, 40, 80, 120], 40, 0, True, True, 25, 0.16, id="no rate claimed"),
        pytest.param([0, 100, 110, 120, 300], 100, 25, True, False, Fraction(40, 3), 0.4, id="variable"),
        pytest.param([7], 0, 25, True, True, 25, 0.04, id="one frame"),
        pytest.param([7], 0, 0, True, True, 25, 0.04, id="one frame, nothing known"),
        pytest.param([None, None, None], 0, 50, False, True, 50, 0.06, id="none"),
        pytest.param([0, None, None, None, 80], 40, 25, False, True, 25, 0.2, id="most missing"),
        pytest.param([0, 40, 40, 40, 40, 40], 40, 25, False, True, 25, 0.24, id="all the same"),
        pytest.param([0, 80, 40], 40, 25, False, True, 25, 0.12, id="backwards"),
        pytest.param([None], 0, 0, False, True, 25, 0.04, id="nothing known"),
    ],
)
def test_frame_rate_and_duration(pts, last_duration, claimed_rate, has_timestamps, even, rate, duration_s):
    found = timeline(pts, last_duration, frame_rate=Fraction(claimed_rate))
    info = found.info
    assert (info.has_timestamps, info.constant_frame_rate, info.frame_rate) == (has_timestamps, even, rate)
    assert info.num_frames == len(pts)
    assert info.duration_s == pytest.approx(duration_s)
    assert len(found.pts) == len(pts) + 1
    assert (np.diff(found.pts) > 0).all()
    assert found.seconds()[0] == 0
    assert found.seconds()[-1] == pytest.approx(duration_s)
    assert bool(info.notes) is not has_timestamps


def test_fixed_times_are_noted():
    found = timeline([0, 40, 80, None, 160, 200, 100_000, 280], 40)
    assert found.pts.tolist() == [0, 40, 80, 120, 160, 200, 240, 280, 320]
    assert (found.info.constant_frame_rate, found.info.fixed_timestamps, found.info.counted) == (True, True, True)
    assert found.info.notes == ("time stamps of 2 frames (3, 6) cannot be true: replaced from their neighbours",)
    assert [found.span("", start, start + 1).seekable for start in (2, 3)] == [True, False]


def test_a_pause_divides_the_video_into_stretches():
    pts = [*range(0, 4000, 40), *range(604_000, 608_000, 40)]
    found = timeline(pts, 40)
    assert found.stretches == ((0, 100), (100, 200))
    assert (found.info.frame_rate, found.info.constant_frame_rate, found.info.fixed_timestamps) == (25, True, False)
    assert found.info.duration_s == 608
    assert [found.starts_s[100], found.ends_s[99]] == [604, 4]
    assert (found.span("", 50, 100).end_pts, found.span("", 50, 100).end_s) == (4000, 4)
    assert found.info.notes == ("the recording pauses once, for 600.0 s in all (at frame 100): shots end there",)


@pytest.mark.parametrize(
    ("time_base", "stamp"),
    [(Fraction(1, 1000), round), (Fraction(1, 1000), int), (Fraction(1, 90000), round), (Fraction(1, 12288), round)],
)
@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)])
def test_times_at_a_constant_rate_do_not_depend_on_the_time_base(rate, time_base, stamp):
    pts = [stamp(i / rate / time_base) for i in range(600)]
    found = timeline(pts, stamp(1 / rate / time_base), frame_rate=rate, time_base=time_base)
    assert found.starts_s.tolist() == pytest.approx([float(i / rate) for i in range(600)], abs=1e-9)
    assert found.ends_s[-1] == pytest.approx(float(600 / rate), abs=1e-9)


def test_an_average_rate_fits_into_a_file():
    ticks = np.cumsum(np.random.default_rng(0).integers(3_000_000, 9_000_000, 5000)).tolist()
    rate = timeline(ticks, frame_rate=Fraction(0), time_base=Fraction(1, 90000)).info.frame_rate
    assert max(rate.numerator, rate.denominator) < 1 << 31
    assert float(rate) == pytest.approx(4999 / (ticks[-1] - ticks[0]) * 90000, rel=1e-6)


def test_a_video_without_frames_is_unreadable():
    with pytest.raises(UnreadableSourceError, match="no video frame"):
        timeline([])


@pytest.mark.parametrize(
    ("claimed_frames", "damaged", "words"),
    [(3, 0, None), (2, 0, None), (0, 0, None), (9, 0, "claims 9 frames and holds 3"), (3, 2, "2 damaged frames")],
)
def test_claims_and_damage_are_noted(claimed_frames, damaged, words):
    notes = timeline([0, 40, 80], damaged=damaged, claimed_frames=claimed_frames).info.notes
    assert [words in note for note in notes] == ([True] if words else [])


@pytest.mark.parametrize("start", [0, 9000, -3600])
def test_a_span_has_the_times_of_its_frames(start):
    pts = [start + offset for offset in (0, 3600, 10000, 14400)]
    span = timeline(pts, 3600, time_base=Fraction(1, 90000)).span("a", 1, 4)
    assert (span.clip_id, span.start_frame, span.end_frame, span.num_frames) == ("a", 1, 4, 3)
    assert (span.start_pts, span.end_pts) == (start + 3600, start + 18000)
    assert (span.start_s, span.end_s) == pytest.approx((0.04, 0.2))


B_FRAMES = {"bf": "2"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {"options": B_FRAMES}),
        ("a.mp4", {"start_pts": 48}),
        ("a.mkv", {"options": B_FRAMES}),
        ("a.mov", {}),
        ("a.ts", {"options": B_FRAMES}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.avi", {"options": B_FRAMES}),
        ("a.mpg", {"codec": "mpeg2video", "options": B_FRAMES}),
        ("a.mp4", {"pts": [i * 1000 + (i % 3) * 300 for i in range(60)], "time_base": Fraction(1, 24000)}),
    ],
)
def test_times_of_packets_and_of_frames_are_the_same(tmp_path, name, settings):
    path = media.make_video(tmp_path / name, frames=60, size=(96, 64), **settings)
    by_packets = Timeline(*filter(None, packet_times(str(path))))
    first, *middle, last = shot_frames(str(path))
    batches = [message for message in middle if isinstance(message, ShotFrames)]
    pts = tuple(stamp for batch in batches for stamp in batch.pts)
    by_frames = Timeline(first, Times(pts, last.last_duration, last.damaged))
    assert by_frames.info == by_packets.info
    assert by_frames.pts.tolist() == by_packets.pts.tolist()
    assert by_frames.info.num_frames == 60
    assert by_frames.info.frame_rate == 24 or not by_frames.info.constant_frame_rate


@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [("a.mp4", "libsvtav1", "av1"), ("a.webm", "libvpx-vp9", "vp9"), ("a.mp4", "libx265", "hevc")],
)
def test_codecs_are_named_not_their_decoders(tmp_path, capfd, name, codec, expected):
    audio = "libopus" if name.endswith("webm") else "libmp3lame"
    path = media.make_video(tmp_path / name, frames=5, size=(96, 64), codec=codec, audio=audio)
    info = Timeline(*filter(None, packet_times(str(path)))).info
    assert (info.video_codec, info.audio_codec) == (expected, "opus" if audio == "libopus" else "mp3")
