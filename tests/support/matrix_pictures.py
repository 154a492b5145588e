"""Makers of files whose pictures are stored otherwise than they are shown: lying, squeezed, in fields."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.matrix_makers import Maker, mux_one
from tests.support.media import ENCODER_OPTIONS, PATCHES, drawn
from tests.support.priority import unchanged_priority


def rotated(
    degrees: int, frames: int, size: tuple[int, int], pixel_ratio: Fraction | None = None, **settings: Any
) -> Maker:
    """Pictures stored lying down, with a display matrix that puts them upright at `size`, as phones do."""

    def make(path: Path) -> None:
        stored = (np.rot90(picture, degrees // 90) for picture in pictures(frames, size, **settings))
        squeezed = (picture[:, :: int(pixel_ratio or 1)] for picture in stored)
        encode(path, squeezed, pixel_ratio=pixel_ratio)
        turn(path, degrees)

    return make


def turn(path: Path, degrees: int) -> None:
    """Writes a display matrix into the header of an mp4's pictures: they are shown turned clockwise."""
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = struct.pack(">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def anamorphic(ratio: Fraction, frames: int, stored_size: tuple[int, int], codec: str = "libx264") -> Maker:
    """Pictures squeezed to `stored_size`; the container says how wide a pixel is shown."""
    return lambda path: encode(path, pictures(frames, stored_size), codec, pixel_ratio=ratio)


def woven(frames: int, size: tuple[int, int], top_first: bool = True) -> Iterator[np.ndarray]:
    """Yields moving pictures whose odd and even rows are of two moments, half a frame apart; the number is of one."""
    moments = list(pictures(4 * frames, size))  # fast motion: 4 pixels from field to field
    edge = -(-2 * size[1] // 9)  # below the barcode
    for number in range(frames):
        picture, second = moments[4 * number].copy(), moments[4 * number + 2]
        picture[1 if top_first else 0 :: 2] = second[1 if top_first else 0 :: 2]
        picture[:edge] = moments[number][:edge]
        yield picture


def interlaced(frames: int, size: tuple[int, int], top_first: bool = True) -> Maker:
    """A recording of `woven` pictures."""
    order = "tff=1" if top_first else "bff=1"
    options = {"x264-params": order, "qp": "10"}
    return lambda path: encode(path, woven(frames, size, top_first), options=options)


def field_pictures(frames: int, size: tuple[int, int], apart: bool = False) -> Maker:
    """H.264 whose fields are pictures of their own, as camcorders write it; no encoder here does, so it is raw PCM.

    Both fields of a frame share a packet and its time, or have their own, `apart`.
    `size` must be a multiple of 16 by 32. Syntax: ITU-T H.264, 7.3.
    """
    width, height = size
    ue = _exp_golomb
    vui = "0000" + f"1{1:032b}{48:032b}1" + "000" + "11" + ue(0) * 2 + ue(10) * 2 + ue(0) + ue(1)
    sps = f"{77:08b}{0:08b}{40:08b}" + ue(0) * 3 + ue(4) + ue(1) + "0" + ue(width // 16 - 1) + ue(height // 32 - 1)
    head = _nal(0x67, sps + "0010" + "1" + vui + "1") + _nal(
        0x68, ue(0) * 2 + "00" + ue(0) * 3 + "000" + "111" + "1001"
    )

    def field(rows: np.ndarray, number: int, bottom: bool) -> bytes:
        header = ue(0) + ue(7) + ue(0) + "0000" + "1" + str(int(bottom))
        header += f"{1:08b}0" if bottom else ue(number % 2) + f"{0:08b}00"
        bits = header + "1" + ue(1) + ue(25)  # no change of the quantizer, no deblocking; a block of raw samples
        start = int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big")
        blocks = rows.reshape(height // 32, 16, width // 16, 16).swapaxes(1, 2).reshape(-1, 256)
        coded = b"\r\0".join(block.tobytes() + b"\x80" * 128 for block in blocks)
        return b"\0\0\1\x09\x10" + _escaped(0x61 if bottom else 0x65, start + coded + b"\x80")

    def make(path: Path) -> None:
        with av.open(str(path), "w") as container:
            stream = container.add_mux_stream("h264", rate=24, width=width, height=height)
            for number, picture in enumerate(pictures(frames, size)):
                grey = (16 + picture.mean(axis=2) * 219 / 255).astype(np.uint8)
                first, second = field(grey[::2], number, False), field(grey[1::2], number, True)
                fields = (head + first, second) if apart else (head + first + second,)
                for later, data in enumerate(fields):
                    mux_one(container, stream, data, 2 * number + later, Fraction(1, 48), 2 // len(fields), not later)

    return make


def pictures(frames: int, size: tuple[int, int], **settings: Any) -> Iterator[np.ndarray]:
    """The pictures of `make_video` with patches of known colours, [height, width, 3]."""
    return drawn(frames, size, patches=PATCHES, **settings)


def encode(
    path: Path,
    images: Iterator[np.ndarray],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pixel_ratio: Fraction | None = None,
    pixel_format: str = "yuv420p",
) -> None:
    """Encodes pictures at 24 frames/s."""
    with unchanged_priority(), av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=24, options=ENCODER_OPTIONS.get(codec, {}) | (options or {}))
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pixel_format
                stream.codec_context.thread_count = 1
                if pixel_ratio:
                    stream.codec_context.sample_aspect_ratio = pixel_ratio
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _exp_golomb(value: int) -> str:
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _nal(kind: int, bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return _escaped(kind, int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _escaped(kind: int, payload: bytes) -> bytes:
    return b"\0\0\0\1" + bytes([kind]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", payload)
