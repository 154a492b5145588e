"""The clips that `cut` writes, read back frame by frame from the numbers drawn into the source."""

import hashlib
import itertools
import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from beam_curate.elements import Span
from beam_curate.errors import LostFramesError
from beam_curate.video.cut import cut
from beam_curate.video.encode import Encoding
from beam_curate.video.scan import packet_times
from beam_curate.video.timeline import Timeline
from tests.support import media

SIZE = (160, 96)
FRAMES = 70
RANGES = ((0, 20), (20, 45), (50, 70))


def timeline_of(path) -> Timeline:
    return Timeline(*filter(None, packet_times(str(path))))


def cut_ranges(path, folder, ranges=RANGES, **encoding):
    """Cuts frame ranges and returns the CutFiles."""
    timeline = timeline_of(path)
    return cut_spans(
        path, timeline, [timeline.span(f"{start}-{end}", start, end) for start, end in ranges], folder, **encoding
    )


def cut_spans(path, timeline, spans, folder, **encoding):
    Path(folder).mkdir(exist_ok=True)
    made = [clip for clip in cut(str(path), timeline.info, spans, Encoding(**encoding), str(folder)) if clip]
    assert [clip.clip_id for clip in made] == [span.clip_id for span in spans]
    return made


def numbers(clip) -> list[int]:
    assert clip.error is None, clip.error
    return media.frame_numbers(Path(clip.path))


def frames_of(path, format="gray"):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=format) for frame in container.decode(video=0)]


def times_of(path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


B_FRAMES = {"bf": "2"}
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-pyramid=1"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"options": B_FRAMES}),
        ("a.mp4", {"options": OPEN_GOP, "start_pts": 37}),
        ("a.mkv", {"options": B_FRAMES}),
        ("a.mov", {"options": B_FRAMES, "start_pts": 24}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.avi", {"options": B_FRAMES}),
        ("a.ts", {"options": B_FRAMES, "start_pts": 240}),
        ("a.ts", {"codec": "mpeg2video", "options": B_FRAMES}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.mp4", {"rate": Fraction(30000, 1001)}),
    ],
)
def test_a_clip_has_exactly_the_frames_of_its_span(tmp_path, name, settings):
    path = media.make_video(tmp_path / name, frames=FRAMES, size=SIZE, keyframe_interval=30, **settings)
    for clip, (start, end) in zip(cut_ranges(path, tmp_path / "clips"), RANGES, strict=True):
        rate = settings.get("rate", 24)
        assert numbers(clip) == list(range(start, end))
        assert (clip.num_frames, clip.frame_rate) == (end - start, rate)
        assert clip.duration_s == pytest.approx((end - start) / rate, abs=0.001)
        assert (clip.width, clip.height, clip.video_codec) == (*SIZE, "h264")
        assert times_of(clip.path) == [number / Fraction(rate) for number in range(end - start)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_each_frame_looks_most_like_the_source_frame_of_its_number(tmp_path, name):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    path = media.make_video(tmp_path / name, frames=FRAMES, size=SIZE, codec=codec)
    source = [frame.astype(int) for frame in frames_of(path)]
    for clip, (start, end) in zip(cut_ranges(path, tmp_path / "clips"), RANGES, strict=True):
        made = frames_of(clip.path)
        for frame in (start, (start + end) // 2, end - 1):
            near = [other for other in (frame - 1, frame, frame + 1) if 0 <= other < FRAMES]
            error = {other: ((made[frame - start] - source[other]) ** 2).mean() for other in near}
            assert min(error, key=error.get) == frame
            assert 10 * np.log10(255**2 / error[frame]) > 30  # PSNR in dB


def test_frame_times_of_a_variable_rate_are_kept(tmp_path):
    pts = list(itertools.accumulate(itertools.islice(itertools.cycle((20, 120, 30, 60, 10)), FRAMES - 1), initial=0))
    for suffix, options in (("mp4", B_FRAMES), ("mkv", {})):
        path = media.make_video(
            tmp_path / f"a.{suffix}", frames=FRAMES, size=SIZE, pts=pts, time_base=Fraction(1, 1000), options=options
        )
        for clip, (start, end) in zip(cut_ranges(path, tmp_path / suffix), RANGES, strict=True):
            assert numbers(clip) == list(range(start, end))
            assert times_of(clip.path) == [Fraction(stamp - pts[start], 1000) for stamp in pts[start:end]]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {"options": OPEN_GOP, "audio": "aac"}),
        ("a.mkv", {"options": B_FRAMES}),
        ("a.ts", {"options": B_FRAMES, "audio": "aac"}),
        ("a.ts", {"codec": "mpeg2video", "options": B_FRAMES, "keyframe_interval": 100}),
        ("a.avi", {"codec": "mpeg4", "audio": "libmp3lame"}),
        ("a.avi", {"options": B_FRAMES}),
    ],
)
def test_bytes_do_not_depend_on_where_decoding_starts(tmp_path, name, settings):
    settings = {"keyframe_interval": 24, **settings}
    path = media.make_video(tmp_path / name, frames=160, size=SIZE, **settings)
    whole = cut_ranges(path, tmp_path / "whole", [(0, 20), (60, 70), (71, 72), (149, 160)])
    for clip in whole[1:]:
        start, end = map(int, clip.clip_id.split("-"))
        (alone,) = cut_ranges(path, tmp_path / "alone", [(start, end)])
        assert numbers(alone) == list(range(start, end))
        assert Path(alone.path).read_bytes() == Path(clip.path).read_bytes()


def test_odd_sizes_lose_only_one_row_or_column(tmp_path):
    path = media.make_video(
        tmp_path / "a.mkv", frames=5, size=(161, 97), codec="ffv1", pixel_format="yuv444p", keyframe_interval=1
    )
    (clip,) = cut_ranges(path, tmp_path / "clips", [(0, 5)], crf=1)
    assert (clip.width, clip.height) == (160, 96)
    for made, source in zip(frames_of(clip.path), frames_of(path), strict=True):
        assert np.abs(made.astype(int) - source[:96, :160].astype(int)).mean() < 1


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [
        ("libx264", "yuv444p"),
        ("libx264", "yuv420p10le"),
        ("libx264", "yuv422p"),
        ("ffv1", "bgr0"),
        ("libx264rgb", "rgb24"),
        ("libx264", "gray"),
    ],
)
def test_any_pixel_format_becomes_yuv420p_and_looks_the_same(tmp_path, codec, pixel_format):
    path = media.make_video(tmp_path / "a.mkv", frames=10, size=SIZE, codec=codec, pixel_format=pixel_format)
    (clip,) = cut_ranges(path, tmp_path / "clips", [(0, 10)])
    assert numbers(clip) == list(range(10))
    with av.open(clip.path) as container:
        assert container.streams.video[0].codec_context.pix_fmt in ("yuv420p", "yuvj420p")
    assert frames_of(clip.path)[0].mean() == pytest.approx(frames_of(path)[0].mean(), abs=1)


def rotate(path: Path, degrees: int) -> None:
    """Writes a rotation into the header of the video track of an mp4, as phones do."""
    content = bytearray(path.read_bytes())
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(
        ">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)


@pytest.mark.parametrize(("degrees", "quarters"), [(90, -1), (180, 2), (270, 1)])
def test_rotated_videos_of_phones_become_upright(tmp_path, degrees, quarters):
    path = media.make_video(tmp_path / "a.mp4", frames=5, size=SIZE)
    as_stored = frames_of(path)
    rotate(path, degrees)
    (clip,) = cut_ranges(path, tmp_path / "clips", [(0, 5)])
    assert (clip.width, clip.height) == (SIZE if degrees == 180 else SIZE[::-1])
    for made, stored in zip(frames_of(clip.path), as_stored, strict=True):
        assert np.abs(made.astype(int) - np.rot90(stored, quarters).astype(int)).mean() < 3


@pytest.mark.parametrize(
    ("name", "audio", "codec_of_clip", "note"),
    [
        ("a.mp4", "aac", "aac", None),
        ("a.mkv", "aac", "aac", None),
        ("a.ts", "aac", "aac", None),
        ("a.mkv", "libopus", "opus", None),
        ("a.mp4", "libmp3lame", "mp3", None),
        ("a.mkv", "ac3", "ac3", None),
        ("a.mov", "pcm_s16le", None, "audio dropped: mp4 cannot hold pcm_s16le"),
        ("a.avi", "pcm_s16le", None, "audio dropped: mp4 cannot hold pcm_s16le"),
        ("a.mkv", "pcm_s16le", None, "audio dropped: mp4 cannot hold pcm_s16le"),
        ("a.mp4", None, None, None),
    ],
)
def test_audio_is_copied_if_mp4_can_hold_it(tmp_path, name, audio, codec_of_clip, note):
    path = media.make_video(tmp_path / name, frames=FRAMES, size=SIZE, audio=audio, keyframe_interval=24)
    for clip, (start, end) in zip(cut_ranges(path, tmp_path / "clips"), RANGES, strict=True):
        assert numbers(clip) == list(range(start, end))
        assert clip.notes == ((note,) if note else ())
        with av.open(clip.path) as container:
            audio_streams = container.streams.audio
            assert [stream.codec_context.codec.canonical_name for stream in audio_streams] == (
                [codec_of_clip] if codec_of_clip else []
            )
            for stream in audio_streams:
                samples = sum(frame.samples for frame in container.decode(stream))
                assert samples / stream.rate == pytest.approx((end - start) / 24, abs=0.05)


def test_audio_of_unknown_time_is_dropped_with_a_note(tmp_path):
    path = media.make_video(tmp_path / "a.avi", frames=30, size=SIZE, options=B_FRAMES, audio="libmp3lame")
    (clip,) = cut_ranges(path, tmp_path / "clips", [(0, 20)])
    assert clip.notes == ("audio dropped: without the frames' time stamps its place is not known",)


def test_a_clip_after_the_end_of_the_audio_has_a_note(tmp_path):
    path = tmp_path / "a.mkv"
    sound = media.make_video(tmp_path / "b.mkv", frames=20, size=SIZE, audio="aac")
    pictures = media.make_video(tmp_path / "c.mkv", frames=FRAMES, size=SIZE)
    with av.open(str(sound)) as a, av.open(str(pictures)) as b, av.open(str(path), "w") as both:
        for stream in (b.streams.video[0], a.streams.audio[0]):
            both.add_stream_from_template(stream)
        for source, copy in zip((b.streams.video[0], a.streams.audio[0]), both.streams, strict=True):
            for packet in source.container.demux(source):
                if packet.size:
                    packet.stream = copy
                    both.mux(packet)
    notes = [clip.notes for clip in cut_ranges(path, tmp_path / "clips")]
    assert notes == [(), ("the source has no audio during this clip",), ("the source has no audio during this clip",)]


@pytest.mark.parametrize(
    ("max_output_frames", "expected_rate", "expected_numbers"),
    [
        (None, 24, list(range(20))),
        (100, 24, list(range(20))),
        (20, 24, list(range(20))),
        (10, 12, list(range(0, 20, 2))),
        (5, 6, [0, 4, 8, 12, 16]),
        (15, 18, [0, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19]),
        (1, Fraction(6, 5), [0]),
    ],
)
def test_max_output_frames_lowers_the_frame_rate(tmp_path, max_output_frames, expected_rate, expected_numbers):
    path = media.make_video(tmp_path / "a.mp4", frames=30, size=SIZE)
    (clip,) = cut_ranges(path, tmp_path / "clips", [(0, 20)], max_output_frames=max_output_frames)
    assert numbers(clip) == expected_numbers
    assert clip.frame_rate == expected_rate
    assert clip.duration_s == pytest.approx(20 / 24, abs=0.001)


def test_bit_rates(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=96, size=(320, 180), options={"b": "120k"})

    def made_kbps(**encoding) -> float:
        (clip,) = cut_ranges(path, tmp_path / "clips", [(0, 96)], **encoding)
        return timeline_of(clip.path).info.bit_rate_kbps

    assert made_kbps(bit_rate_kbps=60) == pytest.approx(60, rel=0.3)
    assert made_kbps(bit_rate_kbps=150) == pytest.approx(150, rel=0.3)
    assert made_kbps(use_input_bit_rate=True) == pytest.approx(timeline_of(path).info.bit_rate_kbps, rel=0.3)


def test_a_lower_crf_gives_a_larger_file(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=24, size=(320, 180), options={"qp": "10"})
    small, large = (cut_ranges(path, tmp_path / str(crf), [(0, 24)], crf=crf)[0] for crf in (45, 5))
    assert Path(small.path).stat().st_size < 0.9 * Path(large.path).stat().st_size


def digests(clips) -> list[str]:
    return [hashlib.sha256(Path(clip.path).read_bytes()).hexdigest() for clip in clips]


def test_bytes_are_the_same_on_a_busy_machine(tmp_path):
    path = media.make_video(tmp_path / "a.mkv", frames=120, size=SIZE, audio="aac", options=B_FRAMES)
    ranges = [(0, 72), (72, 96), (96, 120)]  # the first with a key frame inside
    expected = digests(cut_ranges(path, tmp_path / "first", ranges))
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(digests(cut_ranges(path, tmp_path / f"busy{n}", ranges))))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_the_index_comes_first_and_no_version_is_named(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=24, size=SIZE, audio="aac")
    (clip,) = cut_ranges(path, tmp_path / "clips", [(0, 24)])
    content = Path(clip.path).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    for name in (b"x264", b"Lavf", b"Lavc"):
        assert name not in content


def has_encoder(name: str) -> bool:
    try:
        context = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt, context.time_base = *SIZE, "yuv420p", Fraction(1, 24)
        context.open()
    except (av.error.FFmpegError, ValueError):  # ValueError: FFmpeg was built without it
        return False
    return True


@pytest.mark.parametrize("max_output_frames", [None, 150])
@pytest.mark.parametrize("encoder", ["libx264", "libopenh264", "h264_nvenc"])
def test_every_64th_frame_of_a_clip_is_a_key_frame(tmp_path, encoder, max_output_frames):
    if not has_encoder(encoder):
        pytest.skip(f"no {encoder} here")
    path = media.make_video(tmp_path / "a.mp4", frames=220, size=SIZE, keyframe_interval=300)
    (clip,) = cut_ranges(
        path, tmp_path / "clips", [(7, 207)], encoder=encoder, max_output_frames=max_output_frames, bit_rate_kbps=300
    )
    with av.open(clip.path) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    assert keys == [number for number in (0, 64, 128, 192) if number < clip.num_frames]


def test_a_span_beyond_the_end_fails_alone(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=40, size=SIZE)
    timeline = timeline_of(path)
    end = int(timeline.pts[-1])
    beyond = Span("beyond", 40, 50, end, end + 10 * 512, 1.67, 2.1)
    across = Span("across", 30, 50, int(timeline.pts[30]), end + 10 * 512, 1.25, 2.1)
    inside, lost = cut_spans(path, timeline, [timeline.span("inside", 0, 20), beyond], tmp_path / "clips")
    assert numbers(inside) == list(range(20))
    assert isinstance(lost.error, LostFramesError)
    inside, lost = cut_spans(path, timeline, [timeline.span("inside", 0, 20), across], tmp_path / "clips")
    assert numbers(inside) == list(range(20))
    assert isinstance(lost.error, LostFramesError)
    assert "of its 20 frames" in str(lost.error) and "10 are lost" in str(lost.error)
    assert {file.name for file in (tmp_path / "clips").iterdir()} == {"inside.mp4"}


def test_a_span_between_two_frames_gets_neither(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=40, size=SIZE)
    timeline = timeline_of(path)
    before, after = timeline.span("before", 0, 10), timeline.span("after", 10, 20)
    start = before.end_pts - 200
    before = Span("before", 0, 10, before.start_pts, start, 0, 0.4)
    between = Span("between", 10, 11, start, start + 100, 0.4, 0.41)
    made = cut_spans(path, timeline, [before, between, after], tmp_path / "clips")
    assert numbers(made[0]) == list(range(10))
    assert isinstance(made[1].error, LostFramesError)
    assert numbers(made[2]) == list(range(10, 20))


def test_a_truncated_source_gives_its_complete_clips(tmp_path):
    path = media.make_video(tmp_path / "a.ts", frames=FRAMES, size=SIZE, audio="aac", keyframe_interval=24)
    timeline = timeline_of(path)
    spans = [timeline.span(str(start), start, start + 10) for start in range(0, FRAMES, 10)]
    media.truncate(path, 0.5)
    made = cut_spans(path, timeline, spans, tmp_path / "clips")
    assert numbers(made[0]) == list(range(10))
    assert [isinstance(clip.error, LostFramesError) for clip in made[-2:]] == [True, True]


def test_an_invalid_encoder_option_fails_each_clip(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=FRAMES, size=SIZE)
    made = cut_ranges(path, tmp_path / "clips", preset="no such preset")
    assert all(clip.error is not None for clip in made)
    assert list((tmp_path / "clips").iterdir()) == []


def test_a_frame_too_small_for_h264_is_an_error(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=24)
        stream.width, stream.height, stream.pix_fmt = 1, 9, "rgb24"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((9, 1, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    (clip,) = cut_ranges(tmp_path / "a.mov", tmp_path / "clips", [(0, 3)])
    assert isinstance(clip.error, LostFramesError)
