"""Which frames count as damaged; frames do not depend on where decoding starts."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from beam_curate.errors import UnreadableSourceError
from beam_curate.video.decode import numbered, read_frames
from beam_curate.video.scan import packet_times
from beam_curate.video.timeline import Timeline
from tests.support import media

SIZE = (160, 96)


def packet_places(path):
    """Returns position and size in bytes of each video packet, in decoding order."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size, p.is_keyframe) for p in container.demux(container.streams.video[0]) if p.size]


def damage(path, packet_number, fraction=0.3, length=40):
    """Overwrites a part of one packet with noise."""
    position, size, _ = packet_places(path)[packet_number]
    content = bytearray(path.read_bytes())
    start = position + int(size * fraction)
    length = min(length, size - int(size * fraction) - 4)
    content[start : start + length] = np.random.default_rng(packet_number).bytes(length)
    path.write_bytes(content)


def pictures(path):
    return [frame.to_ndarray(format="gray").astype(np.int16) for frame, _ in read_frames(str(path))]


# FFmpeg's HEVC decoder decodes noise inside a slice without an error; it notices damaged headers only.
@pytest.mark.parametrize(("codec", "place"), [("libx264", 0.3), ("mpeg4", 0.3), ("libx265", 0.0)])
def test_every_smeared_frame_counts_as_damaged(tmp_path, codec, place):
    path = media.make_video(tmp_path / "a.mp4", frames=72, size=SIZE, keyframe_interval=24, codec=codec)
    clean = pictures(path)
    damage(path, 30, place)
    found = list(read_frames(str(path)))
    smeared = []
    for number, (frame, damaged) in enumerate(found):
        if len(found) < len(clean):
            break  # a lost frame shifts the numbers; what matters then is that the place is marked
        picture = frame.to_ndarray(format="gray").astype(np.int16)
        if np.abs(picture - clean[number]).max() > 8 and not damaged:
            smeared.append(number)
    assert smeared == []
    marked = [number for number, (_, damaged) in enumerate(found) if damaged]
    assert marked, "the damage shows"
    assert min(marked) >= 24, "what came before the damaged group is clean"
    assert max(marked) < 48, "with the next key frame all is clean again"


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", {"preset": "veryfast"}), ("mpeg4", {"bf": "2"}), ("libx265", {})]
)
def test_the_same_frames_are_damaged_in_every_run(tmp_path, codec, options):
    """With several threads, FFmpeg may return a corrupt frame before it marks it, as in a truncated file."""
    path = media.make_video(
        tmp_path / "a.ts", frames=48, size=(192, 108), codec=codec, keyframe_interval=12, options=options, seed=3
    )
    whole = path.read_bytes()
    for size in range(len(whole) // 4, len(whole), len(whole) // 24):
        path.write_bytes(whole[:size])
        first, *others = [[damaged for _, damaged in read_frames(str(path))] for _ in range(12)]
        assert all(other == first for other in others)


def test_an_intact_file_has_no_damaged_frames(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.ts", "a.avi"):
        options = {"bf": "2"} if name != "a.avi" else None
        path = media.make_video(tmp_path / name, frames=60, size=SIZE, options=options)
        assert not any(damaged for _, damaged in read_frames(str(path))), name


def test_a_file_without_a_decodable_frame_is_an_error(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=10, size=SIZE)
    for number in range(10):
        damage(path, number, 0.0, 10_000)
    frames = 0
    with pytest.raises(UnreadableSourceError):
        for _, damaged in read_frames(str(path)):
            assert damaged
            frames += 1
        if frames:  # FFmpeg may conceal even this; then all frames are marked
            raise UnreadableSourceError("all damaged")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {"options": {"bf": "3"}}),
        ("a.mp4", {"options": {"bf": "3", "x264-params": "open-gop=1:bframes=3:b-adapt=0"}}),
        ("a.ts", {"options": {"bf": "2"}}),
        ("a.mkv", {"options": {"bf": "2"}}),
        ("a.mp4", {"start_pts": 240}),
        ("a.mpg", {"codec": "mpeg2video", "options": {"bf": "2"}}),
    ],
)
def test_frames_do_not_depend_on_where_decoding_starts(tmp_path, name, settings):
    path = media.make_video(tmp_path / name, frames=168, size=SIZE, keyframe_interval=24, **settings)
    timeline = Timeline(*filter(None, packet_times(str(path))))
    all_frames = {
        pts: media.read_frame_number(frame)
        for pts, frame, _ in numbered(str(path), timeline.info, timeline.span("", 0, 1))
    }
    for start in (60, 97, 120, 150):
        from_pts = int(timeline.pts[start])
        found = [
            (pts, frame, damaged)
            for pts, frame, damaged in numbered(str(path), timeline.info, timeline.span("", start, 168))
        ]
        wanted = [(pts, media.read_frame_number(frame)) for pts, frame, _ in found if pts >= from_pts]
        assert wanted == [(pts, number) for pts, number in all_frames.items() if pts >= from_pts]
        assert not any(damaged for pts, _, damaged in found if pts >= from_pts)


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.hevc", "libx265")])
@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_a_raw_stream_has_the_rate_that_it_states(tmp_path, name, codec, rate):
    path = media.make_video(tmp_path / name, frames=rate, rate=Fraction(rate), codec=codec)
    header, times = packet_times(str(path))
    info = Timeline(header, times).info
    assert (info.frame_rate, info.num_frames) == (rate, rate)
