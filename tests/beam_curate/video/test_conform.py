"""Frames of any kind become upright, progressive, even-sized yuv420p with square pixels."""

from __future__ import annotations

import gc
from fractions import Fraction

import av
import numpy as np
import pytest

from beam_curate.errors import LostFramesError, RefusedSourceError
from beam_curate.video.conform import Conform

PQ, HLG, BT709 = 16, 18, 1


def frame_of(width, height, pixel_format="yuv420p", luma=120, **properties) -> av.VideoFrame:
    grey = np.full((height, width), luma, dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format=pixel_format)
    for name, value in properties.items():
        setattr(frame, name, value)
    return frame


def conformed(frames, aspect=Fraction(1), interlaced="deinterlace", hdr="tonemap"):
    conform = Conform(aspect, None, interlaced, hdr)
    return conform, [out for frame in [*frames, None] for out in conform(frame)]


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((320, 180), Fraction(1), (320, 180)),
        ((321, 181), Fraction(1), (320, 180)),
        ((320, 180), Fraction(4, 3), (426, 180)),
        ((720, 576), Fraction(16, 15), (768, 576)),
        ((720, 480), Fraction(8, 9), (720, 540)),
        ((160, 180), Fraction(2), (320, 180)),
        ((320, 180), Fraction(1, 5000), (320, 180)),  # a damaged header
        ((2, 2), Fraction(1), (2, 2)),
    ],
)
def test_sizes_are_even_with_square_pixels(size, aspect, expected):
    _, (out,) = conformed([frame_of(*size)], aspect)
    assert (out.width, out.height) == expected


@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "rgb24", "gray", "nv12"])
def test_any_pixel_format_becomes_yuv420p(pixel_format):
    _, (out,) = conformed([frame_of(64, 64, pixel_format)])
    assert out.format.name == "yuv420p"
    luma = out.to_ndarray()[:64]
    assert abs(float(luma.mean()) - float(frame_of(64, 64).to_ndarray()[:64].mean())) < 3


@pytest.mark.parametrize(
    ("pixel_format", "matrix", "noted"),
    [("gray", 0, False), ("ya8", 0, False), ("monob", 0, False), ("gray", 200, False), ("yuv420p", 0, True)],
)
def test_an_invalid_matrix_is_noted_for_colour_formats_only(pixel_format, matrix, noted):
    conform, _ = conformed([frame_of(64, 64, pixel_format, colorspace=matrix)])
    assert any("matrix" in note for note in conform.notes) == noted


def test_a_conforming_frame_is_returned_unchanged():
    frame = frame_of(64, 48)
    _, (out,) = conformed([frame])
    assert out is frame


def test_a_frame_too_small_is_an_error():
    with pytest.raises(LostFramesError, match="too small"):
        conformed([frame_of(1, 64)])


def test_a_change_of_size_inside_a_clip_is_an_error():
    conform, _ = conformed([frame_of(64, 64)])
    with pytest.raises(LostFramesError, match="changes"):
        list(conform(frame_of(96, 64)))


def interlaced_frames(count):
    """A bar that moves between the two fields of each frame: combs when both are shown as one frame."""
    frames = []
    for number in range(count):
        picture = np.zeros((64, 96), dtype=np.uint8)
        picture[0::2, number * 8 : number * 8 + 8] = 235
        picture[1::2, number * 8 + 4 : number * 8 + 12] = 235
        frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
        graph = av.filter.Graph()
        source = graph.add_buffer(width=96, height=64, format=frame.format, time_base=Fraction(1, 25))
        graph.link_nodes(source, graph.add("setfield", "tff"), graph.add("buffersink")).configure()
        frame.pts = number
        graph.push(frame)
        frames.append(graph.pull())
    return frames


def combs(frame):
    """How much neighbouring rows differ, in grey levels."""
    luma = frame.to_ndarray(format="gray").astype(float)
    return float(np.abs(luma[1:] - luma[:-1]).mean())


def test_deinterlacing_keeps_the_number_of_frames():
    frames = interlaced_frames(6)
    before = [combs(frame) for frame in frames]
    conform, out = conformed(frames)
    assert len(out) == 6
    assert "deinterlaced" in conform.notes
    assert np.mean([combs(frame) for frame in out]) < np.mean(before) / 3


def test_interlaced_frames_are_refused_on_request():
    with pytest.raises(RefusedSourceError, match="--interlaced"):
        conformed(interlaced_frames(1), interlaced="refuse")


@pytest.mark.parametrize(("trc", "code"), [(PQ, 573), (HLG, 721)])
def test_hdr_white_becomes_white(trc, code):
    """Diffuse white is 203 cd/m2: code 573 of 10 bits in PQ, 721 in HLG (ITU-R BT.2408, table 1)."""
    frame = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, value in zip(frame.planes, (code, 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, dtype=np.uint16).tobytes())
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = trc, 9, 9, 1
    _, (out,) = conformed([frame])
    assert out.format.name == "yuv420p" and out.color_trc == BT709
    assert (out.colorspace, out.color_primaries, out.color_range) == (BT709, BT709, 1)
    assert 215 <= out.to_ndarray()[:64].mean() <= 236
    kept, (out,) = conformed([frame], hdr="keep")
    assert (out.color_trc, out.colorspace, out.color_primaries) == (trc, 9, 9)
    assert out.to_ndarray()[:64].mean() == pytest.approx(code / 4, abs=1.5)
    assert any("HDR kept" in note for note in kept.notes)


def test_frames_are_freed_without_the_garbage_collector():
    conform = Conform(Fraction(0), None, "deinterlace", "tonemap")
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(20):
            list(conform(frame_of(64, 64)))
        gc.collect()
        assert not [one for one in gc.garbage if isinstance(one, av.VideoFrame)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
