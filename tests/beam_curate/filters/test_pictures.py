"""Frames as CLIP's own image processor makes them, at the times that were asked for."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from transformers import CLIPImageProcessorPil

from beam_curate.errors import LostFramesError
from beam_curate.filters.pictures import nearest, square_pictures
from tests.support.media import make_video
from tests.support.moving import make_moving


@pytest.mark.parametrize(
    ("starts", "fps", "expected"),
    [
        (np.arange(240) / 24, 1.0, [*range(0, 240, 24), 239]),
        (np.arange(48) / 24, 2.0, [0, 12, 24, 36, 47]),
        (np.arange(5) * 2.0, 1.0, [0, 1, 2, 3, 4]),
        (np.array([0.0]), 1.0, [0]),
        (np.array([0.0, 0.1, 0.2, 3.0, 3.1]), 1.0, [0, 2, 3]),
    ],
)
def test_which_frames(starts: np.ndarray, fps: float, expected: list[int]) -> None:
    assert sorted(nearest(starts, fps)) == expected


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (322, 322), (1000, 240)])
def test_pixels_are_those_of_the_processor(size: tuple[int, int], tmp_path: Path) -> None:
    clip = make_moving(tmp_path / "a.mp4", size=size, frames=30)
    pictures = square_pictures(clip, 1.0)
    with av.open(str(clip)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    processor = CLIPImageProcessorPil(do_rescale=False, do_normalize=False)
    for picture, number in zip(pictures, (0, 24), strict=True):
        expected = np.asarray(processor(images=frames[number], return_tensors="np")["pixel_values"][0])
        np.testing.assert_allclose(picture.transpose(2, 0, 1), expected, atol=1)


def test_one_frame_a_second_of_a_clip(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", frames=72, size=(448, 252))
    pictures = square_pictures(clip, 1.0)
    assert pictures.shape == (4, 224, 224, 3) and pictures.dtype == np.uint8
    assert len({picture.tobytes() for picture in pictures}) == 4  # frames carry their numbers


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("a text")
    with pytest.raises(LostFramesError):
        square_pictures(tmp_path / "a.mp4", 1.0)
