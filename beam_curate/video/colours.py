"""What a frame says of its colours, as far as it can be believed. Numbers are those of ITU-T H.273."""

from __future__ import annotations

import av
from av.video.reformatter import ColorPrimaries, ColorTrc

from beam_curate.errors import RefusedSourceError

UNKNOWN = 2  # of matrices, transfer functions and primaries alike: AVCOL_*_UNSPECIFIED
BT709, BT601 = 1, 6  # AVCOL_SPC_BT709, AVCOL_SPC_SMPTE170M
LIMITED, FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG
HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""Transfer functions of HDR: SMPTE ST 2084 (PQ, HDR10) and ARIB STD-B67 (HLG)."""

BT2020, _BT2020_CONSTANT = 9, 10  # AVCOL_SPC_BT2020_NCL, AVCOL_SPC_BT2020_CL
# Matrices that FFmpeg's scaler converts from: BT.709, FCC, BT.601 of both kinds, SMPTE 240M, BT.2020.
_CONVERTED = frozenset({BT709, UNKNOWN, 4, 5, BT601, 7, BT2020})
# Those that are in use and that it does not know: pictures would have quite other colours.
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


def trust(frame: av.VideoFrame) -> str:
    """Sets what a frame says of its colours to unknown where that cannot be, and returns a note of it, or "".

    Raises:
        RefusedSourceError: Its colours are of a kind that cannot be converted.
    """
    wrong = []
    matrix = frame.colorspace
    has_matrix = not (frame.format.is_rgb or frame.format.has_palette)
    if has_matrix and matrix in _NOT_CONVERTED:
        raise RefusedSourceError(
            f"its colours are {_NOT_CONVERTED[matrix]} (matrix {matrix}), not to be converted here"
        )
    constant = ""
    if not has_matrix:
        frame.colorspace = 0  # AVCOL_SPC_RGB
    elif matrix == _BT2020_CONSTANT:  # players take it for the other kind, as which nearly all of it was made
        constant = "BT.2020 with constant luminance is read as that without"
        frame.colorspace = BT2020
    elif matrix not in _CONVERTED:
        if any(component.is_chroma for component in frame.format.components):
            wrong.append("matrix")
        frame.colorspace = UNKNOWN  # of grey, too: PNG and others say RGB of it
    if frame.color_range not in (0, LIMITED, FULL):
        wrong.append("range")
        frame.color_range = 0
    if frame.color_primaries not in _PRIMARIES:
        wrong.append("primaries")
        frame.color_primaries = ColorPrimaries.UNSPECIFIED
    if frame.color_trc not in _TRANSFERS:
        wrong.append("transfer function")
        frame.color_trc = ColorTrc.UNSPECIFIED
    return f"its colours name a {' and '.join(wrong)} that does not exist: taken as unknown" if wrong else constant
