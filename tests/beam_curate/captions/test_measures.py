"""What the words rest on: shifts that brightness does not sway, colour names, bars that do not count."""

import numpy as np
import pytest

from beam_curate.captions import measures
from beam_curate.captions.colour_names import colour_name
from beam_curate.captions.measures import phase_shifts, without_bars

H, W = 72, 128
RANDOM = np.random.default_rng(0)
MOSAIC = np.kron(RANDOM.uniform(0, 255, (3 * H // 4, 3 * W // 4)), np.ones((4, 4)))


def pan(right: int, down: int) -> np.ndarray:
    """Four pictures of a mosaic that shifts by so many pixels from each to the next, with a little grain."""
    frames = [np.roll(MOSAIC, (k * down, k * right), (0, 1))[:H, :W] for k in range(4)]
    return np.stack(frames) + RANDOM.normal(0, 1.5, (4, H, W))


@pytest.mark.parametrize("gain,offset", [(1, 0), (0.5, 0), (1.3, 0), (1, 40), (0.6, 60)])
def test_brightness_is_not_motion(gain, offset):
    shift, confidence = phase_shifts(np.stack([MOSAIC[:H, :W], MOSAIC[:H, :W] * gain + offset]).astype(np.float32))
    assert np.abs(shift).max() < 0.05
    assert confidence.min() > 0.9


@pytest.mark.parametrize("right,down", [(1, 0), (-7, 0), (0, 5), (0, -12), (9, -4), (-25, 3)])
def test_shift_is_measured_in_pixels(right, down):
    shift, confidence = phase_shifts(pan(right, down).astype(np.float32))
    assert np.abs(shift - (right, down)).max() < 0.3
    assert confidence.min() > measures.MIN_CONFIDENCE


def test_noise_gives_no_confidence():
    assert phase_shifts(RANDOM.normal(128, 45, (4, H, W)).astype(np.float32))[1].max() < measures.MIN_CONFIDENCE


@pytest.mark.parametrize(
    "rgb,name",
    [
        ((0, 0, 0), "black"), ((255, 255, 255), "white"), ((128, 128, 128), "grey"), ((220, 20, 20), "red"),
        ((250, 140, 10), "orange"), ((240, 230, 30), "yellow"), ((30, 160, 40), "green"),
        ((110, 70, 30), "brown"), ((20, 60, 220), "blue"), ((10, 20, 80), "dark blue"),
        ((235, 215, 180), "beige"), ((250, 160, 180), "pink"),
        ((130, 40, 200), "purple"), ((20, 190, 180), "turquoise"),
    ],
)  # fmt: skip
def test_colours_have_their_everyday_names(rgb, name):
    assert colour_name(*(value / 255 for value in rgb)) == name


def picture(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Two frames, black but for a grey rectangle that only the second one shows."""
    frames = RANDOM.integers(0, 10, (2, H, W, 3), np.uint8)
    frames[1, top:bottom, left:right] = 128
    return frames


@pytest.mark.parametrize("box", [(9, 63, 0, W), (0, H, 44, 85), (9, 63, 16, 112), (27, 45, 0, W), (0, 60, 0, W)])
def test_bars_are_cut_off(box):
    top, bottom, left, right = box
    frames = picture(*box)
    np.testing.assert_array_equal(without_bars(frames), frames[:, top:bottom, left:right])


def test_black_inside_the_picture_stays():
    frames = picture(9, 63, 0, W)
    frames[:, 30:40] = 0
    assert without_bars(frames).shape == (2, 54, W, 3)


@pytest.mark.parametrize("box", [(0, H, 0, W), (0, 0, 0, 0), (30, 40, 0, W), (0, H, 60, 70), (30, 40, 60, 70)])
def test_whole_pictures_and_dark_scenes_stay_whole(box):
    assert without_bars(picture(*box)).shape == (2, H, W, 3)
