"""Making pictures of every kind into what a trainer expects: upright, progressive, square pixels, 8-bit 4:2:0."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

from beam_curate.errors import LostFramesError, RefusedSourceError

# Transfer functions of HDR: SMPTE ST 2084 (PQ, HDR10) and ARIB STD-B67 (HLG).
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
# What FFmpeg makes of RGB on the way to yuv420p: AVCOL_RANGE_MPEG and AVCOL_SPC_SMPTE170M.
_LIMITED_RANGE, _BT601 = 1, 6
# Filters that undo the rotation a phone wrote into the file, by its counterclockwise angle in degrees.
_UPRIGHT = {
    0: (),
    90: (("transpose", "cclock"),),
    180: (("hflip", ""), ("vflip", "")),
    270: (("transpose", "clock"),),
}
# A pixel much wider than high, or the reverse, is a damaged header, not a format.
_WIDEST_PIXEL = 4


class Conform:
    """Conforms the frames of one clip; each frame that is put in comes out once, in order, perhaps a frame later.

    Args:
        frame: The first frame of the clip; all others must be of its size and format.
        pixel_aspect: Width of a stored pixel over its height.
        interlaced: ``deinterlace`` or ``refuse``.
        hdr: ``tonemap`` or ``keep``.

    Attributes:
        width: Of the frames that come out, even.
        height: Likewise.
        notes: What was changed beyond size and format, in words.

    Raises:
        RefusedSourceError: The clip is interlaced and that is refused.
        LostFramesError: The picture is too small to be encoded.
    """

    def __init__(self, frame: av.VideoFrame, pixel_aspect: Fraction, interlaced: str, hdr: str) -> None:
        if frame.interlaced_frame and interlaced == "refuse":
            raise RefusedSourceError("the clip is interlaced, and --interlaced refuse was given")
        self._shape = _shape(frame)
        self._interlaced = frame.interlaced_frame
        self._tonemap = frame.color_trc in _HDR and hdr == "tonemap"
        self._reformatter = VideoReformatter()
        notes = {
            "deinterlaced": self._interlaced,
            "HDR mapped to BT.709": self._tonemap,
            "HDR kept in 8 bits: most readers show it too grey": frame.color_trc in _HDR and not self._tonemap,
        }
        self.notes = tuple(note for note, holds in notes.items() if holds)
        square = _square(frame.width, frame.height, pixel_aspect)
        scaled = square != (frame.width, frame.height)
        turns = _UPRIGHT[round(frame.rotation / 90) * 90 % 360]
        sideways = any(name == "transpose" for name, _ in turns)
        width, height = square[::-1] if sideways else square
        self.width, self.height = width - width % 2, height - height % 2
        if not self.width or not self.height:
            raise LostFramesError(f"a picture of {frame.width}x{frame.height} is too small to encode")
        steps = [("bwdif", "mode=send_frame:deint=interlaced")] if self._interlaced else []
        steps += [("scale", f"{square[0]}:{square[1]}:flags=bicubic")] * scaled
        steps += turns
        # An odd size loses a row or a column: better than a resampled picture.
        steps += [("crop", f"{self.width}:{self.height}:0:0:exact=1")] * ((self.width, self.height) != (width, height))
        if frame.format.name != "yuv420p" and not self._tonemap:
            steps.append(("format", "pix_fmts=yuv420p"))
        self._graph = _graph(frame, steps) if steps else None

    def colors(self, frame: av.VideoFrame) -> dict[str, int]:
        """Returns the colour properties of the frames that come out, as an encoder takes them."""
        if self._tonemap:
            space, trc, primaries = Colorspace.ITU709, ColorTrc.BT709, ColorPrimaries.BT709
            return {"color_range": _LIMITED_RANGE, "colorspace": space, "color_trc": trc, "color_primaries": primaries}
        rgb = frame.format.is_rgb
        return {
            "color_range": _LIMITED_RANGE if rgb else frame.color_range,
            "colorspace": _BT601 if rgb else frame.colorspace,
            "color_trc": frame.color_trc,
            "color_primaries": frame.color_primaries,
        }

    def __call__(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Puts a frame in, or None at the end, and yields what comes out.

        Raises:
            LostFramesError: The frame is not like the first one.
        """
        if frame is not None and _shape(frame) != self._shape:
            raise LostFramesError(f"the picture changes from {self._shape} to {_shape(frame)} inside the clip")
        if frame is not None and frame.interlaced_frame and not self._interlaced:
            raise LostFramesError("interlaced pictures begin inside the clip")
        for passed in self._filtered(frame):
            yield self._in_sdr(passed) if self._tonemap else passed

    def _filtered(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        if self._graph is None:
            if frame is not None:
                yield frame
            return
        self._graph.push(frame)
        while True:
            try:
                passed = self._graph.pull()
            except (BlockingIOError, av.error.EOFError):
                return
            assert isinstance(passed, av.VideoFrame)
            yield passed

    def _in_sdr(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Maps HDR to BT.709: diffuse white (203 cd/m2, ITU-R BT.2408) becomes white, brighter lights clip."""
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_trc=ColorTrc.BT709,
            dst_color_primaries=ColorPrimaries.BT709,
        )


def _shape(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _square(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Returns the size with square pixels, not smaller than the stored one; even in the side that is changed."""
    if not Fraction(1, _WIDEST_PIXEL) <= pixel_aspect <= _WIDEST_PIXEL or pixel_aspect == 1:
        return width, height
    if pixel_aspect > 1:
        return round(width * pixel_aspect / 2) * 2, height
    return width, round(height / pixel_aspect / 2) * 2


def _graph(frame: av.VideoFrame, steps: list[tuple[str, str]]) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1_000_000)
    )
    filters = [graph.add(name, arguments) if arguments else graph.add(name) for name, arguments in steps]
    graph.link_nodes(source, *filters, graph.add("buffersink"))
    graph.configure()
    return graph
