"""Makers of files that `make_video` alone cannot write: other tracks, other headers."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from tests.support.media import PATCHES, make_video

Maker = Callable[[Path], object]
SRT = "1\n00:00:00,000 --> 00:00:01,000\nA subtitle.\n\n"
KLV = b"\x06\x0e+4" + bytes(12)  # a key of SMPTE 336M and nothing behind it


def video(**settings: Any) -> Maker:
    """A file as `make_video` writes it, with patches of known colours."""
    return lambda path: make_video(path, **({"patches": PATCHES} | settings))


def by_parts(part_names: tuple[str, ...], join: Callable[[Path, list[Path]], None], *parts: Maker) -> Maker:
    """Makes files in a folder of their own, then the wanted one from them."""

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=path.parent.parent) as folder:
            paths = [Path(folder) / name for name in part_names]
            for part_path, part in zip(paths, parts, strict=True):
                part(part_path)
            join(path, paths)

    return make


def remuxed(maker: Maker, suffix: str = ".mkv", **options: str) -> Maker:
    """The packets of what `maker` writes, in another container or with options of the muxer."""
    return by_parts((f"a{suffix}",), lambda path, parts: _mux(path, parts, options), maker)


def live(maker: Maker, suffix: str, muxer: str) -> Maker:
    """A stream written into a pipe, so that its header cannot say how long it is."""

    def join(path: Path, parts: list[Path]) -> None:
        with path.open("wb") as file:
            _mux(path, parts, {}, file=_Pipe(file), format=muxer)

    return by_parts((f"a{suffix}",), join, maker)


def with_tracks(maker: Maker, *others: Maker, suffix: str = ".mkv") -> Maker:
    """The tracks of several files in one, those of the first file first."""
    names = tuple(f"{number}{suffix}" for number in range(1 + len(others)))
    return by_parts(names, lambda path, parts: _mux(path, parts, {}), maker, *others)


def joined(*makers: Maker) -> Maker:
    """One transport stream whose pictures go on with another file's: the decoder meets new headers midway."""

    def join(path: Path, parts: list[Path]) -> None:
        with av.open(str(path), "w") as target:
            stream = None
            for part in parts:
                with av.open(str(part)) as source:
                    stream = stream or target.add_stream_from_template(source.streams.video[0])
                    for packet in source.demux(video=0):
                        if packet.size:
                            packet.stream = stream
                            target.mux(packet)

    return by_parts(tuple(f"{number}.ts" for number in range(len(makers))), join, *makers)


def after_each_other(*makers: Maker) -> Maker:
    """The bytes of transport streams one after the other, as `cat` leaves them: time begins anew."""

    def join(path: Path, parts: list[Path]) -> None:
        path.write_bytes(b"".join(part.read_bytes() for part in parts))

    return by_parts(tuple(f"{number}.ts" for number in range(len(makers))), join, *makers)


def from_the_middle(maker: Maker) -> Maker:
    """A transport stream without its first fifth, as a recorder that was switched on late leaves it."""

    def make(path: Path) -> None:
        maker(path)
        content = path.read_bytes()
        path.write_bytes(content[len(content) // 188 // 5 * 188 :])

    return make


def sound(rate: int, layout: str, duration_s: float, codec: str = "aac") -> Maker:
    """A tone and no picture."""

    def make(path: Path) -> None:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            times_s = np.arange(int(rate * duration_s)) / rate
            samples = (8000 * np.sin(2 * np.pi * 220 * times_s)).astype(np.int16)
            samples = samples.repeat(stream.codec_context.channels)[np.newaxis]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
            container.mux([*stream.encode(frame), *stream.encode(None)])

    return make


def with_subtitles(maker: Maker, codec: str) -> Maker:
    """A subtitle track beside the pictures, listed first."""

    def join(path: Path, parts: list[Path]) -> None:
        (source_path,) = parts
        with av.open(str(source_path)) as source, av.open(str(path), "w") as target:
            text = target.add_mux_stream(codec, time_base=Fraction(1, 1000))
            stream = target.add_stream_from_template(source.streams.video[0])
            line = b"A subtitle."
            line = len(line).to_bytes(2, "big") + line if codec == "mov_text" else line
            mux_one(target, text, line, 0, Fraction(1, 1000), 1000)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)

    return by_parts(("a.mp4",), join, maker)


def with_data(maker: Maker) -> Maker:
    """A track of metadata packets, as drones write it, listed first."""

    def join(path: Path, parts: list[Path]) -> None:
        (source_path,) = parts
        with av.open(str(source_path)) as source, av.open(str(path), "w") as target:
            data = target.add_data_stream("klv")
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    mux_one(target, data, KLV, packet.dts, packet.time_base)
                    packet.stream = stream
                    target.mux(packet)

    return by_parts(("a.mp4",), join, maker)


def with_cover(maker: Maker) -> Maker:
    """A cover picture: in mp4 one that FFmpeg lists before the film, in mkv an attachment."""

    def join(path: Path, parts: list[Path]) -> None:
        film, cover = parts
        with av.open(str(film)) as source, av.open(str(cover)) as picture, av.open(str(path), "w") as target:
            (jpeg,) = (packet for packet in picture.demux(video=0) if packet.size)
            if path.suffix == ".mkv":
                target.add_attachment("cover.jpg", "image/jpeg", bytes(jpeg))
            else:
                jpeg.stream = target.add_stream_from_template(picture.streams.video[0])
                jpeg.stream.disposition = Disposition.attached_pic
            stream = target.add_stream_from_template(source.streams.video[0])
            if path.suffix != ".mkv":
                target.mux(jpeg)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        if path.suffix != ".mkv":
            _user_data_first(path)

    cover = video(frames=1, size=(320, 320), codec="mjpeg", pixel_format="yuvj420p", seed=9)
    return by_parts(("a.mp4", "cover.mkv"), join, maker, cover)


def header_only(path: Path) -> None:
    """A track and no sample in it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        container.start_encoding()


def edited(maker: Maker, skip: int = 0, keep: int | None = None) -> Maker:
    """An edit list that shows only some of the frames stored: all after the first `skip`, and only `keep`."""

    def make(path: Path) -> None:
        maker(path)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            media_scale, frame_s = stream.time_base.denominator, 1 / stream.average_rate
            shown = keep if keep is not None else stream.frames - skip
        content = bytearray(path.read_bytes())
        at = content.index(b"elst") + 4
        (count,) = struct.unpack_from(">I", content, at + 4)
        at += 8 + 12 * (count - 1)
        _, start = struct.unpack_from(">Ii", content, at)
        movie_scale = struct.unpack_from(">I", content, content.index(b"mvhd") + 4 + 12)[0]
        edit = (int(shown * frame_s * movie_scale), start + int(skip * frame_s * media_scale))
        struct.pack_into(">Ii", content, at, *edit)
        path.write_bytes(content)

    return make


class _Pipe:
    """A sink that cannot seek."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)


def _mux(path: Path, parts: list[Path], options: dict[str, str], file: Any = None, format: str | None = None) -> None:
    """Copies all tracks of some files into one, interleaved by time."""
    sources = [av.open(str(part)) for part in parts]
    with av.open(file or str(path), "w", format=format, options=options) as target:
        packets: list[Any] = []
        for source in sources:
            copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            packets += [
                (float(packet.dts * packet.time_base), copies[packet.stream_index], packet)
                for packet in source.demux()
                if packet.size
            ]
        for _, stream, packet in sorted(packets, key=lambda item: item[0]):
            packet.stream = stream
            target.mux(packet)
    for source in sources:
        source.close()


def mux_one(
    target: Any, stream: Any, data: bytes, time: int, time_base: Fraction, duration: int = 0, key: bool = False
) -> None:
    packet = av.Packet(data)
    packet.is_keyframe = key
    packet.pts = packet.dts = time
    packet.time_base, packet.duration = time_base, duration
    packet.stream = stream
    target.mux(packet)


def _user_data_first(path: Path) -> None:
    """Moves the user data, where an mp4 keeps its cover, before the tracks: FFmpeg lists streams as they come."""
    content = path.read_bytes()
    moov = content.index(b"moov") - 4
    size = int.from_bytes(content[moov : moov + 4], "big")
    boxes, at = [], moov + 8
    while at < moov + size:
        length = int.from_bytes(content[at : at + 4], "big")
        boxes.append(content[at : at + length])
        at += length
    boxes.sort(key=lambda box: (b"mvhd", b"udta").index(box[4:8]) if box[4:8] in (b"mvhd", b"udta") else 2)
    path.write_bytes(content[: moov + 8] + b"".join(boxes) + content[moov + size :])
