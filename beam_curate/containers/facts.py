"""Facts of a video stream that its container states and PyAV does not give: clean aperture and Dolby Vision."""

from __future__ import annotations

import dataclasses
import io
import struct
from fractions import Fraction

import av
import av.container
import av.video

Crop = tuple[int, int, int, int]
"""Left, top, width and height in pixels of what is to be shown of a decoded frame."""

_CLEAN_APERTURE = struct.pack(">I4s", 40, b"clap")  # ISO/IEC 14496-12, 12.1.4: eight numbers follow
_DOLBY_VISION = (b"dvcC", b"dvvC", b"dvwC")  # Dolby Vision Streams within ISOBMFF, 2.2
_MUXERS = ("mp4", "mov")  # the second for ProRes and others that the first does not take
_HEADER_ONLY = {"movflags": "empty_moov+frag_keyframe", "strict": "experimental"}


@dataclasses.dataclass(frozen=True)
class DolbyVision:
    """A profile, and with what its base layer is compatible by itself: 0 is nothing, 1 HDR10, 2 BT.709, 4 HLG."""

    profile: int
    compatible_with: int

    @property
    def has_pictures_of_its_own(self) -> bool:
        """Whether its pictures are something without the metadata beside them: those in IPT are not."""
        return self.profile != 5 and not (self.profile >= 10 and self.compatible_with == 0)


def container_facts(stream: av.video.VideoStream) -> tuple[Crop | None, DolbyVision | None]:
    """Returns the clean aperture, where it is not the whole frame, and the Dolby Vision record; None where not stated.

    FFmpeg reads both from every container that has them into the stream, from where PyAV hands them to a muxer alone:
    so a header is written in memory, and looked at. Of a codec that neither mp4 nor mov can hold, nothing is known.
    """
    for muxer in _MUXERS:
        header = io.BytesIO()
        try:
            with av.open(header, "w", format=muxer, options=_HEADER_ONLY) as output:
                output.add_stream_from_template(stream)
                output.start_encoding()
        except (av.error.FFmpegError, ValueError):
            continue
        return _crop(header.getvalue(), stream), _dolby_vision(header.getvalue())
    return None, None


def _crop(header: bytes, stream: av.video.VideoStream) -> Crop | None:
    position = header.find(_CLEAN_APERTURE)
    if position < 0:
        return None
    numbers = struct.unpack_from(">IIIIiIiI", header, position + len(_CLEAN_APERTURE))
    if not all(numbers[1::2]):
        return None
    width, height, right_of_centre, below_centre = (
        Fraction(numerator, denominator) for numerator, denominator in zip(numbers[::2], numbers[1::2], strict=True)
    )
    stored_width, stored_height = stream.codec_context.width, stream.codec_context.height
    left = round((stored_width - width) / 2 + right_of_centre)
    top = round((stored_height - height) / 2 + below_centre)
    whole = (round(width), round(height)) == (stored_width, stored_height)
    inside = left >= 0 and top >= 0 and left + width <= stored_width and top + height <= stored_height
    return (left, top, round(width), round(height)) if inside and not whole and width >= 1 and height >= 1 else None


def _dolby_vision(header: bytes) -> DolbyVision | None:
    for name in _DOLBY_VISION:
        position = header.find(name)
        if position > 0 and len(header) > position + 8:
            # After the name: two bytes of version; profile, level and three flags of 7 + 6 + 3 bits; 4 bits.
            return DolbyVision(header[position + 6] >> 1, header[position + 8] >> 4)
    return None
