"""Flat patches of known colours: how they are made, cut, and looked at by programs that are not ours."""

from __future__ import annotations

import io
from pathlib import Path

import decord
import numpy as np
from PIL import Image

from beam_curate.video import scan
from beam_curate.video.cut import CutFile, cut
from beam_curate.video.encode import Encoding
from beam_curate.video.timeline import Timeline
from tests.support.ffmpeg_program import ffmpeg
from tests.support.media import BLOCK_ROWS, PATCHES

COLOURS = np.array(
    [
        *[(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)],
        *[(0, 255, 255), (255, 0, 255), (128, 128, 128), (200, 120, 90), (60, 90, 160), (20, 20, 20)],
    ],
    dtype=np.uint8,
)
COLUMNS, ROWS, SIDE = 6, 2, 64
WIDTH, HEIGHT = COLUMNS * SIDE, ROWS * SIDE
FRAMES = 6
LARGEST_ERROR = 6.0  # of 255: 8-bit YUV rounds by 2, and the encoder's noise at crf 18
PRECISE = "scale=flags=accurate_rnd+full_chroma_int+full_chroma_inp"
AS_RGB = ("-frames:v", "1", "-vf", f"{PRECISE},format=rgb24", "-f", "image2pipe", "-c:v", "ppm", "pipe:")


def picture() -> bytes:
    """Returns flat patches of known colours, rgb24."""
    rows = COLOURS.reshape(ROWS, COLUMNS, 3)
    return np.repeat(np.repeat(rows, SIDE, 0), SIDE, 1).tobytes()


def make(path: Path, filters: str, *settings: str, frames: int = FRAMES) -> Path:
    """Writes a video of the patches with the ffmpeg program."""
    feed = picture() * frames
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "24", "-i", "pipe:")
    ffmpeg(*raw, "-vf", filters, *settings, path, feed=feed)
    return path


def clips_of(path: Path, folder: Path, ranges=((0, FRAMES),), **encoding) -> list[CutFile]:
    header, times = scan.packet_times(str(path))
    timeline = Timeline(header, times)
    spans = [timeline.span(f"clip{start}", start, end) for start, end in ranges]
    return [clip for clip in cut(str(path), timeline.info, spans, Encoding(**encoding), str(folder)) if clip]


def clip_of(path: Path, folder: Path, **encoding) -> CutFile:
    (clip,) = clips_of(path, folder, **encoding)
    if clip.error:
        raise clip.error
    return clip


def patches(image: np.ndarray) -> np.ndarray:
    """Returns the mean colour in the middle of each patch, [12, 3]."""
    height, width = image.shape[0] // ROWS, image.shape[1] // COLUMNS
    middles = [
        image[row * height + height // 3 : row * height + height * 2 // 3, column * width + width // 3 :][
            :, : width // 3
        ]
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    return np.array([middle.reshape(-1, 3).mean(0) for middle in middles])


def bottom_patches(image: np.ndarray) -> np.ndarray:
    """Returns the mean colour in the middle of each of `media.PATCHES`, [8, 3]."""
    height, width = image.shape[0] // BLOCK_ROWS, image.shape[1] // len(PATCHES)
    row = image[-height * 3 // 2 : -height // 2]
    middles = [row[:, place * width + width // 3 : place * width + width * 2 // 3] for place in range(len(PATCHES))]
    return np.array([middle.reshape(-1, 3).mean(0) for middle in middles])


def seen_by_ffmpeg(path: str | Path) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(ffmpeg("-i", path, *AS_RGB))))


def seen_by_decord(path: str | Path) -> np.ndarray:
    return decord.VideoReader(str(path))[0].asnumpy()


def largest_error(path: str | Path, expected: np.ndarray) -> float:
    """Returns by how much a clip's patches differ from what is expected of them, seen by both programs."""
    seen = [bottom_patches(look(path)) for look in (seen_by_ffmpeg, seen_by_decord)]
    return max(float(np.abs(colours - expected).max()) for colours in seen)


def errors(path: str | Path, expected: np.ndarray = COLOURS) -> dict[str, float]:
    return {
        name: float(np.abs(patches(look(path)) - expected).max())
        for name, look in (("ffmpeg", seen_by_ffmpeg), ("decord", seen_by_decord))
    }
