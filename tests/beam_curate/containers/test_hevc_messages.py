"""Metadata beside the frames of a stream costs no frame, well-formed or not."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import pytest

from beam_curate.video.decode import read_frames
from tests.support import media

FRAMES, SIZE = 24, (160, 96)
PREFIX, SUFFIX = b"\x4e\x01", b"\x50\x01"  # NAL unit headers of messages before and after the slices (H.265, 7.3.1.2)
# Types of messages: some that FFmpeg's decoder checks, and others.
KINDS = (0, 1, 3, 4, 5, 6, 19, 45, 47, 56, 128, 129, 132, 136, 137, 142, 144, 147, 148, 149, 165, 176, 200)
MALFORMED = {
    "longer than its unit": bytes([5, 200]) + b"a" * 20,
    "size without end": b"\x05" + b"\xff" * 40,
    "type without end": b"\xff" * 40,
    "type alone": b"\x04",
    "nothing": b"",
    "two, the second cut off": bytes([5, 16]) + b"a" * 16 + bytes([4, 9, 0xB5]),
    "closed captions that claim too many": bytes([4, 11]) + b"\xb5\x00\x31GA94\x03\xdf\xff\xfc",
    "a long type": b"\xff\xff\x20\x04abcd",
}


@pytest.fixture(scope="module")
def hevc(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("hevc") / "a.mp4"
    return media.make_video(path, frames=FRAMES, size=SIZE, codec="libx265", keyframe_interval=12)


def escaped(data: bytes) -> bytes:
    """Adds emulation prevention bytes (H.265, 7.4.2)."""
    made, zeros = bytearray(), 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            made.append(3)
            zeros = 0
        made.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(made)


def with_unit(source: Path, target: Path, message: bytes, header: bytes) -> Path:
    """Copies a video and adds a unit with a message before or after each frame."""
    unit = header + escaped(message + b"\x80")
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if not packet.size:
                continue
            framed = struct.pack(">I", len(unit)) + unit
            data = framed + bytes(packet) if header == PREFIX else bytes(packet) + framed
            new = av.Packet(data)
            new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
            new.time_base, new.is_keyframe, new.stream = packet.time_base, packet.is_keyframe, copy
            writer.mux(new)
    return target


def numbers(path: Path) -> list[int]:
    found = list(read_frames(str(path)))
    assert not any(damaged for _, damaged in found)
    return [media.read_frame_number(frame) for frame, _ in found]


@pytest.mark.parametrize("header", [PREFIX, SUFFIX], ids=["before", "after"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_any_type_and_length_costs_no_frame(tmp_path, hevc, kind, header):
    for size in (0, 1, 4, 23, 60):
        for fill in (b"\0", b"\xb5"):
            path = with_unit(hevc, tmp_path / "a.mp4", bytes([kind, size]) + fill * size, header)
            assert numbers(path) == list(range(FRAMES)), (size, fill)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_malformed_messages_cost_no_frame(tmp_path, hevc, message, suffix):
    for header in (PREFIX, SUFFIX):
        assert numbers(with_unit(hevc, tmp_path / f"a.{suffix}", message, header)) == list(range(FRAMES))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_messages_that_affect_how_frames_are_shown_are_kept(tmp_path, hevc, suffix):
    """Another transfer function (18: HLG) and a turn of the display, beside captions that are cut off."""
    # Neither cancelled (1 bit) nor flipped (2), 16384 / 65536 of a whole turn (16), for all that follows (1).
    turned = bytes([47, 3, 0x08, 0x00, 0x10])
    for message, fact in (
        (bytes([4, 1, 0xB5, 147, 1, 18]), lambda frame: frame.color_trc == 18),
        (bytes([4, 1, 0xB5]) + turned, lambda frame: frame.rotation % 360 != 0),
    ):
        path = with_unit(hevc, tmp_path / f"a.{suffix}", message, PREFIX)
        frames = [frame for frame, _ in read_frames(str(path))]
        assert len(frames) == FRAMES
        assert all(fact(frame) for frame in frames)


def test_a_damaged_slice_still_counts(tmp_path, hevc):
    path = with_unit(hevc, tmp_path / "a.mp4", bytes([4, 1, 0xB5]), PREFIX)
    with av.open(str(path)) as container:
        position, size = next((p.pos, p.size) for i, p in enumerate(container.demux(video=0)) if i == 15)
    content = bytearray(path.read_bytes())
    content[position + 13 : position + 13 + min(40, size - 13)] = b"\xa5" * min(40, size - 13)
    path.write_bytes(content)
    assert any(damaged for _, damaged in read_frames(str(path)))


BESIDE_JPEG = {
    "zeros behind": (b"", bytes(100)),
    "text behind": (b"", b"not a picture" * 9),
    "fill bytes behind": (b"", b"\xff" * 33),
    "an empty comment": (b"\xff\xfe\0\2", b""),
    "Exif that is none": (b"\xff\xe1\0\x0cExif\0\0junk", b""),
    "a colour profile cut off": (b"\xff\xe2\0\x10ICC_PROFILE\0\5\1", b""),
    "Adobe cut off": (b"\xff\xee\0\7Adobe", b""),
    "an unknown one": (b"\xff\xeb\0\5abc", b""),
}


@pytest.mark.parametrize("name", BESIDE_JPEG)
def test_extra_bytes_in_a_jpeg_cost_no_frame(tmp_path, name):
    source = media.make_video(tmp_path / "a.mov", frames=12, size=SIZE, codec="mjpeg", pixel_format="yuvj420p")
    inside, behind = BESIDE_JPEG[name]
    path = tmp_path / "b.mov"
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                data = bytes(packet)
                new = av.Packet(data[:2] + inside + data[2:] + behind)
                new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
                new.time_base, new.is_keyframe, new.stream = packet.time_base, True, copy
                writer.mux(new)
    assert numbers(path) == list(range(12))


def test_a_malformed_message_in_the_header_costs_no_frame(tmp_path, hevc):
    """Box hvcC may hold messages as well as parameter sets (ISO/IEC 14496-15, 8.3.3.1)."""
    content = bytearray(hevc.read_bytes())
    unit = PREFIX + bytes([4, 1, 0xB5, 0x80])
    array = bytes([39]) + struct.pack(">HH", 1, len(unit)) + unit
    at = content.rindex(b"hvcC")
    content[at + 4 + 22] += 1  # arrays
    end = at - 4 + struct.unpack_from(">I", content, at - 4)[0]
    content[end:end] = array
    for name in (b"hvcC", b"hev1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place = (content.index if name == b"moov" else content.rindex)(name) - 4
        struct.pack_into(">I", content, place, struct.unpack_from(">I", content, place)[0] + len(array))
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert numbers(path) == list(range(FRAMES))
