"""What a reader relies on: each measured word is there when it is true, and absent when it is not."""

import dataclasses
import itertools
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from beam_curate.captions import describe
from beam_curate.captions.describe import describe_windows, sentence
from beam_curate.captions.measures import Measures, measure
from beam_curate.errors import LostFramesError
from tests.support.media import make_video

H, W = describe.HEIGHT, describe.WIDTH
NUM = 24  # Samples: three seconds at eight a second.


def scenery(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random landscape of levels about 128, float [height, width], periodic at its borders."""
    noise = np.fft.rfft2(np.random.default_rng(seed).normal(size=(height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    smooth = np.fft.irfft2(noise / (0.02 + frequency) ** 1.2, s=(height, width))
    return 128 + 35 * (smooth - smooth.mean()) / smooth.std()


BIG = scenery(3 * H, 3 * W)


def grey(levels: np.ndarray) -> np.ndarray:
    """Levels [..., h, w] as uint8 RGB frames."""
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, -1)


def pan(right: float, down: float, num: int = NUM) -> np.ndarray:
    """Scenery whose content shifts by whole pixels a sample, with a little grain."""
    grain = np.random.default_rng(1)
    frames = [np.roll(BIG, (round(k * down), round(k * right)), (0, 1))[:H, :W] for k in range(num)]
    return np.stack(frames) + grain.normal(0, 1.5, (num, H, W))


def still(num: int = NUM) -> np.ndarray:
    return pan(0, 0, num)


def zoom(factor: float) -> np.ndarray:
    """Scenery about a fixed middle that grows by a factor a sample, bilinear."""
    frames = []
    for k in range(NUM):
        scale = factor ** (k - NUM / 2)
        y = 1.5 * H + (np.arange(H) - H / 2)[:, None] / scale
        x = 1.5 * W + (np.arange(W) - W / 2)[None] / scale
        iy, ix = y.astype(int), x.astype(int)
        fy, fx = y - iy, x - ix
        top = BIG[iy, ix] * (1 - fx) + BIG[iy, ix + 1] * fx
        bottom = BIG[iy + 1, ix] * (1 - fx) + BIG[iy + 1, ix + 1] * fx
        frames.append(top * (1 - fy) + bottom * fy)
    return np.stack(frames)


def local() -> np.ndarray:
    """Still scenery with a small bright square that wanders back and forth."""
    frames = still()
    for k, frame in enumerate(frames):
        left = 40 + 4 * abs(k % 10 - 5)
        frame[30:44, left : left + 14] = 250
    return frames


def shake() -> np.ndarray:
    steps = np.random.default_rng(2).integers(-8, 9, (NUM, 2))
    return np.stack([np.roll(BIG, tuple(step), (0, 1))[:H, :W] for step in steps])


def plain(*colours: tuple[int, int, int]) -> np.ndarray:
    """Frames of vertical stripes of equal width, one a colour."""
    frame = np.repeat(np.array(colours, np.uint8), W // len(colours), axis=0)
    return np.tile(frame, (NUM, H, 1, 1))


def text(frames: np.ndarray) -> str:
    rgb = frames if frames.ndim == 4 else grey(frames)
    return sentence(measure(rgb, len(rgb) / 8, 3 * len(rgb) - 2))


def ramp(low: float, high: float, num: int = NUM) -> np.ndarray:
    return np.linspace(low, high, num)[:, None, None]


def flash() -> np.ndarray:
    frames = still() * 0.4
    frames[10:12] += 120
    return frames


def between_bars(levels: np.ndarray, height: int = H, width: int = W) -> np.ndarray:
    """The middle of each picture, and black with a little grain around it."""
    frames = np.random.default_rng(4).uniform(0, 6, levels.shape)
    top, left = (H - height) // 2, (W - width) // 2
    inside = np.s_[:, top : top + height, left : left + width]
    frames[inside] = levels[inside]
    return frames


NOISE = np.random.default_rng(3).normal(128, 45, (NUM, H, W))
SCENES = {
    "black": (plain((5, 5, 5)), ["is dark", "almost no contrast", "black fills nearly all"], ["bright"]),
    "white": (plain((250, 250, 250)), ["very bright", "white fills nearly all", "no motion can"], ["dark"]),
    "red": (plain((200, 20, 20)), ["red fills nearly all"], ["blue", "green"]),
    "two colours": (plain((30, 60, 220), (30, 170, 40)), ["blue", "green", "about half"], ["red", "grey"]),
    "brighter left": (plain((240, 240, 240), (20, 20, 20)), ["brighter on the left", "high contrast"], []),
    "left": (pan(-3, 0), ["content moves left", "at a moderate pace"], ["right", "up", "down", "zoom"]),
    "right": (pan(3, 0), ["content moves right"], ["left", "up", "down", "zoom"]),
    "up": (pan(0, -3), ["content moves up"], ["left", "right", "down", "zoom"]),
    "down": (pan(0, 3), ["content moves down"], ["left", "right", "up", "zoom"]),
    "diagonal": (pan(3, -3), ["moves up and to the right"], ["left", "down"]),
    "slow": (pan(-0.5, 0), ["moves left slowly"], ["fast"]),
    "fast": (pan(-20, 0), ["moves left fast"], ["slowly"]),
    "still": (still(), ["holds still"], ["irregular", "moves"]),
    "noise": (NOISE, ["irregular"], ["moves", "zoom", "abrupt", "still"]),
    "shake": (shake(), ["irregular"], ["moves", "zoom", "still"]),
    "local": (local(), ["parts of it change", "holds its place"], ["moves", "zoom", "irregular"]),
    "zoom in": (zoom(1.03), ["grows from", "zoom in"], ["moves", "zoom out"]),
    "zoom out": (zoom(1 / 1.03), ["shrinks towards", "zoom out"], ["moves", "zoom in"]),
    "starts": (np.concatenate([still(12), pan(-3, 0, 12)]), ["moves left", "after a still"], ["rest"]),
    "stops": (np.concatenate([pan(-3, 0, 12)[::-1], still(12)]), ["moves right", "comes to rest"], ["after"]),
    "flash": (
        flash(),
        ["short flash of light occurs about 1.2 sec", "holds still"],
        ["abrupt", "moves", "gets"],
    ),
    "fade out": (still() * ramp(1.2, 0.1), ["gradually gets much darker"], ["brighter", "abrupt", "moves"]),
    "brightening": (still() * 0.3 + ramp(0, 160), ["gradually gets much brighter", "still"], ["darker"]),
    "turns": (
        np.concatenate([plain((200, 20, 20))[:12], plain((20, 20, 200))[:12]]),
        ["from red to blue"],
        [],
    ),
    "cut": (
        np.concatenate([still(12), np.tile(scenery(H, W, 9), (12, 1, 1))]),
        ["changes abruptly about 1.5 seconds in", "holds still"],
        ["flash", "moves", "gradually"],
    ),
    "letterbox": (
        between_bars(still() / 8 + 220, height=54),
        ["very bright", "white fills nearly all"],
        ["black"],
    ),
    "pillarbox": (
        between_bars(pan(-1, 0), width=42),
        ["content moves left", "moderate pace"],
        ["black", "slowly"],
    ),
    "bars about plain grey": (
        between_bars(still() * 0 + 128, height=54),
        ["no motion can", "almost no"],
        ["still"],
    ),
    "one frame": (pan(0, 0, 1), ["single frame"], ["still", "moves"]),
}


@pytest.mark.parametrize("name", SCENES)
def test_says_what_is_true_and_nothing_else(name):
    frames, present, absent = SCENES[name]
    said = text(frames).lower()
    assert [words for words in present if words not in said] == [], said
    assert [words for words in absent if re.search(rf"\b{words}\b", said)] == [], said


@pytest.mark.parametrize("name", SCENES)
def test_reads_well(name):
    check_form(text(SCENES[name][0]))


def check_form(said: str) -> None:
    assert 30 <= len(said.split()) <= 80, said
    sentences = re.split(r"(?<=\.) ", said)
    assert 2 <= len(sentences) <= 5, said
    assert all(part[0].isupper() or part[0].isdigit() for part in sentences) and said.endswith("."), said
    assert ".." not in said and "  " not in said and " ," not in said


def test_every_combination_of_words_keeps_to_the_length():
    base = Measures(
        seconds=12.5, num_frames=300, brightness=120, contrast=40, brighter_side="bottom",
        motion="shift", direction="up and to the left",
        colours=(("dark turquoise", 0.4), ("grey", 0.2), ("dark blue", 0.15)),
        speed=0.2, course="starts", brightness_change=70, brightness_range=90, first_colour="dark turquoise",
        last_colour="dark blue", colour_change=0.5, abrupt_s=(1.0, 2.0), flashes_s=(),
    )  # fmt: skip
    plainest = dataclasses.replace(
        base,
        brighter_side="",
        colours=(("red", 0.99),),
        colour_change=0.0,
        brightness_change=0.0,
        abrupt_s=(),
    )
    for full, motion, course, flashes in itertools.product(
        (base, plainest),
        ("unknown", "still", "shift", "zoom in", "zoom out", "local", "irregular"),
        ("throughout", "starts", "stops", "at times"),
        ((), (0.5,), (0.5, 1.5)),
    ):
        check_form(sentence(dataclasses.replace(full, motion=motion, course=course, flashes_s=flashes)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """96 frames of 320x180 at 24/s: two seconds of reddish content moving left, two of still dark blue."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    big = scenery(180, 640, 5)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for k in range(96):
            levels = np.roll(big, -2 * k if k < 48 else 0, 1)[:, :320, None] / 128
            colour = (190, 50, 40) if k < 48 else (15, 25, 90)
            rgb = np.clip(levels * colour, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_windows_of_a_clip(clip):
    moving, dark = describe_windows(clip, [(0, 47), (48, 95)])
    assert "2.0 seconds (48 frames)" in moving and "2.0 seconds (48 frames)" in dark
    assert "moves left" in moving and "Red fills" in moving
    assert "holds still" in dark and "Dark blue fills" in dark and "is dark" in dark
    assert "lue" not in moving and "red" not in dark
    for said in (moving, dark):
        check_form(said)


def test_same_file_same_text(clip):
    windows = [(0, 30), (31, 60), (70, 95)]
    assert describe_windows(clip, windows) == describe_windows(clip, windows)
    assert describe_windows(str(clip), windows[2:]) == describe_windows(clip, windows)[2:]


def test_change_inside_a_window(clip):
    (said,) = describe_windows(clip, [(0, 95)])
    assert "abruptly about 2.0 seconds in" in said and "from red to dark blue" in said
    assert "moves left" in said and "comes to rest" in said


@pytest.mark.parametrize("window", [(0, 0), (0, 1), (5, 7), (90, 400)])
def test_short_and_overlong_windows(clip, window):
    (said,) = describe_windows(clip, [window])
    check_form(said)
    assert f"({min(window[1], 95) - window[0] + 1} frame" in said


def test_no_windows(clip):
    assert describe_windows(clip, []) == []


def test_window_beyond_the_end_is_lost_frames(clip):
    with pytest.raises(LostFramesError, match="96 to 120"):
        describe_windows(clip, [(0, 95), (96, 120)])


def test_file_that_is_no_video_is_lost_frames(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a video" * 100)
    with pytest.raises(LostFramesError, match=r"clip\.mp4"):
        describe_windows(path, [(0, 10)])


def test_file_without_video_stream_is_lost_frames(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux([*stream.encode(silence), *stream.encode(None)])
    with pytest.raises(LostFramesError, match=r"sound\.mp4 has no video stream"):
        describe_windows(path, [(0, 10)])


@pytest.mark.parametrize("windows", [[(5, 4)], [(-1, 3)], [(0, 10), (10, 20)], [(10, 20), (0, 5)]])
def test_windows_out_of_order_are_a_mistake(clip, windows):
    with pytest.raises(ValueError, match="windows"):
        describe_windows(clip, windows)


@pytest.mark.parametrize(
    ("steps", "change", "seconds", "at"),
    [
        ([33] * 150 + [500] * 10, 155, 4.95 + 10 * 0.5, 4.95 + 5 * 0.5),  # ms from frame to frame; by frames 9.6 s
        ([500] * 10 + [33] * 150, 5, 4.95 + 10 * 0.5, 5 * 0.5),
        ([40] * 40 + [3000] + [40] * 40, 41, 3.0 + 80 * 0.04, 40 * 0.04 + 3.0),
    ],
)
def test_times_in_a_clip_with_a_variable_rate_are_true(
    tmp_path: Path, steps: list[int], change: int, seconds: float, at: float
) -> None:
    stamps = [sum(steps[:index]) for index in range(len(steps) + 1)]
    path = make_video(
        tmp_path / "clip.mp4", frames=len(stamps), pts=stamps, time_base=Fraction(1, 1000), shots=(0, change)
    )
    (text,) = describe_windows(path, [(0, len(stamps) - 1)])
    length = float(re.findall(r"For (\d+\.\d) seconds", text)[0])
    assert length == pytest.approx(seconds + 1 / 24, abs=0.1)  # the last frame lasts as long as the rate says
    assert float(re.findall(r"about (\d+\.\d) seconds in", text)[0]) == pytest.approx(at, abs=0.2)
    first, second = describe_windows(path, [(0, change - 1), (change, len(stamps) - 1)])
    lengths = [float(re.findall(r"For (\d+\.\d+) seconds", text)[0]) for text in (first, second)]
    assert lengths == pytest.approx([at, seconds + 1 / 24 - at], abs=0.1)
