"""What the trainer needs of an item, said once: the run leaves out what breaks a rule, `verify` finds it."""

from __future__ import annotations

import unicodedata

MIN_WIDTH = 64
"""Pixels. decord 0.6.0, the trainer's reader, fails on frames 16 to 48 pixels wide."""

MOST_UNREADABLE = 0.2
"""Share of a caption's characters that T5 may have no token for: above it, too little of the caption is left.

Its vocabulary was made from English, German, French and Romanian (Raffel et al. 2020, 3.1.1): each run of letters of
another script becomes the same unknown token, so that captions in Chinese all have nearly one embedding.
"""

# Of ASCII, T5's vocabulary lacks these; beyond it, it has letters with accents of its four languages and some signs.
_NOT_IN_T5 = frozenset("<>{}\\^`~")
_LAST_LATIN_LETTER = "\u024f"  # Latin Extended-B; what lies beyond is another script, a symbol or punctuation
_GENERAL_PUNCTUATION = range(0x2010, 0x2028)


MOST_PIXELS = 2**26
"""Of a frame: twice 8K. The trainer holds 93 frames of it in memory at once."""

MOST_CAPTION_BYTES = 2**20
"""A caption is cut at 512 tokens, which are a few thousand bytes."""


def size_fault(width: int, height: int) -> str | None:
    """Returns what is wrong with the size of a video in pixels, or None."""
    if width * height > MOST_PIXELS:
        return f"has frames of {width}x{height}; more than {MOST_PIXELS} pixels are no video for a trainer"
    if width < MIN_WIDTH:
        return f"is {width} pixels wide; decord 0.6.0 needs at least {MIN_WIDTH}"
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


def as_tokenized(caption: str) -> str:
    """Returns what T5's tokenizer makes of a caption first: NFKC, with white space joined."""
    return " ".join(unicodedata.normalize("NFKC", caption).split())


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
