"""Mutants of small videos: each is a function of its number alone."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from pathlib import Path

from tests.support.media import make_video

_SIZE = (128, 72)


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Makes one second or two of video in each of the usual containers and codecs."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {"frames": 36, "rate": Fraction(24), "size": _SIZE, "keyframe_interval": 12}
    made = (
        make_video(folder / "h264.mp4", options={"preset": "veryfast"}, audio="aac", seed=1, **common),
        make_video(folder / "hevc.mp4", codec="libx265", options={"x265-params": "log-level=none"}, seed=2, **common),
        make_video(folder / "h264.mkv", options={"preset": "veryfast"}, seed=3, **common),
        make_video(folder / "mpeg2.ts", codec="mpeg2video", audio="mp2", seed=4, **common),
        make_video(folder / "mpeg4.avi", codec="mpeg4", seed=5, **common),
        make_video(folder / "vp9.webm", codec="libvpx-vp9", seed=6, **common),
        make_video(folder / "mjpeg.mov", codec="mjpeg", pixel_format="yuvj420p", seed=7, **common),
        make_video(folder / "h264.flv", options={"preset": "veryfast"}, seed=8, **common),
    )
    return {path.name: path.read_bytes() for path in made}


def mutant(number: int, seeds: dict[str, bytes]) -> tuple[str, bytes]:
    """Returns the file name and the content of a mutant; one to four changes to one of the seeds."""
    chance = random.Random(number)
    name = chance.choice(sorted(seeds))
    data = bytearray(seeds[name])
    done = []
    for _ in range(chance.choice((1, 1, 2, 4))):
        kind = chance.choice(sorted(_MUTATIONS))
        data = bytearray(_MUTATIONS[kind](data, chance, seeds))
        done.append(kind)
    stem, suffix = name.split(".")
    return f"{number:06} {stem} {' '.join(done)}.{suffix}", bytes(data)


def _place(data: bytearray, chance: random.Random) -> tuple[int, int]:
    """Returns a range of bytes: anywhere, or near an end, where the headers are."""
    length = int(2 ** chance.uniform(0, 12))
    last = max(1, len(data))
    middle = chance.choice((chance.randrange(last), chance.randrange(min(last, 1000)), last - chance.randrange(last)))
    start = min(max(0, middle), len(data))
    return start, min(len(data), start + length)


def _flip(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    for _ in range(int(2 ** chance.uniform(0, 7))):
        if data:
            start, _ = _place(data, chance)
            data[min(start, len(data) - 1)] ^= 1 << chance.randrange(8)
    return bytes(data)


def _zero(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    start, end = _place(data, chance)
    return bytes(data[:start] + bytes(end - start) + data[end:])


def _randomize(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    start, end = _place(data, chance)
    return bytes(data[:start] + chance.randbytes(end - start) + data[end:])


def _duplicate(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    start, end = _place(data, chance)
    return bytes(data[:end] + data[start:end] * chance.choice((1, 3, 50)) + data[end:])


def _remove(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    start, end = _place(data, chance)
    return bytes(data[:start] + data[end:])


def _truncate(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    return bytes(data[: int(len(data) * chance.random())])


def _resize_box(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    """Changes 32 bits that stand before a name, or anywhere in files without such names."""
    names = (b"moov", b"trak", b"mdia", b"stbl", b"stco", b"stsz", b"stts", b"ctts", b"elst", b"mdat", b"avcC", b"stsd")
    names += (b"LIST", b"strh", b"idx1", b"movi", b"moof")
    found = [place for place in (data.find(name) for name in names) if place >= 4]
    place = chance.choice(found) + chance.choice((-4, 4, 8, 12, 16, 20)) if found else _place(data, chance)[0]
    value = chance.choice((0, 1, 7, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFF0, chance.getrandbits(32), chance.getrandbits(16)))
    return bytes(data[:place] + struct.pack(">I", value) + data[place + 4 :])


def _splice(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> bytes:
    """The beginning of one file and the end of another."""
    other = seeds[chance.choice(sorted(seeds))]
    return bytes(data[: int(len(data) * chance.random())]) + other[int(len(other) * chance.random()) :]


_MUTATIONS = {
    "flip": _flip,
    "zero": _zero,
    "randomize": _randomize,
    "duplicate": _duplicate,
    "remove": _remove,
    "truncate": _truncate,
    "box": _resize_box,
    "splice": _splice,
}
