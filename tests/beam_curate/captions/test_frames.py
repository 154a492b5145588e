"""Which frames a model sees, how large they are, and that they are the right ones."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import pytest
from transformers.models.qwen2_vl.video_processing_qwen2_vl import smart_resize
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as smart_resize_video

from beam_curate.captions.frames import (
    FrameSampling,
    SampledWindow,
    frame_indices,
    frame_size,
    sample_frames,
    sample_window,
)
from beam_curate.elements import ClipFile, StoredFile
from beam_curate.errors import DiskError, LostFramesError
from beam_curate.models.catalog import CAPTIONERS, by_name
from tests.support.media import make_video, read_frame_number, text_file, truncate

QWEN2_5 = FrameSampling(2.0, 28)
SIZES = [(320, 180), (640, 480), (854, 480), (1280, 720), (720, 1280), (1920, 1080), (3840, 2160), (2048, 858)]


def media(frames: int, width: int = 1280, height: int = 720, rate: Fraction = Fraction(24)) -> ClipFile:
    file = StoredFile("clip.mp4", 1, "0")
    return ClipFile(file, width, height, rate.numerator, rate.denominator, frames, frames / float(rate), "h264")


@pytest.mark.parametrize("first", [0, 256])
@pytest.mark.parametrize("num_frames", [4, 5, 7, 48, 94, 128, 255, 256, 383, 5000])
@pytest.mark.parametrize("rate", [10, 24, 30000 / 1001, 60])
@pytest.mark.parametrize("sampling_fps", [0.1, 1, 2, 4, 30, 60])
def test_frames_are_even_in_number_and_evenly_spaced(
    first: int, num_frames: int, rate: float, sampling_fps: float
) -> None:
    last = first + num_frames - 1
    indices = frame_indices(first, last, rate, sampling_fps)
    assert indices[0] == first and indices[-1] == last
    assert len(indices) % 2 == 0 and 4 <= len(indices) <= min(768, num_frames)
    steps = [after - before for before, after in itertools.pairwise(indices)]
    assert min(steps) >= 1 and max(steps) - min(steps) <= 1
    asked = num_frames / rate * sampling_fps
    assert abs(len(indices) - asked) <= 1 or asked < 4 or asked > min(768, num_frames) - 1


def test_a_window_shorter_than_four_frames_is_seen_whole() -> None:
    assert frame_indices(7, 9, 24, 2) == (7, 8, 9)


@pytest.mark.parametrize("patch", [28, 32])
@pytest.mark.parametrize("num_frames", [4, 22, 64, 100, 768])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_keep_to_the_budget_and_to_the_aspect(size: tuple[int, int], num_frames: int, patch: int) -> None:
    width, height = frame_size(*size, num_frames, FrameSampling(2.0, patch))
    assert width % patch == height % patch == 0
    # As nearly as whole tokens allow: with a row and a column less it is within the budget, with one more above it.
    token = patch * patch
    assert (width - patch) * (height - patch) <= max(min(768 * token, 49152 * token / num_frames), 134.4 * token)
    assert (width + patch) * (height + patch) >= 128 * token
    assert abs(width / height / (size[0] / size[1]) - 1) < 0.12


@pytest.mark.parametrize("patch", [28, 32])
@pytest.mark.parametrize("num_frames", [4, 22, 44, 128, 768])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_those_of_the_makers_rule(size: tuple[int, int], num_frames: int, patch: int) -> None:
    """Its `smart_resize`, with the bounds of qwen-vl-utils: 128 to 768 tokens, and a share of those of all frames."""
    token = patch * patch
    most = max(min(768 * token, 24576 * token * 2 // num_frames), int(128 * token * 1.05))
    height, width = smart_resize(size[1], size[0], factor=patch, min_pixels=128 * token, max_pixels=most)
    assert frame_size(*size, num_frames, FrameSampling(2.0, patch)) == (width, height)


@pytest.mark.parametrize("num_frames", [4, 22, 44, 128, 160])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", ["cosmos_r2", "qwen3_vl_30b"])
def test_a_server_of_qwen3_vl_does_not_resize_frames_again(
    algorithm: str, num_frames: int, size: tuple[int, int]
) -> None:
    model = by_name(CAPTIONERS[algorithm])
    width, height = frame_size(*size, num_frames, FrameSampling(2.0, model.patch, model.visual_tokens))
    limits = {"min_pixels": 4096, "max_pixels": 25165824}  # video_preprocessor_config.json of both models
    assert smart_resize_video(num_frames, height, width, factor=32, **limits) == (height, width)


def test_sizes_of_full_hd_are_those_of_the_published_rule() -> None:
    # 602,112 pixels at most: 1080 / sqrt(1920 * 1080 / 602112) = 581.96 -> 20 * 28; 1034.6 -> 36 * 28.
    assert frame_size(1920, 1080, 22, QWEN2_5) == (1008, 560)
    # 1.05 * 100,352 pixels where frames are many: 243.4 -> 8 * 28; 432.8 -> 15 * 28.
    assert frame_size(1920, 1080, 768, QWEN2_5) == (420, 224)


@pytest.mark.parametrize("size", [(8, 4000), (16000, 16)])
def test_a_strip_has_sides_of_at_least_a_token_and_keeps_to_the_budget(size: tuple[int, int]) -> None:
    width, height = frame_size(*size, 22, QWEN2_5)
    assert min(width, height) >= 28 and width * height <= 602112


def test_tokens_and_rate_are_those_of_what_is_seen() -> None:
    seen = sample_window(media(256), (0, 255), FrameSampling(2.0, 28))
    assert seen.tokens == len(seen.indices) // 2 * (seen.width // 28) * (seen.height // 28)
    assert seen.frame_rate == pytest.approx(len(seen.indices) / (256 / 24))
    dense = sample_window(media(300), (0, 99), FrameSampling(60, 28))  # there are only 24 a second
    assert dense.frame_rate == pytest.approx(24)


@pytest.mark.parametrize("codec_options", [{}, {"bf": "3"}])
def test_the_frames_are_the_right_ones(tmp_path: Path, codec_options: dict[str, str]) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=150, options=codec_options)
    facts = media(150, 320, 180)
    windows = [sample_window(facts, window, FrameSampling(3.0, 28)) for window in ((0, 63), (64, 120), (121, 149))]
    for window, pictures in zip(windows, sample_frames(path, windows), strict=True):
        assert pictures.shape == (len(window.indices), window.height, window.width, 3)
        assert [read_frame_number(picture) for picture in pictures] == list(window.indices)


def test_windows_may_leave_frames_out(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=90)
    windows = [sample_window(media(90, 320, 180), window, FrameSampling(3.0, 32)) for window in ((10, 30), (50, 80))]
    found = [[read_frame_number(picture) for picture in pictures] for pictures in sample_frames(path, windows)]
    assert found == [list(window.indices) for window in windows]


def test_a_name_with_a_colon_is_no_protocol(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a:b.mp4", frames=20)
    (pictures,) = sample_frames(path, [sample_window(media(20, 320, 180), (0, 19), FrameSampling(3.0, 28))])
    assert len(pictures) == 4


def windows_of(frames: int) -> list[SampledWindow]:
    return [
        sample_window(media(frames, 320, 180), (start, start + 49), FrameSampling(3.0, 28))
        for start in range(0, frames, 50)
    ]


def test_what_comes_before_the_damage_is_still_there(tmp_path: Path) -> None:
    path = truncate(make_video(tmp_path / "clip.mkv", frames=200), 0.6)
    frames = sample_frames(path, windows_of(200))
    assert len(next(frames)) == 6
    with pytest.raises(LostFramesError, match=r"clip\.mkv ends before frame"):
        list(frames)


def test_a_file_that_is_no_video_is_told(tmp_path: Path) -> None:
    with pytest.raises(LostFramesError, match=r"clip\.mp4 cannot be decoded"):
        list(sample_frames(text_file(tmp_path / "clip.mp4"), windows_of(50)))
    with pytest.raises(DiskError):
        list(sample_frames(tmp_path / "nothing.mp4", windows_of(50)))


def test_a_list_of_other_files_is_no_clip(tmp_path: Path) -> None:
    video = make_video(tmp_path / "other.mp4", frames=8)
    clip = tmp_path / "clip.mp4"
    clip.write_text(f"ffconcat version 1.0\nfile {video.name}\n")
    with pytest.raises(LostFramesError, match=r"clip\.mp4 cannot be decoded"):
        list(sample_frames(clip, windows_of(8)))
