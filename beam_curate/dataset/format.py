"""What the trainer requires of an item: the run leaves out windows that break a rule, `verify` reports them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

_LINE_PIXELS = 32
"""decord 0.6.0, the trainer's reader, pads each line of RGB to a multiple of this many pixels (FFmpeg's padding)."""

MIN_GREY_STD = 1.0
"""Minimum standard deviation of the grey levels, out of 255, over all sampled frames: below it, a video is blank."""

MAX_UNREADABLE = 0.2
"""Maximum share of a caption's characters that T5 has no token for.

Its vocabulary covers English, German, French and Romanian (Raffel et al. 2020, 3.1.1). Each run of letters of another
script becomes the same unknown token, so that all captions in Chinese have almost the same embedding.
"""

# ASCII characters that T5's vocabulary lacks. Beyond ASCII, it has accented letters of its languages and some signs.
_NOT_IN_T5 = frozenset("<>{}\\^`~")
_LAST_LATIN_LETTER = "\u024f"  # Latin Extended-B; beyond it are other scripts, symbols and punctuation
_GENERAL_PUNCTUATION = range(0x2010, 0x2028)

# SentencePiece's rule nmt_nfkc, which T5's tokenizer uses (builder.cc, BuildNmtNFKCMap), drops these characters ...
_DROPPED = (*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F)
# ... and maps these to spaces: line ends, zero-width and directional marks, SentencePiece's own mark for a space.
_SPACES = (0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B, 0x200C, 0x200E, 0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD)
_NMT = dict.fromkeys(_DROPPED, "") | dict.fromkeys(_SPACES, " ")

_MANY, _LARGE_SHARE = 3, 0.1  # items with the same caption, their share of all items

MAX_PIXELS = 2**26
"""Of a frame: twice 8K. The trainer holds 93 frames of a video in memory at once."""

MAX_CAPTION_BYTES = 2**20
"""The trainer uses 512 tokens of a caption, which are a few thousand bytes."""


def size_fault(width: int, height: int) -> str | None:
    """Returns what is wrong with the size of a video in pixels, or None.

    decord takes the length of a padded line divided by the width for the number of colours if there is no remainder.
    That is wrong if the quotient is not 3: at widths of 1, 2, 3, 4, 6, 8, 12, 16, 24, 48 and 72 pixels.

    >>> size_fault(1280, 720)
    >>> size_fault(72, 48)
    'is 72 pixels wide, which decord 0.6.0 cannot read; another width will do'
    """
    if width * height > MAX_PIXELS:
        return f"has frames of {width}x{height}; more than {MAX_PIXELS} pixels are no video for a trainer"
    line = 3 * _LINE_PIXELS * -(-width // _LINE_PIXELS)
    if line % width == 0 and line != 3 * width:
        return f"is {width} pixels wide, which decord 0.6.0 cannot read; another width will do"
    return None


def frames_fault(num_frames: int, min_frames: int) -> str | None:
    """Returns what is wrong with the number of frames of a video, or None.

    >>> frames_fault(80, min_frames=94)
    'has 80 frames; the trainer needs at least 94'
    """
    if num_frames < min_frames:
        return f"has {num_frames} frames; the trainer needs at least {min_frames}"
    return None


def language_fault(unreadable: float) -> str | None:
    """Returns what is wrong with a caption given the share of its characters that T5 has no tokens for, or None.

    >>> language_fault(0.9)
    "T5 has no tokens for 90% of the caption's characters; have it written in English"
    """
    if unreadable > MAX_UNREADABLE:
        return f"T5 has no tokens for {unreadable:.0%} of the caption's characters; have it written in English"
    return None


def blank_fault(grey_std: float) -> str | None:
    """Returns what is wrong with a video given the standard deviation of its grey levels (out of 255), or None.

    >>> blank_fault(0.3)
    'shows one plain colour from beginning to end'
    """
    if grey_std < MIN_GREY_STD:
        return "shows one plain colour from beginning to end"
    return None


def caption_fault(caption: str) -> str | None:
    """Returns what is wrong with the text of a caption, or None.

    >>> caption_fault("A red car drives through the rain.")
    >>> caption_fault(" ")
    'is empty; an item needs a caption'
    """
    size = len(caption.encode("utf-8", "surrogatepass"))
    if size > MAX_CAPTION_BYTES:
        return f"has {size} bytes; a caption has at most {MAX_CAPTION_BYTES}"
    if any("\ud800" <= letter <= "\udfff" for letter in caption):
        return "has halves of characters (surrogates), which UTF-8 cannot hold"
    if not as_tokenized(caption):
        return "is empty; an item needs a caption"
    return None


def repeated(captions: Mapping[Any, int]) -> int:
    """Returns how many items have the most frequent caption, or 0 if these are few.

    >>> repeated({"A car.": 3, "A dog.": 1})
    3

    Args:
        captions: The number of items per caption.
    """
    most = max(captions.values(), default=0)
    return most if most >= _MANY and most > _LARGE_SHARE * sum(captions.values()) else 0


def as_tokenized(caption: str) -> str:
    r"""Returns a caption as T5's tokenizer normalizes it: no control characters, NFKC, single spaces.

    >>> as_tokenized(" a\u200b\n car ")
    'a car'
    """
    return " ".join(part for part in unicodedata.normalize("NFKC", caption.translate(_NMT)).split(" ") if part)


def as_encoded(caption: str) -> str:
    """Returns a caption with each run of characters that T5 may lack replaced by one mark.

    Captions that are equal in this form may have equal embeddings.

    >>> as_encoded("a sign says 停.") == as_encoded("a sign says 走.")
    True
    """
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
