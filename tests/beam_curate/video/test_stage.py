import hashlib
import os
from pathlib import Path

import pytest

from beam_curate.elements import Span, Video, VideoInfo, VideoShots, stored_files
from beam_curate.errors import SetupError, SourceChangedError
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import Encoding
from beam_curate.video.scan import packet_times
from beam_curate.video.stage import ClipCutter, chunks_of
from beam_curate.video.timeline import Timeline
from tests.support import media
from tests.support.output import OneName, Output
from tests.support.plans import files_of

LIMITS = Limits(timeout_s=60, memory_mb=2000)
FRAME_RATE = 24


def shots_of(lengths_s) -> VideoShots:
    """Shots of given lengths, one after the other."""
    spans = []
    start_s = 0.0
    for number, length_s in enumerate(lengths_s):
        end_s = start_s + length_s
        start, end = round(start_s * FRAME_RATE), round(end_s * FRAME_RATE)
        spans.append(Span(f"clip{number}", start, end, start, end, start_s, end_s))
        start_s = end_s
    info = VideoInfo(
        width=320,
        height=180,
        frame_rate_num=FRAME_RATE,
        frame_rate_den=1,
        time_base_num=1,
        time_base_den=FRAME_RATE,
        num_frames=round(start_s * FRAME_RATE),
        duration_s=start_s,
        has_timestamps=True,
        constant_frame_rate=True,
        video_codec="h264",
        pixel_format="yuv420p",
        audio_codec=None,
        container="mov,mp4",
        bit_rate_kbps=0,
    )
    return VideoShots(Video("/videos/a.mp4", "a.mp4", 1, "1"), info, tuple(spans))


@pytest.mark.parametrize(
    ("lengths_s", "clips_per_chunk", "clips_in_chunks"),
    [
        ([8] * 5, 2, [2, 2, 1]),
        ([8] * 4, 2, [2, 2]),
        ([2] * 9, 1, [4, 4, 1]),
        # Whole seconds count: 2.9 s are 2 s, and a clip shorter than 1 s is nothing.
        ([2.9] * 6, 1, [4, 2]),
        ([0.9] * 20, 1, [20]),
        # The clip that reaches the budget is the chunk's last.
        ([7, 60, 1], 1, [2, 1]),
        ([60, 60], 1, [1, 1]),
        ([8], 32, [1]),
        ([], 32, [0]),
    ],
)
def test_a_chunk_ends_when_its_seconds_reach_the_budget(lengths_s, clips_per_chunk, clips_in_chunks):
    shots = shots_of(lengths_s)
    chunks = list(chunks_of(shots, clips_per_chunk))
    assert [len(chunk.clips) for chunk in chunks] == clips_in_chunks
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert {(chunk.num_chunks, chunk.num_total_clips) for chunk in chunks} == {(len(chunks), len(lengths_s))}
    assert tuple(clip.span for chunk in chunks for clip in chunk.clips) == shots.spans
    assert all(chunk.video == shots.video and chunk.info == shots.info for chunk in chunks)


@pytest.fixture
def source(tmp_path):
    path = media.make_video(tmp_path / "source.mp4", frames=72, size=(160, 96), audio="aac")
    facts = os.stat(path)
    video = Video(str(path), path.name, facts.st_size, str(facts.st_mtime_ns))
    timeline = Timeline(*filter(None, packet_times(str(path))))
    spans = tuple(timeline.span(f"clip{start}", start, start + 24) for start in (0, 24, 48))
    return VideoShots(video, timeline.info, spans)


@pytest.fixture
def layout(tmp_path):
    return Output(tmp_path / "out")


def cutter(**encoding):
    return ClipCutter(Encoding(**encoding), 32, LIMITS)


def test_clips_are_kept_under_the_hash_of_their_content(source, layout):
    (chunk,) = chunks_of(source, 32)
    done = cutter().run(chunk, files_of(layout))
    for clip, start in zip(done.clips, (0, 24, 48), strict=True):
        file = clip.media.file
        content = layout.stored(file).read_bytes()
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.size_bytes == len(content)
        assert file.path == f".work/files/clips/f1/{clip.clip_id}.{file.sha256[:16]}.mp4"
        assert media.frame_numbers(layout.stored(file)) == list(range(start, start + 24))
        assert clip.failures == ()
        assert (clip.media.width, clip.media.height, clip.media.num_frames) == (160, 96, 24)
        assert (clip.media.frame_rate, clip.media.video_codec) == (24, "h264")
        assert clip.media.duration_s == pytest.approx(1, abs=0.001)
    assert len(list(stored_files(done))) == 3
    assert list(layout.tmp.iterdir()) == []


def test_clips_may_be_kept_where_users_find_them(source, tmp_path):
    (chunk,) = chunks_of(source, 32)
    output = OneName(tmp_path / "one")
    done = cutter().run(chunk, files_of(output))
    assert [clip.media.file.path for clip in done.clips] == [f"clips/clip{start}.mp4" for start in (0, 24, 48)]
    assert media.frame_numbers(output.clip("clip24")) == list(range(24, 48))


def test_cutting_again_gives_the_same_element(source, layout):
    (chunk,) = chunks_of(source, 32)
    assert cutter().run(chunk, files_of(layout)) == cutter().run(chunk, files_of(layout))


def test_a_span_beyond_the_end_fails_alone(source, layout):
    last = source.spans[-1]
    beyond = Span("beyond", 72, 96, last.end_pts, last.end_pts + 24 * 512, 3.0, 4.0)
    (chunk,) = chunks_of(VideoShots(source.video, source.info, (*source.spans, beyond)), 32)
    *good, bad = cutter().run(chunk, files_of(layout)).clips
    assert all(clip.media and not clip.failures for clip in good)
    assert bad.media is None
    assert [failure.error_type for failure in bad.failures] == ["LostFramesError"]


def test_a_source_that_changed_is_worth_another_try(source, layout):
    (chunk,) = chunks_of(source, 32)
    with open(source.video.uri, "ab") as file:
        file.write(b"more")
    with pytest.raises(SourceChangedError) as caught:
        cutter().run(chunk, files_of(layout))
    assert caught.value.retriable


def test_a_chunk_without_clips_is_returned_as_it_is(source, layout):
    (chunk,) = chunks_of(VideoShots(source.video, source.info, ()), 32)
    assert cutter().run(chunk, files_of(layout)) == chunk


def test_nothing_is_left_behind_when_the_encoder_refuses(source, layout):
    (chunk,) = chunks_of(source, 32)
    done = cutter(preset="no such preset").run(chunk, files_of(layout))
    assert all(clip.media is None and len(clip.failures) == 1 for clip in done.clips)
    assert list(layout.tmp.iterdir()) == []


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="the GPU of this computer may have an encoder")
def test_an_encoder_that_the_worker_does_not_have_stops_the_stage(source, layout):
    (chunk,) = chunks_of(source, 32)
    with pytest.raises(SetupError, match=r"--transcode-encoder h264_nvenc does not work on .*; take --transcode-enc"):
        cutter(encoder="h264_nvenc").run(chunk, files_of(layout))
