"""The motion score: of vectors given by hand, and of clips whose motion is known from how they were made."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from beam_curate.errors import LostFramesError, NoScoreError
from beam_curate.filters.motion import MotionFilter, lengths_of, motion_score
from tests.support.moving import make_moving, write_pictures

GLOBAL, PATCH = 0.00098, 0.000001  # the thresholds of cosmos-curate
VECTOR = np.dtype(
    [
        *[("source", "i4"), ("w", "u1"), ("h", "u1"), ("src_x", "i2"), ("src_y", "i2"), ("dst_x", "i2")],
        *[("dst_y", "i2"), ("flags", "u8"), ("motion_x", "i4"), ("motion_y", "i4"), ("motion_scale", "u2")],
    ]
)


def vectors(*given: tuple[int, int, int, int, float, float]) -> NDArray[Any]:
    """Vectors of blocks: left, top, width, height, and how far they move in pixels to the right and down."""
    made = np.zeros(len(given), VECTOR)
    for row, (left, top, width, height, right, down) in zip(made, given, strict=True):
        row["w"], row["h"], row["motion_scale"] = width, height, 4
        row["dst_x"], row["dst_y"] = left + width // 2, top + height // 2
        row["motion_x"], row["motion_y"] = round(right * 4), round(down * 4)
    return made


def painted(given: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Paints vectors pixel by pixel, one after the other."""
    picture = np.zeros((height, width))
    for one in given:
        w, h = int(one["w"]), int(one["h"])
        if (w, h) not in ((8, 8), (16, 16), (16, 8), (8, 16)):
            continue
        left, top = int(one["dst_x"]) - w // 2, int(one["dst_y"]) - h // 2
        length = np.hypot(one["motion_x"] / one["motion_scale"], one["motion_y"] / one["motion_scale"])
        picture[max(0, top) : max(0, top + h), max(0, left) : max(0, left + w)] = length / (height + width)
    return picture


def test_a_block_that_moves_by_3_and_4_pixels() -> None:
    cells = lengths_of(vectors((16, 8, 16, 16, 3, 4)), 32, 64)
    assert cells.shape == (4, 8)
    assert cells[1:3, 2:4] == pytest.approx(5 / 96)
    assert np.count_nonzero(cells) == 4


@pytest.mark.parametrize(("height", "width"), [(360, 640), (300, 422), (256, 256)])
def test_painting_is_that_of_one_vector_after_the_other(height: int, width: int) -> None:
    random = np.random.default_rng(height)
    given = vectors(
        *(
            (8 * int(x), 8 * int(y), int(w), int(h), *random.normal(0, 9, 2))
            for x, y, w, h in zip(
                random.integers(-2, width // 8 + 2, 900),
                random.integers(-2, height // 8 + 2, 900),
                random.choice([4, 8, 16], 900),
                random.choice([8, 16], 900),
                strict=True,
            )
        )
    )
    expected = painted(given, height, width)
    cells = lengths_of(given, height, width)
    whole = np.kron(cells, np.ones((8, 8)))[:height, :width]
    np.testing.assert_allclose(whole, expected, atol=1e-12)


def test_a_still_picture_does_not_move(tmp_path: Path) -> None:
    score = motion_score(make_moving(tmp_path / "a.mp4", speed=0), 2.0, 0.5)
    assert score["global_mean"] < PATCH and score["per_patch_min_256"] == score["per_patch_min_256_sampled"] == 0
    assert score["method"] == "motion_vectors"


@pytest.mark.parametrize("speed", [2, 4, 8])
def test_a_picture_that_moves_evenly(speed: int, tmp_path: Path) -> None:
    # Without B-frames and with one reference, each vector points to the frame before.
    options = {"bf": "0", "refs": "1", "x264-params": "scenecut=0"}
    score = motion_score(make_moving(tmp_path / "a.mp4", speed=speed, options=options), 2.0, 1.0)
    for name in ("global_mean", "per_patch_min_256", "per_patch_min_256_sampled"):
        assert score[name] == pytest.approx(speed / 1000, rel=0.05), name


def test_one_half_that_moves_leaves_a_patch_that_does_not(tmp_path: Path) -> None:
    score = motion_score(make_moving(tmp_path / "a.mp4", part=0.4), 2.0, 0.5)
    assert score["global_mean"] > GLOBAL and score["per_patch_min_256"] < PATCH


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(256, 256, (1, 1)), (360, 640, (1, 2)), (720, 1280, (3, 5)), (1080, 1920, (4, 8))]
)
def test_every_patch_counts_with_all_of_its_pixels(
    height: int, width: int, expected: tuple[int, int], tmp_path: Path
) -> None:
    from beam_curate.filters import motion

    random = np.random.default_rng(1)
    cells = random.uniform(0, 1, (-(-height // 8), -(-width // 8)))
    whole = np.kron(cells, np.ones((8, 8)))[:height, :width]
    down, across = expected
    fine = np.kron(whole, np.ones((down, across)))  # each pixel in parts that no border of a patch divides
    patches = fine.reshape(down, height, across, width).mean(axis=(1, 3))
    score = motion._summed_up(cells, height, width)
    assert score["per_patch_min_256"] == pytest.approx(patches.min(), rel=1e-9)
    assert score["global_mean"] == pytest.approx(whole.mean(), rel=1e-9)
    rows, columns = (
        [np.minimum([127 + 256 * patch, 128 + 256 * patch], side - 1) for patch in range(count)]
        for count, side in ((down, height), (across, width))
    )
    middles = [whole[np.ix_(y, x)].mean() for y, x in itertools.product(rows, columns)]
    assert score["per_patch_min_256_sampled"] == pytest.approx(min(middles), rel=1e-9)


def test_a_clip_of_key_frames_alone_is_scored_by_its_differences(tmp_path: Path) -> None:
    intra = {"g": "1"}
    still = motion_score(make_moving(tmp_path / "still.mp4", speed=0, options=intra), 2.0, 0.5)
    moving = motion_score(make_moving(tmp_path / "moving.mp4", speed=4, options=intra), 2.0, 0.5)
    assert still["method"] == moving["method"] == "frame_differences"
    assert still["global_mean"] < GLOBAL < moving["global_mean"]


def black(_: int) -> NDArray[np.uint8]:
    return np.zeros((360, 640, 3), dtype=np.uint8)


def one_pixel(number: int) -> NDArray[np.uint8]:
    picture = np.full((360, 640, 3), 90, dtype=np.uint8)
    picture[180, 5 * number] = 255
    return picture


def letterboxed(number: int) -> NDArray[np.uint8]:
    picture = np.zeros((720, 1280, 3), dtype=np.uint8)
    random = np.random.default_rng(0)
    texture = np.kron(random.integers(0, 255, (35, 200, 3), dtype=np.uint8), np.ones((12, 12, 1), dtype=np.uint8))
    picture[150:570] = texture[:420, 4 * number : 4 * number + 1280]
    return picture


@pytest.mark.parametrize(
    ("picture", "size", "rejected"),
    [
        (black, (640, 360), True),
        (one_pixel, (640, 360), True),
        (letterboxed, (1280, 720), False),
    ],
)
def test_what_is_judged_by_the_thresholds_of_cosmos_curate(
    picture: Any, size: tuple[int, int], rejected: bool, tmp_path: Path
) -> None:
    clip = write_pictures(tmp_path / "a.mp4", picture, 96, size)
    assert (of_motion().judge(motion_score(clip, 2.0, 0.5)) is not None) == rejected


def test_a_still_picture_with_grain_is_rejected(tmp_path: Path) -> None:
    clip = make_moving(tmp_path / "a.mp4", speed=0, grain=3.0)
    assert "--motion-global-mean-threshold" in str(of_motion().judge(motion_score(clip, 2.0, 0.5)))


@pytest.mark.parametrize("size", [(254, 480), (480, 254), (128, 128)])
def test_a_clip_that_is_smaller_than_a_patch_has_no_score(size: tuple[int, int], tmp_path: Path) -> None:
    clip = make_moving(tmp_path / "a.mp4", size=size, frames=24)
    with pytest.raises(NoScoreError, match=f"{size[0]} x {size[1]} pixels; a motion score needs 256 on each side"):
        motion_score(clip, 2.0, 0.5)


def test_portrait_and_one_frame_a_second(tmp_path: Path) -> None:
    clip = make_moving(tmp_path / "a.mp4", size=(360, 640), frames=12, rate=1)
    assert motion_score(clip, 2.0, 0.5)["global_mean"] > GLOBAL


def test_a_single_frame_has_no_score(tmp_path: Path) -> None:
    with pytest.raises(NoScoreError, match="two frames"):
        motion_score(make_moving(tmp_path / "a.mp4", frames=1), 2.0, 0.5)


def test_a_damaged_clip(tmp_path: Path) -> None:
    clip = make_moving(tmp_path / "a.mp4")
    clip.write_bytes(clip.read_bytes()[:2000])
    with pytest.raises(LostFramesError):
        motion_score(clip, 2.0, 0.5)


def of_motion() -> MotionFilter:
    return MotionFilter(True, GLOBAL, PATCH, target_fps=2.0, duration_ratio=0.5)


@pytest.mark.parametrize(
    ("global_mean", "patch", "reason"),
    [
        (0.00098, 0.000001, None),
        (0.000979, 0.1, "global_mean 0.000979 is below --motion-global-mean-threshold 0.00098"),
        (0.1, 0.0000009, "per_patch_min_256 9e-07 is below --motion-per-patch-min-256-threshold 1e-06"),
    ],
)
def test_judging(global_mean: float, patch: float, reason: str | None) -> None:
    assert of_motion().judge({"global_mean": global_mean, "per_patch_min_256": patch}) == reason
