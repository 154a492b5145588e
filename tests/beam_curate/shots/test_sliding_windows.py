import tracemalloc

import numpy as np
import pytest

from beam_curate.shots.sliding_windows import sliding_windows

SHAPE = (27, 48, 3)


def video(num_frames: int) -> np.ndarray:
    """Frames whose first two bytes hold their number."""
    frames = np.zeros((num_frames, *SHAPE), dtype=np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = np.arange(num_frames) % 256, np.arange(num_frames) // 256
    return frames


def numbers(frames: np.ndarray) -> list[int]:
    return (frames[:, 0, 0, 0].astype(int) + 256 * frames[:, 0, 0, 1].astype(int)).tolist()


def published_windows(num_frames: int) -> list[list[int]]:
    """Frame numbers in the windows of TransNetV2's own inference: 25 frames before, 25 to 74 after, steps of 50."""
    rest = num_frames % 50
    after = 25 + 50 - (rest or 50)
    padded = [0] * 25 + list(range(num_frames)) + [num_frames - 1] * after
    return [padded[start : start + 100] for start in range(0, len(padded) - 99, 50)]


def batches(frames: np.ndarray, random: np.random.Generator):
    while len(frames):
        size = int(random.integers(1, 130))
        yield frames[:size]
        frames = frames[size:]


def test_padding_is_the_published_one_for_any_length_and_batch():
    random = np.random.default_rng(0)
    for num_frames in range(1, 401):
        made = [numbers(window) for window in sliding_windows(batches(video(num_frames), random))]
        assert made == published_windows(num_frames), num_frames


@pytest.mark.parametrize("num_frames", [1, 25, 50, 74, 75, 76, 100, 399])
def test_windows_have_the_shape_that_the_network_takes(num_frames):
    for window in sliding_windows([video(num_frames)]):
        assert window.shape == (100, *SHAPE)
        assert window.dtype == np.uint8


def test_fast_windows_cover_each_frame_once_with_its_neighbours():
    random = np.random.default_rng(1)
    for num_frames in range(1, 901, 7):
        padded = [0] * 25 + list(range(num_frames)) + [num_frames - 1] * 25
        answered = 0
        for window in sliding_windows(batches(video(num_frames), random), fast=True):
            assert len(window) < 350
            assert numbers(window) == padded[answered : answered + len(window)], num_frames
            answered += len(window) - 50
        assert answered == num_frames


@pytest.mark.parametrize("fast", [False, True])
def test_a_video_without_frames_has_no_windows(fast):
    assert list(sliding_windows([], fast=fast)) == []


def test_memory_does_not_grow_with_the_video():
    def peak(num_batches: int) -> int:
        tracemalloc.start()
        count = sum(1 for _ in sliding_windows(np.zeros((100, *SHAPE), dtype=np.uint8) for _ in range(num_batches)))
        assert count == 2 * num_batches
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(100) < 1.1 * peak(5)
