"""Clips look as a player shows the source: orientation, pixel aspect, crop, interlacing and colour tags."""

from __future__ import annotations

import itertools
import struct
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from beam_curate.errors import LostFramesError, RefusedSourceError
from beam_curate.video import scan
from beam_curate.video.colours import fix_colours
from tests.support.colour_patches import (
    COLOURS,
    HEIGHT,
    LARGEST_ERROR,
    WIDTH,
    clip_of,
    clips_of,
    errors,
    make,
    patches,
    seen_by_ffmpeg,
)
from tests.support.ffmpeg_program import ffmpeg

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "8")
YUV = "format=yuv420p"
ONE = 1 << 16


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes the rotating part of a display matrix into the track header."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def shown(stored: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Returns an image transformed by a matrix, by its definition: (x, y) is mapped to (a x + c y, b x + d y)."""
    height, width = stored.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x, y = a * columns + c * rows, b * columns + d * rows
    x, y = x - x.min(), y - y.min()
    image = np.empty((y.max() + 1, x.max() + 1, 3), stored.dtype)
    image[y, x] = stored
    return image


TRANSFORMS = [
    *((a, 0, 0, d) for a, d in itertools.product((1, -1), repeat=2)),
    *((0, b, c, 0) for b, c in itertools.product((1, -1), repeat=2)),
]


@pytest.mark.parametrize("scale", [1, 2], ids=["", "twice as large"])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_every_rotation_and_mirroring_is_applied(
    transform: tuple[int, int, int, int], scale: int, tmp_path: Path
) -> None:
    path = make(tmp_path / "source.mp4", YUV, *H264)
    stored = seen_by_ffmpeg(path)
    with_matrix(path, *(value * ONE * scale for value in transform))
    clip = clip_of(path, tmp_path)
    expected = shown(stored, *transform)
    found = seen_by_ffmpeg(clip.path)
    assert found.shape == expected.shape
    middle = np.abs(found.astype(int) - expected)
    assert np.median(middle) <= 2 and np.mean(middle) < 4


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (ONE, ONE, ONE, ONE), (46341, 46341, -46341, 46341), (ONE, 0, 0, 0)])
def test_a_singular_matrix_is_ignored(matrix: tuple[int, int, int, int], tmp_path: Path) -> None:
    path = with_matrix(make(tmp_path / "source.mp4", YUV, *H264), *matrix)
    clip = clip_of(path, tmp_path)
    assert (clip.width, clip.height) == (WIDTH, HEIGHT)
    assert max(errors(clip.path).values()) <= LARGEST_ERROR


def with_box(path: Path, box: bytes) -> Path:
    """Adds a box to the sample entry of an mp4 whose header is behind its data."""
    content = bytearray(path.read_bytes())
    start, end, parents = 0, len(content), []
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        while content[start + 4 : start + 8] != name:
            start += struct.unpack_from(">I", content, start)[0]
            assert start < end
        parents.append(start)
        start, end = start + 8, start + struct.unpack_from(">I", content, start)[0]
    parents.append(start + 8)  # the entry, after a version and a count
    length = struct.unpack_from(">I", content, start + 8)[0]
    content[start + 8 + length : start + 8 + length] = box
    for parent in parents:
        struct.pack_into(">I", content, parent, struct.unpack_from(">I", content, parent)[0] + len(box))
    path.write_bytes(content)
    return path


def clean_aperture(*fractions: int) -> bytes:
    return struct.pack(">I4sIIIIiIiI", 40, b"clap", *fractions)


@pytest.mark.parametrize(
    ("fractions", "left", "top", "size"),
    [
        ((320, 1, 100, 1, 0, 1, 0, 1), 32, 14, (320, 100)),
        ((640, 2, 100, 1, 10, 1, -4, 1), 42, 10, (320, 100)),
        ((WIDTH, 1, HEIGHT, 1, 0, 1, 0, 1), 0, 0, (WIDTH, HEIGHT)),
        ((4000, 1, 3000, 1, 0, 1, 0, 1), 0, 0, (WIDTH, HEIGHT)),  # larger than the frame: ignored
        ((320, 0, 100, 1, 0, 1, 0, 1), 0, 0, (WIDTH, HEIGHT)),
        ((0, 1, 0, 1, 0, 1, 0, 1), 0, 0, (WIDTH, HEIGHT)),
    ],
)
def test_frames_are_cropped_to_the_clean_aperture(fractions, left, top, size, tmp_path: Path) -> None:
    path = make(tmp_path / "source.mp4", YUV, *H264)
    stored = seen_by_ffmpeg(path)
    clip = clip_of(with_box(path, clean_aperture(*fractions)), tmp_path)
    assert (clip.width, clip.height) == size
    expected = stored[top : top + size[1], left : left + size[0]].astype(int)
    assert np.median(np.abs(seen_by_ffmpeg(clip.path) - expected)) <= 2


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [
        *[("libx264", "yuv420p"), ("mjpeg", "yuvj420p"), ("mpeg2video", "yuv420p"), ("ffv1", "yuv420p")],
        *[("prores", "yuv422p10le"), ("png", "rgb24")],
    ],
)
def test_the_clean_aperture_is_read_for_every_codec(codec: str, pixel_format: str, tmp_path: Path) -> None:
    path = make(tmp_path / "source.mov", f"format={pixel_format}", "-c:v", codec)
    clip = clip_of(with_box(path, clean_aperture(320, 1, 100, 1, 0, 1, 0, 1)), tmp_path)
    assert (clip.width, clip.height) == (320, 100)


@pytest.mark.parametrize(
    ("profile", "compatible", "is_readable"),
    [
        *[(5, 0, False), (10, 0, False), (20, 0, False)],
        *[(4, 2, True), (7, 6, True), (8, 1, True), (8, 2, True), (8, 4, True), (9, 2, True)],
        *[(10, 1, True), (10, 2, True), (10, 4, True), (20, 4, True)],
    ],
)
def test_only_dolby_vision_without_a_base_layer_is_refused(
    profile: int, compatible: int, is_readable: bool, tmp_path: Path
) -> None:
    record = struct.pack(">BBHB", 1, 0, profile << 9 | 6 << 3 | 0b101, compatible << 4) + bytes(19)
    name = b"dvcC" if profile <= 7 else b"dvvC" if profile <= 10 else b"dvwC"
    path = with_box(make(tmp_path / "source.mp4", YUV, *H264), struct.pack(">I4s", 8 + len(record), name) + record)
    for read in (scan.probe, scan.packet_times, scan.shot_frames):
        if is_readable:
            assert list(read(str(path)))
        else:
            with pytest.raises(RefusedSourceError, match=f"Dolby Vision of profile {profile}"):
                list(read(str(path)))


def test_a_change_of_pixel_aspect_is_applied_from_its_frame(tmp_path: Path) -> None:
    aspects = {"16/15": (410, HEIGHT), "64/45": (546, HEIGHT)}
    parts = [
        make(tmp_path / f"{number}.ts", f"{YUV},setsar={aspect}", *H264, "-bf", "2", frames=24)
        for number, aspect in enumerate(aspects)
    ]
    joined = tmp_path / "joined.ts"
    ffmpeg("-i", f"concat:{parts[0]}|{parts[1]}", "-c", "copy", joined)
    first, across, second = clips_of(joined, tmp_path, ((0, 20), (20, 30), (30, 48)))
    assert [(clip.width, clip.height) for clip in (first, second)] == list(aspects.values())
    assert isinstance(across.error, LostFramesError) and "410x128 to 546x128" in str(across.error)
    for clip in (first, second):
        assert max(errors(clip.path).values()) <= LARGEST_ERROR


@pytest.mark.parametrize(("range_", "matrix"), [("tv", "bt709"), ("pc", "bt709"), ("tv", "bt2020"), ("pc", "bt2020")])
@pytest.mark.parametrize("bits", ["yuv420p", "yuv420p10le"])
def test_scaled_hdr_that_is_kept_has_the_colours_of_its_tags(
    bits: str, range_: str, matrix: str, tmp_path: Path
) -> None:
    tag = "bt2020nc" if matrix == "bt2020" else matrix
    filters = (
        f"scale=out_range={range_}:out_color_matrix={matrix}:flags=accurate_rnd+full_chroma_int,format={bits},"
        f"setparams=range={range_}:colorspace={tag}:color_primaries=bt2020:color_trc=smpte2084,setsar=4/5"
    )
    clip = clip_of(make(tmp_path / "source.mkv", filters, *H264), tmp_path, hdr="keep")
    assert clip.width * HEIGHT == pytest.approx(clip.height * WIDTH * 4 / 5, rel=0.02)
    assert max(errors(clip.path).values()) <= LARGEST_ERROR


@pytest.mark.parametrize(
    "numbers",
    ["9,14,3", "200,255,77", "3,0,1", "1,1,0", "9,14,10", "22,17,2", "12,18,9", "0,0,0", "255,255,255"],
)
def test_colour_tags_of_every_kind_are_copied(numbers: str, tmp_path: Path) -> None:
    primaries, transfer, matrix = numbers.split(",")
    plain = make(tmp_path / "plain.mp4", "scale=out_color_matrix=bt601,format=yuv420p", *H264)
    path = tmp_path / "source.mp4"
    tags = f"colour_primaries={primaries}:transfer_characteristics={transfer}:matrix_coefficients={matrix}"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", f"h264_metadata={tags}", path)
    assert list(scan.shot_frames(str(path)))
    clip = clip_of(path, tmp_path, hdr="keep")
    if int(matrix) not in (1, 9, 10):  # else the source's colours are what the tags make of them
        assert max(errors(clip.path).values()) <= LARGEST_ERROR
    elif int(matrix) != 10:  # which the ffmpeg program does not convert
        assert max(errors(clip.path, patches(seen_by_ffmpeg(path))).values()) <= LARGEST_ERROR


@pytest.mark.parametrize(
    ("facts", "expected", "note"),
    [
        ({"colorspace": 3}, {"colorspace": 2}, "a matrix that"),
        ({"colorspace": 99, "color_primaries": 99}, {"colorspace": 2, "color_primaries": 2}, "a matrix and primaries"),
        ({"colorspace": 0}, {"colorspace": 2}, "a matrix that"),  # RGB, in a YUV frame
        ({"color_trc": 77, "color_range": 5}, {"color_trc": 2, "color_range": 0}, "a range and transfer function"),
        ({"colorspace": 10}, {"colorspace": 9}, "constant luminance"),
        ({"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}, {"colorspace": 9}, ""),
    ],
)
def test_invalid_colour_tags_become_unknown(facts: dict[str, int], expected: dict[str, int], note: str) -> None:
    frame = av.VideoFrame(64, 64, "yuv420p")
    for name, value in facts.items():
        setattr(frame, name, value)
    said = fix_colours(frame)
    assert note in said and bool(said) == bool(note)
    assert {name: getattr(frame, name) for name in expected} == expected
    assert fix_colours(frame) == ""


@pytest.mark.parametrize("matrix", [8, 11, 12, 13, 14])
def test_colours_that_cannot_be_converted_are_refused(matrix: int, tmp_path: Path) -> None:
    plain = make(tmp_path / "plain.mp4", YUV, *H264)
    path = tmp_path / "source.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", f"h264_metadata=matrix_coefficients={matrix}", path)
    (clip,) = clips_of(path, tmp_path)
    assert isinstance(clip.error, RefusedSourceError) and f"matrix {matrix}" in str(clip.error)
    with pytest.raises(RefusedSourceError, match=f"matrix {matrix}"):
        list(scan.shot_frames(str(path)))


def test_transparency_is_dropped_with_a_note(tmp_path: Path) -> None:
    path = make(tmp_path / "source.mkv", "format=rgba,colorchannelmixer=aa=0.5", "-c:v", "png")
    assert "transparency dropped" in clip_of(path, tmp_path).notes


def test_progressive_frames_among_interlaced_ones_are_unchanged(tmp_path: Path) -> None:
    """Three of five frames are progressive, as in telecined film."""
    path = tmp_path / "source.ts"
    make(path, YUV, "-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ilme+ildct", frames=10)
    content = bytearray(path.read_bytes())
    marked = _mark_progressive(content, lambda number: number % 5 < 3)
    assert marked == 10
    path.write_bytes(content)
    with av.open(str(path)) as container:
        flags = [frame.interlaced_frame for frame in container.decode(video=0)]
    assert 0 < sum(flags) < len(flags)
    clips = clips_of(path, tmp_path, ((0, len(flags)),))
    assert clips[0].error is None and "deinterlaced" in clips[0].notes
    assert clips[0].num_frames == len(flags)
    assert max(errors(clips[0].path).values()) <= LARGEST_ERROR


def test_only_interlaced_frames_are_deinterlaced(tmp_path: Path) -> None:
    """Rows alternate between dark and light, and swap from frame to frame, so that each field has one grey level."""
    path = tmp_path / "source.ts"
    rows = "format=yuv420p,geq=lum='if(mod(Y+N,2),190,60)':cb=128:cr=128"
    make(path, rows, "-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ilme+ildct", "-bf", "0", frames=10)
    content = bytearray(path.read_bytes())
    _mark_progressive(content, lambda number: number % 5 < 3)
    path.write_bytes(content)
    clip = clips_of(path, tmp_path, ((0, 10),))[0]
    with av.open(clip.path) as container:
        lumas = [frame.to_ndarray()[:HEIGHT].astype(int) for frame in container.decode(video=0)]
    steps = [float(np.median(np.abs(np.diff(luma[8:-8], axis=0)))) for luma in lumas]
    assert [step > 100 for step in steps] == [number % 5 < 3 for number in range(10)], steps


def _mark_progressive(content: bytearray, progressive) -> int:
    """Sets or clears progressive_frame in each picture coding extension (ISO/IEC 13818-2, 6.2.3.1)."""
    number, at = 0, content.find(b"\x00\x00\x01\xb5")
    while at >= 0:
        if content[at + 4] >> 4 == 8:
            content[at + 8] = (content[at + 8] & 0x7F) | (0x80 if progressive(number) else 0)
            number += 1
        at = content.find(b"\x00\x00\x01\xb5", at + 4)
    return number


def test_colours_are_right_after_a_change_of_tags_inside_a_clip(tmp_path: Path) -> None:
    kinds = [("tv", "bt709", "bt709"), ("pc", "bt2020", "bt2020nc"), ("tv", "smpte170m", "smpte170m")]
    parts = []
    for number, (range_, matrix, tag) in enumerate(kinds):
        filters = f"scale=out_range={range_}:out_color_matrix={matrix},{YUV},setparams=range={range_}:colorspace={tag}"
        parts.append(make(tmp_path / f"{number}.ts", filters, *H264, frames=6))
    joined = tmp_path / "joined.ts"
    ffmpeg("-i", "concat:" + "|".join(map(str, parts)), "-c", "copy", joined)
    (clip,) = clips_of(joined, tmp_path, ((0, 18),))
    assert clip.error is None and clip.num_frames == 18
    import decord

    reader = decord.VideoReader(clip.path)
    for number in (0, 7, 8, 16, 17):
        assert np.abs(patches(reader[number].asnumpy()) - COLOURS).max() <= LARGEST_ERROR, number


def test_a_thousand_changes_of_format_leak_no_threads_or_memory(tmp_path: Path) -> None:
    from beam_curate.video.conform import Conform

    conform = Conform(1, None, "deinterlace", "tonemap")  # type: ignore[arg-type]
    before = threading.active_count()
    count = 0
    for number in range(1000):
        frame = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
        frame.color_range, frame.colorspace = 1 + number % 2, (1, 5, 9)[number % 3]
        count += len(list(conform(frame)))
    count += len(list(conform(None)))
    assert count == 1000
    assert threading.active_count() == before
