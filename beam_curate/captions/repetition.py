"""Detects texts that repeat themselves: a loop of words or sentences that the model does not leave.

Each limit is far from captions that are repetitive but true ("at 3 s the car keeps its lane, at 4 s ...").
"""

from __future__ import annotations

import itertools
import re

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_]+"
)
"""A word; in scripts without spaces between words each character counts as one."""

_LONGEST_WORD = 100  # letters

# A loop: a passage of at most this many words, repeated this often in a row.
_LONGEST_PIECE = 400  # words
_LOOP_WORDS = 40
_LOOP_TIMES = 5
_LONG_PIECE = 25  # words; three times in a row is a loop
_ONE_WORD_TIMES = 20

_GRAM = 6  # words
_ENOUGH_WORDS = 80
_MOST_REPEATED = 0.8  # of the runs of six words
_MANY_WORDS = 600
_MOST_REPEATED_BUT_FOR_NUMBERS = 0.97
_FEWEST_DIFFERENT_WORDS = 12

_FEW_WORDS = ((6, 1), (12, 2), (24, 3))  # (at least this many words, at most this many different ones)
_NUMBERS = 100  # in a text with little else
_MOST_NUMBERS = 0.9

_SENTENCES = 12
_FEWEST_DIFFERENT_SENTENCES = 0.25  # a robot may do the same three times
_SAME_SENTENCE = 7  # in a row
_SAME_SENTENCE_ALONE = 3
_SENTENCE_END = re.compile(r"[.!?\u2026]+(?=\s|\Z)|[\u3002\uff01\uff1f]+|\n+")


def is_repetitive(text: str) -> bool:
    """Whether a text has no words, or keeps repeating words or sentences.

    >>> is_repetitive("A car. " * 50), is_repetitive("A red car turns left at dusk.")
    (True, False)
    """
    words = WORD.findall(text.lower())
    if any(len(word) > _LONGEST_WORD for word in words):
        return True
    if not words:
        return True
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    ids = np.array([numbers[word] for word in words], np.int64)
    if any(len(ids) >= words and len(numbers) <= different for words, different in _FEW_WORDS):
        return True
    if _has_loop(ids) or _has_same_sentences(text):
        return True
    if len(ids) >= 2 * _ENOUGH_WORDS and len(numbers) < _FEWEST_DIFFERENT_WORDS:
        return True
    if len(ids) >= _ENOUGH_WORDS and _repeated(ids) > _MOST_REPEATED:
        return True
    if _NUMBERS <= sum(word.isdecimal() for word in words) >= _MOST_NUMBERS * len(words):
        return True
    unnumbered = np.array([numbers[word] for word in words if not word[:1].isdecimal()], np.int64)
    return len(unnumbered) >= _MANY_WORDS and _repeated(unnumbered) > _MOST_REPEATED_BUT_FOR_NUMBERS


def _has_same_sentences(text: str) -> bool:
    """Whether a text repeats one sentence, or alternates between few; bare numbers do not count as sentences."""
    parts = [" ".join(WORD.findall(part.lower())) for part in _SENTENCE_END.split(text)]
    sentences = [part for part in parts if not part.replace(" ", "").isdecimal() and part]
    different = len(set(sentences))
    if different == 1 and len(sentences) >= _SAME_SENTENCE_ALONE and " " in sentences[0]:
        return True
    if len(sentences) >= _SENTENCES and different <= _FEWEST_DIFFERENT_SENTENCES * len(sentences):
        return True
    runs = ((sentence, sum(1 for _ in run)) for sentence, run in itertools.groupby(sentences))
    return any(number >= _SAME_SENTENCE and " " in sentence for sentence, number in runs)


def _has_loop(ids: NDArray[np.int64]) -> bool:
    """Whether a passage is repeated several times in a row.

    Args:
        ids: One number per word, equal for equal words.
    """
    for length in range(1, min(_LONGEST_PIECE, len(ids) // 3) + 1):
        same = ids[length:] == ids[:-length]
        ends = np.flatnonzero(~np.append(same, False))
        words = int(np.diff(ends, prepend=-1).max() - 1) + length
        times = words / length
        if length == 1:
            if times >= _ONE_WORD_TIMES:
                return True
        elif words >= _LOOP_WORDS and (times >= _LOOP_TIMES or (times >= 3 and length >= _LONG_PIECE)):
            return True
    return False


def _repeated(ids: NDArray[np.int64]) -> float:
    """Returns the share of six-word runs that occurred before."""
    grams = np.lib.stride_tricks.sliding_window_view(ids, _GRAM)
    return 1 - len(np.unique(grams, axis=0)) / len(grams)
