"""Masks an API key in server messages, even if the server echoes it in pieces or in another encoding."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

_RUN = 8
"""The shortest run of a key's characters that is masked."""

_Character = tuple[str, int, int]
"""A character with its start and end in the text."""

_LONGEST = 20_000  # characters of a text; the rest is cut off
_MASK = "***"
# \u002d and \x2d of JSON and of Python, \n and \/, %2D of URLs, &#45; and &#x2d; of HTML.
_ESCAPE = re.compile(
    r"\\+u(?P<u>[0-9a-fA-F]{4})|\\+x(?P<x>[0-9a-fA-F]{2})|\\+[nrtbf]|%(?:25)*(?P<url>[0-9a-fA-F]{2})"
    r"|&#x(?P<hex>[0-9a-fA-F]{1,6});|&#(?P<dec>[0-9]{1,7});|.",
    re.DOTALL,
)


def masked(text: str, key: str | None) -> str:
    """Returns a text in which each run of at least 8 of the key's characters is replaced with ``***``.

    Runs are found across white space, punctuation and escapes, in any case, and also in base64 and hexadecimal forms of
    the key. A shorter key is masked as a whole.

    >>> masked("Incorrect API key sk-0123456789abcdef provided", "sk-0123456789abcdef")
    'Incorrect API key *** provided'
    """
    text = text[:_LONGEST]
    if not key:
        return text
    spans: list[tuple[int, int]] = []
    forms = [_alphanumeric(form) for form in _forms(key)]
    for characters in (_characters(text), _plain(text)):
        spans += _found([one for one in characters if not one[0].isspace()], [key.lower()])
        spans += _found([one for one in characters if one[0].isalnum()], forms)
    return _without(text, sorted(spans))


def _found(characters: list[_Character], forms: list[str]) -> Iterator[tuple[int, int]]:
    """Yields the spans of runs of one of the forms."""
    letters = "".join(letter for letter, _, _ in characters)
    for form in filter(None, forms):
        length = min(_RUN, len(form))
        grams = {form[start : start + length] for start in range(len(form) - length + 1)}
        for start in range(len(letters) - length + 1):
            if letters[start : start + length] in grams:
                yield characters[start][1], characters[start + length - 1][2]


def _forms(key: str) -> Iterator[str]:
    """Yields a key and its encodings."""
    yield key
    if len(key) < _RUN:
        return
    raw = key.encode()
    yield raw.hex()
    for offset in range(
        3
    ):  # base64 turns 3 bytes into 4 characters: in a longer text the key may begin at any of the 3
        encoded = base64.b64encode(b"\0" * offset + raw).decode()
        yield encoded[offset + (offset > 0) : (offset + len(raw)) * 8 // 6]


def _alphanumeric(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum()).lower()


def _characters(text: str) -> list[_Character]:
    """Returns the lower-case characters of a text with their spans, escapes resolved."""
    return [(letter, *match.span()) for match in _ESCAPE.finditer(text) for letter in _resolved(match).lower()]


def _plain(text: str) -> list[_Character]:
    return [(lower, place, place + 1) for place, letter in enumerate(text) for lower in letter.lower()]


def _resolved(match: re.Match[str]) -> str:
    for name, base in (("u", 16), ("x", 16), ("url", 16), ("hex", 16), ("dec", 10)):
        if match[name]:
            number = int(match[name], base)
            return chr(number) if number < 0x110000 else ""
    return match[0] if len(match[0]) == 1 else ""


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    end = 0
    for start, stop in spans:
        if start > end or not parts:
            parts += [text[end:start], _MASK]
        end = max(end, stop)
    return "".join([*parts, text[end:]])
