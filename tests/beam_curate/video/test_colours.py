"""Clips show the colours of their sources, to FFmpeg's own program and to the trainer's reader, decord."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.colour_patches import COLOURS, LARGEST_ERROR, clip_of, errors, make, patches, seen_by_ffmpeg
from tests.support.reliability import table, write_section

# FFmpeg's names of a matrix: of the tag, and for its scaler.
MATRICES = {
    "bt709": "bt709",
    "bt2020nc": "bt2020",
    "smpte170m": "smpte170m",
    "bt470bg": "bt601",
    "smpte240m": "smpte240m",
    "fcc": "fcc",
    "unknown": "bt601",
}
YUV = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv422p12le", "yuva420p", "nv12")
GREY = ("gray", "gray10le", "gray16le")
RGB = ("gbrp", "rgb24", "rgba", "gbrp10le", "rgb48le", "pal8")


@dataclasses.dataclass(frozen=True)
class Source:
    pixel_format: str
    range: str = "tv"
    matrix: str = "bt709"

    def __str__(self) -> str:
        return f"{self.pixel_format} {self.range} {self.matrix}"

    @property
    def codec(self) -> tuple[str, ...]:
        if self.pixel_format in ("rgba", "rgb24", "rgb48le", "pal8"):
            return ("-c:v", "png")
        if self.pixel_format.startswith(("gray", "gbr", "yuva", "yuv422p12")):
            return ("-c:v", "ffv1", "-level", "3", "-strict", "experimental")
        return ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "8")


ALL = [
    *(Source(*facts) for facts in itertools.product(YUV, ("tv", "pc"), MATRICES)),
    *(Source(pixel_format, range_, "unknown") for pixel_format in GREY for range_ in ("tv", "pc")),
    *(Source(pixel_format, "pc", "gbr") for pixel_format in RGB),
]
QUICK = [
    *(Source("yuv420p", range_, matrix) for range_ in ("tv", "pc") for matrix in MATRICES),
    *(Source(pixel_format, "pc", "bt709") for pixel_format in YUV[1:]),
    *(Source(pixel_format, "tv", "bt2020nc") for pixel_format in ("yuv422p", "yuv420p10le", "yuv444p10le")),
    *(Source(pixel_format, "pc", "unknown") for pixel_format in GREY),
    Source("gray", "tv", "unknown"),
    *(Source(pixel_format, "pc", "gbr") for pixel_format in RGB),
]


def made(source: Source, folder: Path) -> Path:
    scaled = f"scale=out_range={source.range}:flags=accurate_rnd+full_chroma_int"
    if source.matrix not in ("gbr", "unknown") or source.pixel_format in YUV:
        scaled += f":out_color_matrix={MATRICES[source.matrix]}"
    tagged = f"setparams=range={source.range}:colorspace={source.matrix}"
    return make(folder / "source.mkv", f"{scaled},format={source.pixel_format},{tagged}", *source.codec)


def check(source: Source, folder: Path) -> dict[str, float]:
    """Checks a clip of a source, and a clip of that clip; returns the largest error of either, seen by each program."""
    path = made(source, folder)
    expected = (
        np.repeat(COLOURS @ np.array([[0.2126], [0.7152], [0.0722]]), 3, 1) if source.pixel_format in GREY else COLOURS
    )
    if source.pixel_format in (*GREY, "pal8"):
        expected = patches(seen_by_ffmpeg(path))  # grey has no colours, and a palette fewer
        assert expected.min() <= 3 and expected.max() >= 252
    clip = clip_of(path, folder)
    again = folder / "again"
    again.mkdir()
    twice = clip_of(Path(clip.path), again)  # as the videos of a clip's windows are made
    found = [errors(made.path, expected) for made in (clip, twice)]
    assert all(error <= LARGEST_ERROR for seen in found for error in seen.values()), found
    return {program: max(seen[program] for seen in found) for program in found[0]}


@pytest.mark.parametrize("source", QUICK, ids=str)
def test_clips_have_the_colours_of_their_sources(source: Source, tmp_path: Path) -> None:
    check(source, tmp_path)


@pytest.mark.parametrize("pixel_format", GREY)
def test_grey_without_a_range_is_taken_as_limited(pixel_format: str, tmp_path: Path) -> None:
    """The ffmpeg program does the same; in full range, its black would be 16."""
    filters = f"scale=out_range=tv:flags=accurate_rnd,format={pixel_format},setparams=range=unknown"
    path = make(tmp_path / "source.mkv", filters, "-c:v", "ffv1", "-level", "3", "-strict", "experimental")
    expected = np.repeat(COLOURS @ np.array([[0.299], [0.587], [0.114]]), 3, 1)  # luma of ITU-R BT.601
    assert np.abs(patches(seen_by_ffmpeg(path)) - expected).max() <= LARGEST_ERROR
    assert max(errors(clip_of(path, tmp_path).path, expected).values()) <= LARGEST_ERROR


@pytest.fixture(scope="module")
def found() -> Iterator[dict[Source, dict[str, float]]]:
    """The errors of each source; written to a file after the last one."""
    errors_of: dict[Source, dict[str, float]] = {}
    yield errors_of
    rows: list[tuple[object, ...]] = [
        (source.pixel_format, source.range, source.matrix, f"{seen['ffmpeg']:.1f}", f"{seen['decord']:.1f}")
        for source, seen in errors_of.items()
    ]
    text = (
        "The largest error, of 255, of twelve known colours in a clip and in a clip of that clip, seen by two programs."
    )
    found_ones = table(("pixel format", "range", "matrix", "error in ffmpeg", "error in decord"), rows)
    write_section("colours", f"{text}\n\n{found_ones}")


@pytest.mark.soak
@pytest.mark.parametrize("source", ALL, ids=str)
def test_colours_of_every_format_and_tag(source: Source, tmp_path: Path, found: dict[Source, dict[str, float]]) -> None:
    found[source] = dict.fromkeys(("ffmpeg", "decord"), float("nan"))
    found[source] = check(source, tmp_path)
