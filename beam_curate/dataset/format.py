"""What the trainer needs of an item, said once: the run leaves out what breaks a rule, `verify` finds it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

_LINE_PIXELS = 32
"""decord 0.6.0, the trainer's reader, pads each line of RGB to a multiple of so many pixels (FFmpeg's padding)."""

MIN_PICTURE_STD = 1.0
"""Of 255. A standard deviation below it, over the pixels of all sampled frames, means one plain colour."""

MOST_UNREADABLE = 0.2
"""Share of a caption's characters that T5 may have no token for: above it, too little of the caption is left.

Its vocabulary was made from English, German, French and Romanian (Raffel et al. 2020, 3.1.1): each run of letters of
another script becomes the same unknown token, so that captions in Chinese all have nearly one embedding.
"""

# Of ASCII, T5's vocabulary lacks these; beyond it, it has letters with accents of its four languages and some signs.
_NOT_IN_T5 = frozenset("<>{}\\^`~")
_LAST_LATIN_LETTER = "\u024f"  # Latin Extended-B; what lies beyond is another script, a symbol or punctuation
_GENERAL_PUNCTUATION = range(0x2010, 0x2028)

# SentencePiece's rule nmt_nfkc, which T5's tokenizer follows (builder.cc, BuildNmtNFKCMap): these are dropped ...
_DROPPED = (*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F)
# ... and these are spaces: line ends, marks of zero width and of direction, SentencePiece's own mark for a space.
_SPACES = (0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B, 0x200C, 0x200E, 0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD)
_NMT = dict.fromkeys(_DROPPED, "") | dict.fromkeys(_SPACES, " ")

_MANY, _LARGE_SHARE = 3, 0.1  # so many items with one caption, of all, are told

MOST_PIXELS = 2**26
"""Of a frame: twice 8K. The trainer holds 93 frames of it in memory at once."""

MOST_CAPTION_BYTES = 2**20
"""A caption is cut at 512 tokens, which are a few thousand bytes."""


def size_fault(width: int, height: int) -> str | None:
    """Returns what is wrong with the size of a video in pixels, or None.

    decord takes the length of a padded line over the width for the number of colours, unless there is a rest: that
    fails where it is a whole number and not 3, which is at 1, 2, 3, 4, 6, 8, 12, 16, 24, 48 and 72 pixels.
    """
    if width * height > MOST_PIXELS:
        return f"has frames of {width}x{height}; more than {MOST_PIXELS} pixels are no video for a trainer"
    line = 3 * _LINE_PIXELS * -(-width // _LINE_PIXELS)
    if line % width == 0 and line != 3 * width:
        return f"is {width} pixels wide, which decord 0.6.0 cannot read; another width will do"
    return None


def frames_fault(num_frames: int, min_frames: int) -> str | None:
    """Returns what is wrong with the number of frames of a video, or None."""
    if num_frames < min_frames:
        return f"has {num_frames} frames; the trainer needs at least {min_frames}"
    return None


def language_fault(unreadable: float) -> str | None:
    """Returns what is wrong with a caption of which T5 has no tokens for a share of the characters, or None."""
    if unreadable > MOST_UNREADABLE:
        return f"T5 has no tokens for {unreadable:.0%} of the caption's characters; have it written in English"
    return None


def blank_fault(picture_std: float) -> str | None:
    """Returns what is wrong with a video whose sampled pixels differ so little (of 255), or None."""
    if picture_std < MIN_PICTURE_STD:
        return "shows one plain colour from beginning to end"
    return None


def caption_fault(caption: str) -> str | None:
    """Returns what is wrong with the text of a caption, or None."""
    size = len(caption.encode("utf-8", "surrogatepass"))
    if size > MOST_CAPTION_BYTES:
        return f"has {size} bytes; a caption has at most {MOST_CAPTION_BYTES}"
    if any("\ud800" <= letter <= "\udfff" for letter in caption):
        return "has halves of characters (surrogates), which UTF-8 cannot hold"
    if not as_tokenized(caption):
        return "is empty; an item needs a caption"
    return None


def repeated(captions: Mapping[Any, int]) -> int:
    """Returns how many items have the most frequent caption, or 0 where these are not many.

    Args:
        captions: How many items have each.
    """
    most = max(captions.values(), default=0)
    return most if most >= _MANY and most > _LARGE_SHARE * sum(captions.values()) else 0


def as_tokenized(caption: str) -> str:
    """Returns what T5's tokenizer makes of a caption first: control characters dropped, NFKC, white space joined."""
    return " ".join(part for part in unicodedata.normalize("NFKC", caption.translate(_NMT)).split(" ") if part)


def as_encoded(caption: str) -> str:
    """Returns a caption in which all that T5 may not have tokens for is the same: so much may embeddings share."""
    letters: list[str] = []
    for letter in as_tokenized(caption):
        if _may_be_unknown(letter):
            if letters[-1:] != ["\ufffd"]:
                letters.append("\ufffd")
        else:
            letters.append(letter)
    return "".join(letters)


def _may_be_unknown(letter: str) -> bool:
    if letter in _NOT_IN_T5 or not letter.isprintable():
        return True
    return letter > _LAST_LATIN_LETTER and ord(letter) not in _GENERAL_PUNCTUATION and letter != "€"
