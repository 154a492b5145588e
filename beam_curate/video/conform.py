"""Converts frames of any kind to what a trainer expects: upright, progressive, square pixels, 8-bit 4:2:0.

Colours, orientation, interlacing, and the pixel aspect ratio unless the container overrides it, are read from each
frame and not from the stream's header. The metadata of the frames returned describe what they now are.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.filter
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

from beam_curate.containers.facts import Crop
from beam_curate.errors import LostFramesError, RefusedSourceError
from beam_curate.video import colours

_ACCURATE = "flags=bicubic+accurate_rnd+full_chroma_int"  # FFmpeg's scaler rounds chroma down by default
_MATRIX_NAMES = {colours.BT709: "bt709", 4: "fcc", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}  # others: bt601
# A pixel much wider than high, or the reverse, means a damaged header.
_WIDEST_PIXEL = 4
_ASPECT_STEPS = 10_000  # resolution at which pixel aspect ratios are measured
# Given the peak luminance of the mastering display or of a scene, FFmpeg's scaler maps it to white: all else gets dark.
_NO_SIDE_DATA = ("sidedata", "mode=delete")
_CORNER = 16  # side in pixels of the part that is measured; the scaler rejects smaller ones


@dataclasses.dataclass(frozen=True)
class _Facts:
    """Everything that decides how a frame is converted; `transform` holds the filters that turn it upright."""

    width: int
    height: int
    pixel_format: str
    color_range: int
    colorspace: int
    pixel_aspect: Fraction
    transform: tuple[tuple[str, str], ...]
    deinterlace: bool
    tonemap: bool


class Conform:
    """Converts the frames of one clip; each frame passed in comes out once, in order, perhaps one frame later.

    >>> conform = Conform(Fraction(1), None, interlaced="deinterlace", hdr="tonemap")
    >>> [frame] = conform(av.VideoFrame(65, 48, "rgb24"))
    >>> frame.width, frame.height, frame.format.name, list(conform(None))
    (64, 48, 'yuv420p', [])

    Args:
        pixel_aspect: Width of a stored pixel over its height; 0 if each frame states it.
        crop: The visible part of each decoded frame; None for all of it.
        interlaced: ``deinterlace`` or ``refuse``.
        hdr: ``tonemap`` or ``keep``.
    """

    def __init__(self, pixel_aspect: Fraction, crop: Crop | None, interlaced: str, hdr: str) -> None:
        self._pixel_aspect = pixel_aspect
        self._crop = crop
        self._interlaced, self._hdr = interlaced, hdr
        self._reformatter = VideoReformatter()
        self._aspects = _PixelAspects()
        self._notes: dict[str, None] = {}  # a set that keeps its order
        self._facts: _Facts | None = None
        self._graph: av.filter.Graph | None = None
        self._first: av.VideoFrame | None = None  # the first one returned

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on what was changed beyond size and format."""
        return tuple(self._notes)

    def __call__(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Passes in a frame, or None at the end, and yields the converted frames.

        Raises:
            RefusedSourceError: The frame is interlaced and that is refused, or its colours cannot be converted.
            LostFramesError: The frame is too small to be encoded, or differs from the first one in size or colours.
        """
        if frame is None:
            yield from self._flushed()
            return
        facts = self._facts_of(frame)
        if facts != self._facts:
            yield from self._flushed()
            self._facts = facts
            steps = self._steps(facts)
            # Without these, filters would assume BT.601 in limited range.
            described = f":colorspace={facts.colorspace}:range={facts.color_range}"
            self._graph = _graph((facts.width, facts.height, facts.pixel_format), steps, described) if steps else None
        if self._graph is None:
            yield self._checked(self._in_sdr(frame))
            return
        self._graph.push(frame)
        yield from self._pulled()

    def _facts_of(self, frame: av.VideoFrame) -> _Facts:
        if frame.interlaced_frame and self._interlaced == "refuse":
            raise RefusedSourceError("the clip is interlaced, and --interlaced refuse was given")
        is_hdr = frame.color_trc in colours.HDR
        tonemap = is_hdr and self._hdr == "tonemap"
        notes = {
            colours.fix_colours(frame): True,
            "deinterlaced": frame.interlaced_frame,
            "HDR mapped to BT.709": tonemap,
            "HDR kept in 8 bits: most readers show it too grey": is_hdr and not tonemap,
            "transparency dropped": any(component.is_alpha for component in frame.format.components),
        }
        self._notes |= dict.fromkeys(note for note, holds in notes.items() if note and holds)
        return _Facts(
            width=frame.width,
            height=frame.height,
            pixel_format=frame.format.name,
            color_range=int(frame.color_range),
            colorspace=int(frame.colorspace),
            pixel_aspect=self._pixel_aspect or self._aspects.of(frame),
            transform=upright(frame),
            # The filter passes progressive frames unchanged, so it stays once it has been needed.
            deinterlace=frame.interlaced_frame or (self._facts is not None and self._facts.deinterlace),
            tonemap=tonemap,
        )

    def _steps(self, facts: _Facts) -> list[tuple[str, str]]:
        left, top, width, height = self._crop or (0, 0, facts.width, facts.height)
        steps = [("bwdif", "mode=send_frame:deint=interlaced")] if facts.deinterlace else []
        if (width, height) != (facts.width, facts.height):
            if left + width > facts.width or top + height > facts.height:
                raise LostFramesError(f"its clean aperture exceeds a frame of {facts.width}x{facts.height}")
            steps.append(("crop", f"{width}:{height}:{left}:{top}:exact=1"))
        square = _square(width, height, facts.pixel_aspect)
        if square != (width, height):
            steps.append(("scale", f"{square[0]}:{square[1]}:{_ACCURATE}"))
        steps += facts.transform
        sideways = any(name == "transpose" for name, _ in facts.transform)
        width, height = square[::-1] if sideways else square
        even = width - width % 2, height - height % 2
        if not all(even):
            raise LostFramesError(f"a frame of {facts.width}x{facts.height} is too small to encode")
        if even != (width, height):  # dropping a row or a column is better than resampling
            steps.append(("crop", f"{even[0]}:{even[1]}:0:0:exact=1"))
        return [*steps, _NO_SIDE_DATA] if facts.tonemap else [*steps, *self._colour_steps(facts)]

    def _colour_steps(self, facts: _Facts) -> list[tuple[str, str]]:
        first = self._first
        has_yuv = facts.pixel_format.startswith(("yuv", "nv", "p0", "p2", "uyvy", "yuyv", "yvyu"))
        if first is not None and (facts.color_range, facts.colorspace) != (first.color_range, first.colorspace):
            matrix, full = _MATRIX_NAMES.get(int(first.colorspace), "bt601"), first.color_range == colours.FULL
        elif not has_yuv:  # RGB, grey and palette formats have no matrix
            matrix, full = "bt601", False
        elif facts.pixel_format != "yuv420p":
            return [("scale", _ACCURATE), ("format", "pix_fmts=yuv420p")]
        else:
            return []
        described = f"out_color_matrix={matrix}:out_range={'pc' if full else 'tv'}"
        return [("scale", f"{described}:{_ACCURATE}"), ("format", "pix_fmts=yuv420p")]

    def _flushed(self) -> Iterator[av.VideoFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pulled()
            self._graph = None

    def _pulled(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                filtered = self._graph.pull()
            except (BlockingIOError, av.error.EOFError):
                return
            assert isinstance(filtered, av.VideoFrame)
            yield self._checked(self._in_sdr(filtered))

    def _in_sdr(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Maps HDR to BT.709: diffuse white (203 cd/m2, ITU-R BT.2408) becomes white, highlights are clipped."""
        assert self._facts is not None
        if not self._facts.tonemap:
            return frame
        mapped = self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_trc=ColorTrc.BT709,
            dst_color_primaries=ColorPrimaries.BT709,
        )
        mapped.color_range, mapped.colorspace = colours.LIMITED, Colorspace.ITU709
        mapped.color_trc, mapped.color_primaries = ColorTrc.BT709, ColorPrimaries.BT709
        return mapped

    def _checked(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Returns a converted frame; its size and colours must be those that the clip's file states for all frames."""
        first = self._first
        if first is None:
            self._first = frame
            return frame
        if (frame.width, frame.height) != (first.width, first.height):
            old, new = f"{first.width}x{first.height}", f"{frame.width}x{frame.height}"
            raise LostFramesError(f"the frame size changes from {old} to {new} inside the clip")
        for name in ("color_primaries", "color_trc"):
            old_value, new_value = getattr(first, name), getattr(frame, name)
            if old_value != new_value and colours.UNKNOWN not in (old_value, new_value):
                raise LostFramesError(
                    f"its {name.replace('_', ' ')} changes from {old_value} to {new_value} inside the clip"
                )
        return frame


def upright(frame: av.VideoFrame) -> tuple[tuple[str, str], ...]:
    """Returns the filters that apply a frame's display matrix: one of 4 rotations, mirrored or not.

    >>> upright(av.VideoFrame(64, 48, "yuv420p"))  # it has no display matrix
    ()

    The matrix [[a, b, u], [c, d, v], [x, y, w]] maps (p, q) to (a p + c q, b p + d q), with rows counted downwards
    (ISO/IEC 14496-12, 8.3.2.3). Its scale and translation are ignored, and angles are rounded to right ones.
    """
    # Not frame.side_data: that makes a reference cycle, so that the frame's memory waits for the garbage collector.
    side_data: Any = SideDataContainer(frame)  # type: ignore[call-arg]  # PyAV's stub has no constructor
    if Type.DISPLAYMATRIX not in side_data:
        return ()
    matrix = side_data[Type.DISPLAYMATRIX]
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    if a * d == b * c:  # singular
        return ()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (*[("hflip", "")] * (a < 0), *[("vflip", "")] * (d < 0))
    directions = {
        (True, True): "cclock_flip",
        (True, False): "clock",
        (False, True): "cclock",
        (False, False): "clock_flip",
    }
    return (("transpose", directions[b > 0, c > 0]),)


class _PixelAspects:
    """Measures the pixel aspect ratio of frames, which FFmpeg's filters know and PyAV does not expose."""

    def __init__(self) -> None:
        self._format: tuple[int, int, str] | None = None
        self._aspect = Fraction(1)
        self._unchanged = av.filter.Graph()  # its output has another width if the aspect is not the last one

    def of(self, frame: av.VideoFrame) -> Fraction:
        """Returns width over height to a ten thousandth; 1 if the frame does not state it, or is tiny."""
        frame_format = frame.width, frame.height, frame.format.name
        if min(frame.width, frame.height) < _CORNER:
            return Fraction(1)
        if self._format == frame_format and _filtered(self._unchanged, frame).width == _CORNER:
            return self._aspect
        width = f"round(clip(sar\\,{1 / _ASPECT_STEPS}\\,8)*{_ASPECT_STEPS})"
        aspect = Fraction(_filtered(_measuring_graph(frame, width), frame).width, _ASPECT_STEPS)
        self._format, self._aspect = frame_format, aspect
        # Frames of the same aspect pass this graph unscaled, which costs almost nothing.
        near = f"lt(abs(sar-{float(aspect)})\\,{1 / _ASPECT_STEPS})"
        self._unchanged = _measuring_graph(frame, f"if({near}\\,{_CORNER}\\,{2 * _CORNER})")
        return aspect


def _measuring_graph(frame: av.VideoFrame, width: str) -> av.filter.Graph:
    """Returns a graph whose output width is an expression in the pixel aspect ratio of each frame."""
    corner = ("crop", f"{_CORNER}:{_CORNER}:0:0")
    scaled = ("scale", f"w={width}:h={_CORNER}:eval=frame:flags=neighbor")
    return _graph((frame.width, frame.height, frame.format.name), [corner, scaled])


def _filtered(graph: av.filter.Graph, frame: av.VideoFrame) -> av.VideoFrame:
    graph.push(frame)
    filtered = graph.pull()
    assert isinstance(filtered, av.VideoFrame)
    return filtered


def _square(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Returns the size with square pixels, not smaller than the stored one; the side that changes is even."""
    if not Fraction(1, _WIDEST_PIXEL) <= pixel_aspect <= _WIDEST_PIXEL or pixel_aspect == 1:
        return width, height
    if pixel_aspect > 1:
        return round(width * pixel_aspect / 2) * 2, height
    return width, round(height / pixel_aspect / 2) * 2


def _graph(kind: tuple[int, int, str], steps: list[tuple[str, str]], described: str = "") -> av.filter.Graph:
    """Returns a filter graph for frames of one width, height and pixel format; `described` adds source options."""
    width, height, pixel_format = kind
    graph = av.filter.Graph()
    source = graph.add("buffer", f"video_size={width}x{height}:pix_fmt={pixel_format}:time_base=1/1000000{described}")
    filters = [graph.add(name, arguments) if arguments else graph.add(name) for name, arguments in steps]
    graph.link_nodes(source, *filters, graph.add("buffersink"))
    graph.configure()
    return graph
