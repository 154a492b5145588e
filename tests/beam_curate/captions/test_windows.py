"""Caption windows: the table of cosmos-curate, and what holds for any lengths."""

from __future__ import annotations

import pytest

from beam_curate.captions.windows import caption_windows

CASES = [
    (0, []),
    (1, []),
    (3, []),
    (4, [(0, 3)]),
    (93, [(0, 92)]),
    (255, [(0, 254)]),
    (256, [(0, 255)]),
    (257, [(0, 256)]),
    (383, [(0, 382)]),
    (384, [(0, 255), (256, 383)]),
    (511, [(0, 255), (256, 510)]),
    (512, [(0, 255), (256, 511)]),
    (513, [(0, 255), (256, 512)]),
    (639, [(0, 255), (256, 638)]),
    (640, [(0, 255), (256, 511), (512, 639)]),
    (768, [(0, 255), (256, 511), (512, 767)]),
]


@pytest.mark.parametrize(("frames", "windows"), CASES)
def test_windows_of_256_with_a_rest_of_128(frames: int, windows: list[tuple[int, int]]) -> None:
    assert caption_windows(frames, 256, 128) == windows


@pytest.mark.parametrize(
    ("frames", "window", "remainder", "windows"),
    [
        (10, 4, 1, [(0, 3), (4, 7), (8, 9)]),
        (10, 4, 2, [(0, 3), (4, 7), (8, 9)]),
        (10, 4, 3, [(0, 3), (4, 9)]),
        (10, 4, 4, [(0, 3), (4, 9)]),
        (5, 4, 4, [(0, 4)]),
        (8, 4, 4, [(0, 3), (4, 7)]),
        (200, 94, 94, [(0, 93), (94, 199)]),
    ],
)
def test_other_lengths(frames: int, window: int, remainder: int, windows: list[tuple[int, int]]) -> None:
    assert caption_windows(frames, window, remainder) == windows


@pytest.mark.parametrize("window", [4, 5, 94, 256])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_windows_follow_each_other_and_leave_no_frame_out(window: int, share: float) -> None:
    remainder = max(1, round(share * window))
    for frames in range(4, 3 * window + 2):
        windows = caption_windows(frames, window, remainder)
        covered = [frame for start, end in windows for frame in range(start, end + 1)]
        assert covered == list(range(frames))
        lengths = [end - start + 1 for start, end in windows]
        assert all(length == window for length in lengths[:-1])
        assert max(lengths) < window + remainder or frames <= window
        assert lengths[-1] >= min(remainder, frames)
