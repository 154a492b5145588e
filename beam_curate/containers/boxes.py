"""The boxes of an mp4 or mov file (ISO/IEC 14496-12), as far as FFmpeg does not tell what is in them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

_MOST_BOXES = 100_000  # a fragmented file has two for each fragment; one of noise must not keep us


def top_level(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields (type, start, size) of the boxes one after the other, until the end or what is none."""
    end = file.seek(0, os.SEEK_END)
    at = 0
    for _ in range(_MOST_BOXES):
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


def notes_on(path: str) -> tuple[str, ...]:
    """Returns what a user should know of an mp4 file's boxes: a second file behind the first is not read."""
    with open(path, "rb") as file:
        movies = 0
        for kind, at, _ in top_level(file):
            movies += kind == b"moov"
            if movies and at and kind == b"ftyp":
                megabytes = (os.fstat(file.fileno()).st_size - at) / 1e6
                return (f"another mp4 of {megabytes:.1f} MB follows in the same file and is not read: divide the file",)
    return ()
