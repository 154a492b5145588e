"""Videos for tests, drawn on the spot: every frame carries its number, and every shot has its own look."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

from tests.support.priority import unchanged_priority

NUM_BITS = 16
BLOCK_ROWS = 9  # a block of the barcode is 1/16 of the width and 1/9 of the height
MIN_CONTRAST = 64  # grey levels between a block and its complement below it
AUDIO_RATE = 48000  # samples/s
PATCHES = np.array(
    [
        *[(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)],
        *[(200, 120, 90), (60, 90, 160)],
    ],
    dtype=np.uint8,
)
"""Colours of the flat patches along the bottom, from left to right; each is 1/8 of the width and 2/9 of the height."""
ENCODER_OPTIONS = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
}


def make_video(
    path: Path,
    *,
    frames: int = 240,
    rate: Fraction = Fraction(24),
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    shots: Sequence[int] = (0,),
    keyframe_interval: int = 48,
    audio: str | None = None,
    start_pts: int = 0,
    options: dict[str, str] | None = None,
    seed: int = 0,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    patches: np.ndarray | None = None,
    matrix: Colorspace | None = None,
) -> Path:
    """Writes a video in the container that the suffix of `path` names, and returns `path`.

    Args:
        path: Where to write; its folder must exist.
        frames: Number of frames.
        rate: Frames/s.
        size: Width and height in pixels.
        codec: FFmpeg's name of the video encoder; mjpeg wants `pixel_format="yuvj420p"`.
        pixel_format: FFmpeg's name.
        shots: Frame numbers from which the picture looks altogether different.
        keyframe_interval: At most so many frames from one keyframe to the next.
        audio: FFmpeg's name of an audio encoder for a stereo tone as long as the pictures, e.g. aac.
        start_pts: Added to every pts, in units of the time base.
        options: For the video encoder, over the fast ones chosen here: `{"bf": "2"}` gives B-frames.
        seed: Another seed, another background.
        pts: One per frame, ascending, in units of the time base; counts up from 0 by default.
        time_base: Seconds per unit of pts; one over the rate by default.
        patches: Colours [8, 3] of flat patches along the bottom, e.g. `PATCHES`.
        matrix: From RGB to YUV, where it is not BT.601. The file says so only if `codec` does, or `options`.
    """
    time_base = time_base or 1 / rate
    stamps = [start_pts + stamp for stamp in (range(frames) if pts is None else pts)]
    encoder_options = ENCODER_OPTIONS.get(codec, {}) | (options or {})
    with unchanged_priority(), av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=rate, options=encoder_options)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = keyframe_interval
        stream.codec_context.thread_count = 1  # the same bytes each time
        tone = _Tone(container, audio, stamps[0] * time_base) if audio else None
        for picture, stamp in zip(drawn(frames, size, shots, seed, patches), stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if matrix is not None:
                frame = frame.reformat(format=pixel_format, dst_colorspace=matrix)
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
            if tone:
                tone.write_until(stamp * time_base + 1 / rate)
        container.mux(stream.encode(None))
        if tone:
            tone.finish()
    return path


def read_frame_number(frame: av.VideoFrame | np.ndarray) -> int:
    """Returns the number that `make_video` drew into a frame, also when the frame was scaled.

    Args:
        frame: A decoded frame, or its pixels, 0 to 255: [height, width] or [height, width, channel].

    Raises:
        ValueError: The blocks of the barcode and their complements do not fit together.
    """
    picture = frame if isinstance(frame, np.ndarray) else frame.reformat(format="gray").to_ndarray()
    grey = picture.astype(np.float32)
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    contrast = np.array([_block_mean(grey, 0, i) - _block_mean(grey, 1, i) for i in range(NUM_BITS)])
    if np.abs(contrast).min() < MIN_CONTRAST:
        raise ValueError(f"no readable frame number; contrast of the blocks: {contrast.round().tolist()}")
    number = sum(1 << bit for bit, value in enumerate(contrast) if value > 0)
    for shift in (8, 4, 2, 1):  # from Gray code, see _draw_number
        number ^= number >> shift
    return number


def frame_numbers(path: Path) -> list[int]:
    """Decodes a whole file and returns the number in each of its frames."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return [read_frame_number(frame) for frame in container.decode(video=0)]


def truncate(path: Path, fraction: float) -> Path:
    """Keeps only the first part of a file, as a broken upload does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def text_file(path: Path) -> Path:
    """Writes text where a video is expected."""
    path.write_text("This is not a video.\n" * 100)
    return path


class _Tone:
    """A stereo tone, written piece by piece beside the pictures so that the container interleaves well."""

    def __init__(self, container: av.container.OutputContainer, codec: str, start_s: Fraction):
        self._container = container
        self._stream = container.add_stream(codec, rate=AUDIO_RATE, layout="stereo")
        self._stream.codec_context.thread_count = 1
        self._start = round(start_s * AUDIO_RATE)
        self._written = 0

    def write_until(self, time_s: Fraction) -> None:
        num_samples = round(time_s * AUDIO_RATE) - self._start - self._written
        times_s = (self._written + np.arange(num_samples)) / AUDIO_RATE
        channels = [8000 * np.sin(2 * np.pi * pitch_hz * times_s) for pitch_hz in (440, 660)]
        samples = np.stack(channels, axis=1).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.time_base = AUDIO_RATE, Fraction(1, AUDIO_RATE)
        frame.pts = self._start + self._written
        self._written += num_samples
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))


def drawn(
    frames: int,
    size: tuple[int, int],
    shots: Sequence[int] = (0,),
    seed: int = 0,
    patches: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Yields the pictures [height, width, 3] of `make_video`: a background that moves, the barcode on top."""
    starts = sorted({0, *shots})
    moves = ((2, 0), (0, -2), (-2, 2), (2, 2))  # pixels a frame, right and down
    for shot, (start, end) in enumerate(itertools.pairwise([*starts, frames])):
        texture = _texture(size, shot, seed)
        right, down = moves[shot % len(moves)]
        for number in range(start, end):
            picture = np.roll(texture, (down * number, right * number), axis=(0, 1))
            _draw_number(picture, number)
            if patches is not None:
                _draw_patches(picture, patches)
            yield picture


def _texture(size: tuple[int, int], shot: int, seed: int) -> np.ndarray:
    """Returns blobs of two colours; shots are bright and dark in turn, and their hue and grain differ too."""
    width, height = size
    random = np.random.default_rng((seed, shot))
    cell = (12, 30, 20)[shot % 3] * max(1, height // 180)  # pixels
    cells = random.random((height // cell + 1, width // cell + 1))
    weight = cells.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width, np.newaxis]
    tint = np.roll((1.0, 0.7, 0.3), shot // 2)
    ground, blobs = (250 * tint, 150 * tint[::-1] + 80) if shot % 2 == 0 else (15 * tint, 90 * tint[::-1])
    return (ground * (1 - weight) + blobs * weight).astype(np.uint8)


def _draw_number(picture: np.ndarray, number: int) -> None:
    """Draws the number's bits as white and black blocks along the top, and below each its complement.

    In Gray code, where one block changes from frame to frame: in plain binary all of them change at once at 8,192,
    which a shot detector may well take for a cut.
    """
    number ^= number >> 1
    for bit, row in itertools.product(range(NUM_BITS), (0, 1)):
        top, bottom, left, right = _block_edges(picture, row, bit)
        picture[top:bottom, left:right] = 255 * ((number >> bit & 1) ^ row)


def _draw_patches(picture: np.ndarray, colours: np.ndarray) -> None:
    height, width = picture.shape[:2]
    edges = [place * width // len(colours) for place in range(len(colours) + 1)]
    for colour, (left, right) in zip(colours, itertools.pairwise(edges), strict=True):
        picture[height - 2 * height // BLOCK_ROWS :, left:right] = colour


def _block_mean(grey: np.ndarray, row: int, bit: int) -> float:
    """Returns the mean of a block's middle, where coding and scaling of its neighbours do not reach."""
    top, bottom, left, right = _block_edges(grey, row, bit)
    dy, dx = (bottom - top) // 4, (right - left) // 4
    return float(grey[top + dy : bottom - dy, left + dx : right - dx].mean())


def _block_edges(picture: np.ndarray, row: int, bit: int) -> tuple[int, int, int, int]:
    """Returns top, bottom, left and right of a block in pixels, the second of each exclusive."""
    height, width = picture.shape[:2]
    top, bottom = (edge * height // BLOCK_ROWS for edge in (row, row + 1))
    left, right = (edge * width // NUM_BITS for edge in (bit, bit + 1))
    return top, bottom, left, right
