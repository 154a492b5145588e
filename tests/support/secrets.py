"""Looks for secrets in bytes that are packed in each other: base64, bz2, zlib and pickles, as Beam packs functions."""

from __future__ import annotations

import base64
import binascii
import bz2
import re
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{20,}")
_PACKED = re.compile(rb"BZh[1-9]1AY&SY|\x78[\x01\x5e\x9c\xda]")


def layers(data: bytes) -> Iterator[bytes]:
    """Yields bytes, and whatever is packed in them, in that, and so on; texts of pickles need no unpacking."""
    seen, waiting = {data}, [data]
    while waiting:
        layer = waiting.pop()
        yield layer
        for inner in (*_decoded(layer), *_unpacked(layer)):
            if inner and inner not in seen:
                seen.add(inner)
                waiting.append(inner)


def found_in(data: bytes, secrets: Iterable[str]) -> set[str]:
    """Returns which secrets are in bytes, in whatever they are packed, also as URLs and headers have them."""
    forms = {form: secret for secret in secrets for form in _forms(secret)}
    return {secret for layer in layers(data) for form, secret in forms.items() if form in layer}


def _forms(secret: str) -> set[bytes]:
    """Returns how a secret is written; in UTF-16 as well, since some libraries keep texts that way."""
    quoted = urllib.parse.quote(secret, safe="")
    return {secret.encode(), quoted.encode(), secret.encode("utf-16-le"), base64.b64encode(secret.encode())}


def _decoded(data: bytes) -> Iterator[bytes]:
    """Yields what is in base64; where that begins is not known, since bytes before it may look like it."""
    for text in _BASE64.findall(data):
        for start in range(4):
            with_start = text[start:]
            try:
                yield base64.b64decode(with_start[: len(with_start) // 4 * 4])
                # the end without its padding
                yield base64.b64decode(with_start + b"=" * (-len(with_start) % 4))
            except binascii.Error:
                continue


def _unpacked(data: bytes) -> Iterator[bytes]:
    for found in _PACKED.finditer(data):
        unpack = bz2.BZ2Decompressor() if found[0].startswith(b"BZ") else zlib.decompressobj()
        try:
            yield unpack.decompress(data[found.start() :])
        except (OSError, zlib.error):
            continue
