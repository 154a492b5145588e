"""Facts that a container states and PyAV does not expose: clean aperture, Dolby Vision, trailing files."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import av.container
import av.video

Crop = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the visible part of a decoded frame."""

_CLEAN_APERTURE = struct.pack(">I4s", 40, b"clap")  # ISO/IEC 14496-12, 12.1.4; eight numbers follow
_DOLBY_VISION = (b"dvcC", b"dvvC", b"dvwC")  # Dolby Vision Streams within ISOBMFF, 2.2
_MUXERS = ("mp4", "mov")  # mov for ProRes and other codecs that mp4 does not take
_HEADER_ONLY = {"movflags": "empty_moov+frag_keyframe", "strict": "experimental"}
_MAX_BOXES = 100_000  # a fragmented file has two per fragment; bounds the time spent on random bytes


@dataclasses.dataclass(frozen=True)
class DolbyVision:
    """A Dolby Vision configuration record.

    Attributes:
        profile: Its number.
        compatible_with: What the base layer is without Dolby Vision: 0 nothing, 1 HDR10, 2 BT.709, 4 HLG.
    """

    profile: int
    compatible_with: int

    @property
    def has_usable_base_layer(self) -> bool:
        """Whether the frames can be shown without the Dolby Vision metadata; IPT colours cannot.

        >>> DolbyVision(profile=8, compatible_with=1).has_usable_base_layer
        True
        >>> DolbyVision(profile=5, compatible_with=0).has_usable_base_layer
        False
        """
        return self.profile != 5 and not (self.profile >= 10 and self.compatible_with == 0)


def container_facts(stream: av.video.VideoStream) -> tuple[Crop | None, DolbyVision | None]:
    r"""Returns the clean aperture, if it is not the full frame, and the Dolby Vision record; None if not stated.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile(suffix=".y4m") as file:
    ...     _ = file.write(b"YUV4MPEG2 W32 H16 F25:1\n" + 3 * (b"FRAME\n" + bytes(768))), file.flush()
    ...     with av.open(file.name) as container:
    ...         container_facts(container.streams.video[0])
    (None, None)

    FFmpeg reads both into the stream from every container that has them, but PyAV passes them to a muxer only. So an
    mp4 or mov header is written to memory and parsed. Nothing is known of codecs that neither format can hold.
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
    is_full = (round(width), round(height)) == (stored_width, stored_height)
    is_inside = left >= 0 and top >= 0 and left + width <= stored_width and top + height <= stored_height
    return (
        (left, top, round(width), round(height)) if is_inside and not is_full and width >= 1 and height >= 1 else None
    )


def _dolby_vision(header: bytes) -> DolbyVision | None:
    for name in _DOLBY_VISION:
        position = header.find(name)
        if position > 0 and len(header) > position + 8:
            # After the name: two bytes of version; 7 bits of profile, 6 of level, 3 flags; 4 bits of compatibility.
            return DolbyVision(header[position + 6] >> 1, header[position + 8] >> 4)
    return None


def trailing_file_notes(path: str) -> tuple[str, ...]:
    r"""Returns a note if another mp4 file follows the first one in the same file: FFmpeg does not read it.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile(suffix=".mp4") as file:
    ...     _ = file.write(2 * b"\0\0\0\x08ftyp\0\0\0\x08moov"), file.flush()
    ...     trailing_file_notes(file.name)
    ('another mp4 of 0.0 MB follows in the same file and is not read: divide the file',)
    """
    with open(path, "rb") as file:
        movies = 0
        for kind, at, _ in _top_level_boxes(file):
            movies += kind == b"moov"
            if movies and at and kind == b"ftyp":
                megabytes = (os.fstat(file.fileno()).st_size - at) / 1e6
                return (f"another mp4 of {megabytes:.1f} MB follows in the same file and is not read: divide the file",)
    return ()


def _top_level_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields (type, start, size) of the boxes of an mp4 or mov file, to the end or the first bytes that are no box."""
    end = file.seek(0, os.SEEK_END)
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        elif size == 0:
            size = end - at
        if size < 8 or not kind.isascii():
            return
        yield kind, at, size
        at += size
