"""Neutralizes supplemental enhancement information (SEI) messages of HEVC that would cost frames.

FFmpeg's decoder in strict mode rejects a frame for a malformed SEI message, although decoding does not depend on it.
So messages are edited in place before decoding: those that do not affect how frames are shown, or that are too short,
get a type that decoders skip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

_START_CODE = b"\0\0\1"
_IGNORED_TYPE = 0x7F  # reserved; as a byte, it does not change how the bytes around it are escaped
_HEADER_BYTES = 2
_SEI = (39, 40)  # types of NAL units (H.265, 7.4.2.2): before and after the slices
_FILLER = 38  # decoders skip such units
# Message types that are kept, with the minimum size of each in bytes (H.265, D.2): picture timing, which tells
# interlacing; recovery points; display orientation; active parameter sets; mastering display colour volume; content
# light level; alternative transfer characteristics, as in HLG.
_KEPT = {1: 0, 6: 1, 47: 1, 129: 1, 137: 24, 144: 4, 147: 1}
_RECOVERY_POINT, _ACTIVE_PARAMETER_SETS = 6, 129


def sanitized_extradata(extradata: bytes | None) -> bytes | None:
    """Returns a codec's extradata with its SEI messages neutralized; None if nothing changes.

    >>> sanitized_extradata(bytes.fromhex("00000001 4e01 0501aa80")).hex(" ", -4)  # a message of type 5: user data
    '00000001 4e017f01 aa80'
    """
    if not extradata:
        return None
    data = bytearray(extradata)
    _sanitize(data, _units_of_record(data) if data[0] == 1 else _units_with_start_code(data))
    return bytes(data) if data != extradata else None


def length_size(extradata: bytes | None) -> int:
    """Returns the size in bytes of the length before each NAL unit; 0 if units begin with a start code.

    >>> length_size(bytes.fromhex("00000001"))
    0
    """
    if not extradata or extradata[0] != 1:
        return 0
    return (extradata[21] & 3) + 1 if len(extradata) > 21 else 4  # ISO/IEC 14496-15, 8.3.3.1


def sanitize(packet: av.Packet[Any], length_size: int) -> None:
    """Neutralizes the SEI messages in a packet of HEVC, in place.

    >>> packet = av.Packet(bytes.fromhex("00000001 4e01 0501aa80"))  # a message of type 5: user data
    >>> sanitize(packet, length_size=0)
    >>> bytes(packet).hex(" ", -4)
    '00000001 4e017f01 aa80'

    Args:
        packet: The packet of one frame.
        length_size: See the function `length_size`.
    """
    data = bytearray(packet)
    if _sanitize(data, _units_with_length(data, length_size) if length_size else _units_with_start_code(data)):
        packet.update(bytes(data))


def _sanitize(data: bytearray, units: Iterator[tuple[int, int]]) -> bool:
    """Neutralizes the SEI messages among some NAL units; returns whether there are any."""
    any_found = False
    for start, end in units:
        if end - start <= _HEADER_BYTES or data[start] >> 1 & 63 not in _SEI:
            continue
        any_found = True
        if not _sanitize_unit(data, start + _HEADER_BYTES, end):
            data[start] = data[start] & 0x81 | _FILLER << 1
    return any_found


def _units_of_record(data: bytearray) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of the NAL units in a decoder configuration record (ISO/IEC 14496-15, 8.3.3.1)."""
    at = 23  # where the arrays of units begin
    while at + 3 <= len(data):
        count = int.from_bytes(data[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            if at + 2 > len(data):
                return
            start = at + 2
            at = start + int.from_bytes(data[at:start], "big")
            yield start, min(at, len(data))


def _units_with_length(data: bytearray, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at + size <= len(data):
        start = at + size
        at = start + int.from_bytes(data[at:start], "big")
        yield start, min(at, len(data))


def _units_with_start_code(data: bytearray) -> Iterator[tuple[int, int]]:
    at = data.find(_START_CODE)
    while at >= 0:
        after = data.find(_START_CODE, at + 3)
        yield at + 3, after if after >= 0 else len(data)
        at = after


def _sanitize_unit(data: bytearray, start: int, end: int) -> bool:
    """Gives unwanted messages of one NAL unit another type; returns whether the unit is well-formed."""
    places = _payload_places(data, start, end)
    while places and data[places[-1]] == 0:
        places.pop()  # zeros that belong to the next start code
    at, last = 0, len(places) - 1  # the last byte holds the stop bit
    while at < last:
        type_at = at
        kind, at = _number(data, places, at)
        size, at = _number(data, places, at)
        if at + size > last:
            return False
        payload = bytes(data[place] for place in places[at : at + size])
        if at - type_at == 2 and not _is_wanted(kind, payload):
            data[places[type_at]] = _IGNORED_TYPE
        at += size
    return at == last > 0


def _payload_places(data: bytearray, start: int, end: int) -> list[int]:
    """Returns the positions of a unit's bytes without the emulation prevention bytes (H.265, 7.4.2)."""
    places, zeros = [], 0
    for place in range(start, end):
        if zeros >= 2 and data[place] == 3:
            zeros = 0
            continue
        places.append(place)
        zeros = zeros + 1 if data[place] == 0 else 0
    return places


def _number(data: bytearray, places: list[int], at: int) -> tuple[int, int]:
    """Reads a type or size, in which a byte 255 means that more follows; returns it and its end."""
    number = 0
    while at < len(places):
        byte = data[places[at]]
        number, at = number + byte, at + 1
        if byte != 255:
            break
    return number, at


def _is_wanted(kind: int, payload: bytes) -> bool:
    if kind not in _KEPT or len(payload) < _KEPT[kind]:
        return False
    if kind == _RECOVERY_POINT:
        return any(payload[:2])  # else its first number has more than 16 bits
    if kind == _ACTIVE_PARAMETER_SETS:  # exactly one sequence parameter set, with an id below 16
        return payload[0] & 2 != 0 and (payload[0] & 1 != 0 or any(payload[1:2]))
    return True
