import dataclasses
import os
import uuid
from fractions import Fraction

import numpy as np
import pytest

from beam_curate.elements import Video
from beam_curate.errors import SourceChangedError, UnreadableSourceError
from beam_curate.shots import transnetv2
from beam_curate.shots.scenes import SceneRules, scenes_of
from beam_curate.shots.sliding_windows import sliding_windows
from beam_curate.shots.stage import FixedStrideDetector, TransNetV2Detector
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.scan import ShotFrames, shot_frames
from tests.support import media
from tests.support.plans import NO_FILES

LIMITS = Limits(timeout_s=60, memory_mb=2000)
NUM_FRAMES, CUT = 130, 60


def listed(path) -> Video:
    facts = os.stat(path)
    return Video(str(path), path.name, facts.st_size, str(facts.st_mtime_ns))


def clip_id(video: Video, start, end) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{video.uri}_{start}_{end}"))


def fixed_stride(path, duration_s=2.0, min_length_s=0.0, limit_clips=0):
    return FixedStrideDetector(duration_s, min_length_s, limit_clips, LIMITS).run(listed(path), NO_FILES)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    path = tmp_path_factory.mktemp("cuts") / "cuts.mp4"
    return media.make_video(path, frames=NUM_FRAMES, shots=(0, CUT), options={"bf": "2"})


@pytest.mark.parametrize(
    ("num_frames", "duration_s", "min_length_s", "limit_clips", "expected"),
    [
        (120, 2.0, 0.0, 0, [(0, 48), (48, 96), (96, 120)]),
        (120, 2.0, 1.0, 0, [(0, 48), (48, 96), (96, 120)]),
        (119, 2.0, 1.0, 0, [(0, 48), (48, 96)]),
        (96, 2.0, 0.0, 0, [(0, 48), (48, 96)]),
        (97, 2.0, 0.0, 0, [(0, 48), (48, 96), (96, 97)]),
        (40, 2.0, 0.0, 0, [(0, 40)]),
        (40, 2.0, 2.0, 0, []),
        (120, 2.0, 0.0, 2, [(0, 48), (48, 96)]),
        (1, 2.0, 0.0, 0, [(0, 1)]),
    ],
)
def test_fixed_stride(tmp_path, num_frames, duration_s, min_length_s, limit_clips, expected):
    path = media.make_video(tmp_path / "a.mp4", frames=num_frames, size=(96, 64))
    shots = fixed_stride(path, duration_s, min_length_s, limit_clips)
    assert [(span.start_frame, span.end_frame) for span in shots.spans] == expected
    assert shots.info.num_frames == num_frames


@pytest.mark.parametrize(("suffix", "start_pts"), [("mp4", 0), ("mp4", 100), ("mkv", 100), ("ts", 100), ("avi", 0)])
def test_fixed_stride_does_not_depend_on_the_first_time_stamp(tmp_path, suffix, start_pts):
    path = media.make_video(tmp_path / f"a.{suffix}", frames=120, size=(96, 64), codec="mpeg4", start_pts=start_pts)
    spans = fixed_stride(path).spans
    assert [(span.start_frame, span.end_frame) for span in spans] == [(0, 48), (48, 96), (96, 120)]
    assert [span.start_s for span in spans] == pytest.approx([0, 2, 4], abs=0.001)


def test_fixed_stride_follows_the_time_stamps_at_a_variable_frame_rate(tmp_path):
    # 30 frames in the first second, 10 in the second, 20 in the third.
    pts = [i * 1000 // 30 for i in range(30)] + [1000 + i * 100 for i in range(10)] + [2000 + i * 50 for i in range(20)]
    path = media.make_video(tmp_path / "a.mkv", frames=60, size=(96, 64), pts=pts, time_base=Fraction(1, 1000))
    shots = fixed_stride(path, 1.0, 0.5)
    assert not shots.info.constant_frame_rate
    assert [(span.start_frame, span.end_frame) for span in shots.spans] == [(0, 30), (30, 40), (40, 60)]
    assert [span.start_pts for span in shots.spans] == [0, 1000, 2000]


def test_fixed_stride_names_clips_as_cosmos_curate_does(tmp_path):
    path = media.make_video(tmp_path / "a.mp4", frames=132, size=(96, 64))
    shots = fixed_stride(path)
    video = shots.video
    expected = [clip_id(video, "0.0", "2.0"), clip_id(video, "2.0", "4.0"), clip_id(video, "4.0", "5.5")]
    assert [span.clip_id for span in shots.spans] == expected


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    workspace = str(tmp_path_factory.mktemp("workspace"))
    return TransNetV2Detector(transnetv2.reference(workspace), SceneRules(crop_s=0), 0, LIMITS)


@pytest.fixture(scope="module")
def found(cuts, detector):
    return detector.run(listed(cuts), NO_FILES)


def test_transnetv2_finds_hard_cuts(found):
    edges = [(span.start_frame, span.end_frame) for span in found.spans]
    # The frame before a cut belongs to the change; the last scene ends with the last frame.
    assert edges == [(0, CUT - 1), (CUT, NUM_FRAMES)]
    assert [span.clip_id for span in found.spans] == [clip_id(found.video, *edge) for edge in edges]
    assert found.info.num_frames == NUM_FRAMES


@pytest.mark.parametrize("pause_s", [10, 600, 3600])
def test_transnetv2_ends_a_shot_where_the_recording_pauses(tmp_path, detector, pause_s):
    pts = [i + 24 * pause_s * (i >= 100) for i in range(NUM_FRAMES + 70)]
    path = media.make_video(
        tmp_path / "a.mp4", frames=len(pts), shots=(0, CUT), pts=pts, time_base=Fraction(1, 24), size=(192, 108)
    )
    rules = SceneRules(min_length_s=1, min_length_frames=24, crop_s=0)
    shots = TransNetV2Detector(detector.model, rules, 0, LIMITS).run(listed(path), NO_FILES)
    assert [(span.start_frame, span.end_frame) for span in shots.spans] == [(0, CUT - 1), (CUT, 100), (100, 200)]
    assert shots.info.frame_rate == 24
    clips_s = sum(span.end_s - span.start_s for span in shots.spans)
    assert clips_s + sum(loss.seconds for loss in shots.losses) == pytest.approx(200 / 24 + pause_s, abs=0.001)


@pytest.mark.parametrize(("crop_s", "expected"), [(0, (0, 160)), (0.5, (15, 159)), (1, (30, 158))])
def test_transnetv2_crops_by_real_times(tmp_path, detector, crop_s, expected):
    pts = [round(i * 1000 / 30) for i in range(150)] + [5000 + 500 * i for i in range(10)]
    path = media.make_video(tmp_path / "a.mkv", frames=160, pts=pts, time_base=Fraction(1, 1000), size=(192, 108))
    rules = SceneRules(min_length_s=2, min_length_frames=48, crop_s=crop_s)
    (span,) = TransNetV2Detector(detector.model, rules, 0, LIMITS).run(listed(path), NO_FILES).spans
    assert (span.start_frame, span.end_frame) == expected


def test_transnetv2_applies_rules_and_limit(cuts, detector):
    rules = SceneRules(min_length_s=0, min_length_frames=0, max_length_s=1, crop_s=0.25)
    shots = TransNetV2Detector(detector.model, rules, 3, LIMITS).run(listed(cuts), NO_FILES)
    assert [(span.start_frame, span.end_frame) for span in shots.spans] == [(6, 30), (30, 53), (66, 90)]


def test_spans_do_not_depend_on_the_batches_of_frames(cuts, detector, found):
    messages = shot_frames(str(cuts))
    frames = np.concatenate([message.frames for message in messages if isinstance(message, ShotFrames)])
    with detector.model.use() as network:
        parts = [network.predict(window, 0.4) for window in sliding_windows(iter([frames[:77], frames[77:]]))]
    scenes = scenes_of(np.concatenate(parts)[:NUM_FRAMES], 0.4)
    assert scenes == [(span.start_frame, span.end_frame) for span in found.spans]


def test_fast_shots_find_hard_cuts_too(cuts, detector, found):
    fast = dataclasses.replace(detector, fast=True).run(listed(cuts), NO_FILES)
    assert fast.spans == found.spans


def both_detectors(detector):
    return [FixedStrideDetector(2.0, 0.0, 0, LIMITS), detector]


def test_a_file_that_changed_since_it_was_listed_is_not_read(tmp_path, detector):
    path = media.make_video(tmp_path / "a.mp4", frames=5, size=(96, 64))
    video = listed(path)
    path.write_bytes(path.read_bytes() + b"more")
    for each in both_detectors(detector):
        with pytest.raises(SourceChangedError):
            each.run(video, NO_FILES)


def test_a_file_that_is_not_a_video_is_unreadable(tmp_path, detector):
    video = listed(media.text_file(tmp_path / "a.mp4"))
    for each in both_detectors(detector):
        with pytest.raises(UnreadableSourceError):
            each.run(video, NO_FILES)


def test_damaged_frames_are_noted(tmp_path, detector):
    path = media.make_video(tmp_path / "a.mp4", frames=48, size=(96, 64), keyframe_interval=12)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + len(content) // 3
    content[start : start + 200] = os.urandom(200)
    path.write_bytes(content)
    shots = detector.run(listed(path), NO_FILES)
    assert any("damaged frames" in note for note in shots.info.notes)


def test_spans_hold_numbers_of_python_not_of_numpy(cuts, found):
    for shots in (fixed_stride(cuts), found):
        for span in shots.spans:
            assert {type(value) for value in dataclasses.astuple(span)} == {str, int, float, tuple, bool}
