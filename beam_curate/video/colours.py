"""Checks the colour metadata of frames. Numbers are those of ITU-T H.273."""

from __future__ import annotations

import av
from av.video.reformatter import ColorPrimaries, ColorTrc

from beam_curate.errors import RefusedSourceError

UNKNOWN = 2  # for matrices, transfer functions and primaries alike: AVCOL_*_UNSPECIFIED
BT709, BT601 = 1, 6  # AVCOL_SPC_BT709, AVCOL_SPC_SMPTE170M
LIMITED, FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG
HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""Transfer functions of HDR: SMPTE ST 2084 (PQ, HDR10) and ARIB STD-B67 (HLG)."""

BT2020, _BT2020_CONSTANT = 9, 10  # AVCOL_SPC_BT2020_NCL, AVCOL_SPC_BT2020_CL
# Matrices that FFmpeg's scaler converts from: BT.709, FCC, both variants of BT.601, SMPTE 240M, BT.2020.
_CONVERTED = frozenset({BT709, UNKNOWN, 4, 5, BT601, 7, BT2020})
# Matrices in use that it does not know: colours would come out wrong.
_NOT_CONVERTED = {
    8: "YCgCo",
    11: "SMPTE ST 2085 YDzDx",
    12: "chromaticity-derived YCbCr",
    13: "chromaticity-derived YCbCr",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-R",
    17: "YCgCo-R",
}
_PRIMARIES = frozenset(int(value) for value in ColorPrimaries)
_TRANSFERS = frozenset(int(value) for value in ColorTrc)


def fix_colours(frame: av.VideoFrame) -> str:
    """Sets invalid colour metadata of a frame to unknown; returns a note about it, or "".

    >>> frame = av.VideoFrame(64, 48, "yuv420p")
    >>> frame.colorspace = 77
    >>> fix_colours(frame)
    'its colours name a matrix that does not exist: taken as unknown'

    Raises:
        RefusedSourceError: The colour matrix is one that cannot be converted.
    """
    invalid = []
    matrix = frame.colorspace
    has_matrix = not (frame.format.is_rgb or frame.format.has_palette)
    if has_matrix and matrix in _NOT_CONVERTED:
        raise RefusedSourceError(
            f"its colours are {_NOT_CONVERTED[matrix]} (matrix {matrix}), which cannot be converted"
        )
    constant = ""
    if not has_matrix:
        frame.colorspace = 0  # AVCOL_SPC_RGB
    elif matrix == _BT2020_CONSTANT:  # nearly all footage labelled so is non-constant, and players treat it as such
        constant = "BT.2020 with constant luminance is read as that without"
        frame.colorspace = BT2020
    elif matrix not in _CONVERTED:
        if any(component.is_chroma for component in frame.format.components):
            invalid.append("matrix")
        frame.colorspace = UNKNOWN  # of grey frames, too: PNG and others label them RGB
    if frame.color_range not in (0, LIMITED, FULL):
        invalid.append("range")
        frame.color_range = 0
    if frame.color_primaries not in _PRIMARIES:
        invalid.append("primaries")
        frame.color_primaries = ColorPrimaries.UNSPECIFIED
    if frame.color_trc not in _TRANSFERS:
        invalid.append("transfer function")
        frame.color_trc = ColorTrc.UNSPECIFIED
    return f"its colours name a {' and '.join(invalid)} that does not exist: taken as unknown" if invalid else constant
