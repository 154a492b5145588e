import itertools

import numpy as np
import pytest

from beam_curate.shots.scenes import SceneRules, divide, scenes_of


def clip_ranges(scenes, frame_rate, rules):
    """Returns the clips of a video with a constant frame rate."""
    frames = np.arange(4000)
    pieces = divide(scenes, frames / frame_rate, (frames + 1) / frame_rate, rules)
    assert [frame for piece in pieces for frame in range(piece.start, piece.end)] == [
        frame for scene in scenes for frame in range(*scene)
    ]
    return [(piece.start, piece.end) for piece in pieces if piece.cause is None]


ANY_LENGTH = SceneRules(min_length_s=0, min_length_frames=0, max_length_s=1000, crop_s=0)


def probabilities(text: str) -> np.ndarray:
    """Returns 0, 0, 1, 0 for '..X.'."""
    return np.array([0.9 if letter == "X" else 0.1 for letter in text], dtype=np.float32)


@pytest.mark.parametrize(
    ("frames", "scenes"),
    [
        ("......", [(0, 6)]),
        ("...X..", [(0, 3), (4, 6)]),
        ("..XXX.", [(0, 2), (5, 6)]),
        ("X.....", [(1, 6)]),
        (".....X", [(0, 5)]),
        (".X.X.X", [(0, 1), (2, 3), (4, 5)]),
        ("XXXXXX", [(0, 6)]),
        (".", [(0, 1)]),
        ("X", [(0, 1)]),
    ],
)
def test_frames_between_changes_are_scenes(frames, scenes):
    assert scenes_of(probabilities(frames), 0.4) == scenes


def test_a_change_is_above_the_threshold():
    values = np.array([0.1, 0.5, 0.1], dtype=np.float32)
    assert scenes_of(values, 0.5) == [(0, 3)]
    assert scenes_of(values, 0.49) == [(0, 1), (2, 3)]


def published_scenes(values: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """TransNetV2's own post-processing, frame by frame; the last scene lacks the video's last frame."""
    scenes = []
    start, before = 0, False
    for frame, change in enumerate(values > threshold):
        if before and not change:
            start = frame
        if change and not before and frame > 0:
            scenes.append((start, frame))
        before = change
    if not before:
        scenes.append((start, len(values) - 1))
    return scenes or [(0, len(values) - 1)]


@pytest.mark.parametrize("seed", range(200))
def test_scenes_are_those_of_the_published_post_processing_plus_the_last_frame(seed):
    random = np.random.default_rng(seed)
    values = random.random(random.integers(1, 80)).astype(np.float32) ** random.integers(1, 6)
    expected = published_scenes(values, 0.4)
    if expected[-1][1] == len(values) - 1 and (values[-1] <= 0.4 or (values > 0.4).all()):
        expected[-1] = (expected[-1][0], len(values))
    assert scenes_of(values, 0.4) == expected


@pytest.mark.parametrize(
    ("rules", "scenes", "ranges"),
    [
        # Minima: the longer of seconds and frames counts, and a scene of exactly that length is kept.
        (SceneRules(min_length_s=2, min_length_frames=10, crop_s=0), [(0, 47), (50, 98)], [(50, 98)]),
        (SceneRules(min_length_s=0.1, min_length_frames=48, crop_s=0), [(0, 47), (50, 98)], [(50, 98)]),
        (SceneRules(min_length_s=0, min_length_frames=0, crop_s=0), [(0, 1)], [(0, 1)]),
        # Both ends are cropped, and the rest must be long enough.
        (SceneRules(crop_s=0.5), [(0, 72), (100, 171)], [(12, 60)]),
        (SceneRules(min_length_s=0, min_length_frames=0, crop_s=0.5), [(0, 24), (30, 55)], [(42, 43)]),
        # Half frames are not cropped.
        (SceneRules(min_length_s=0, min_length_frames=0, crop_s=0.06), [(0, 24)], [(1, 23)]),
        # A scene of exactly the maximum is not split; a longer one is, without gaps, and a short rest is left out.
        (SceneRules(max_length_s=4, crop_s=0), [(0, 96)], [(0, 96)]),
        (SceneRules(max_length_s=4, crop_s=0), [(0, 250)], [(0, 96), (96, 192), (192, 250)]),
        (SceneRules(max_length_s=4, crop_s=0), [(0, 230)], [(0, 96), (96, 192)]),
        (SceneRules(max_length_s=4, max_length_mode="truncate", crop_s=0), [(10, 250)], [(10, 106)]),
        # Only the ends of a scene are cropped, not the places where it is split.
        (SceneRules(max_length_s=4, crop_s=0.5), [(0, 264)], [(12, 108), (108, 204), (204, 252)]),
        (SceneRules(max_length_s=4, max_length_mode="truncate", crop_s=0.5), [(0, 264)], [(12, 108)]),
        (SceneRules(), [], []),
    ],
)
def test_scenes_are_cropped_split_and_filtered(rules, scenes, ranges):
    assert clip_ranges(scenes, 24.0, rules) == ranges


def test_lengths_in_seconds_are_rounded_up_to_frames():
    rules = SceneRules(min_length_s=2, min_length_frames=1, crop_s=0)
    assert clip_ranges([(0, 60), (60, 119)], 29.97, rules) == [(0, 60)]


@pytest.mark.parametrize("seed", range(50))
def test_clips_are_inside_scenes_in_order_and_within_the_limits(seed):
    random = np.random.default_rng(seed)
    edges = np.unique(random.integers(0, 3000, size=20)).tolist()
    scenes = list(zip(edges[::2], edges[1::2], strict=False))
    rules = SceneRules(min_length_s=1, min_length_frames=20, max_length_s=5, crop_s=random.random())
    ranges = clip_ranges(scenes, 25.0, rules)
    crop = int(rules.crop_s * 25)
    for start, end in ranges:
        assert 25 <= end - start <= 125
        assert any(first + crop <= start and end <= last - crop for first, last in scenes)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ranges))
