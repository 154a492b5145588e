"""Whether a caption says something: what is wrong with one that does not, in one word.

Each limit lies far from captions that are repetitive and true ("at 3 s the car keeps its lane, at 4 s ..."): a loop
that a model does not leave goes on to the most tokens of an answer.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

DEGENERATE = "degenerate"
EMPTY = "empty"
MARKUP = "markup"
UNDECODABLE = "undecodable"
DECLINED = "declined"

_NO_CAPTION = "unknown caption"  # what cosmos-curate's captioners say when they have nothing to say

_LOOKED_AT = 200_000  # characters; no caption is as long
_LONGEST_WORD = 100  # letters
_SAME_LETTER = 30  # in a row
_SAME_MARK = 400  # in a row; a line of a table has some hundred
_FEWEST_LETTERS = 0.25  # of what is not white space

# A loop: a piece of so many words, repeated so often without anything in between.
_LONGEST_PIECE = 400  # words
_LOOP_WORDS = 40
_LOOP_TIMES = 5
_LONG_PIECE = 25  # words, which three times in a row are a loop already
_ONE_WORD_TIMES = 20

_GRAM = 6  # words
_ENOUGH_WORDS = 80
_MOST_REPEATED = 0.8  # of the runs of six words
_MANY_WORDS = 600
_MOST_REPEATED_BUT_FOR_NUMBERS = 0.97
_FEWEST_DIFFERENT_WORDS = 12

# Scripts without spaces between words: each character counts as one.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_]+"
)
_DASHES = re.compile(r"[-=_*~.·—─]{3,}")
_CHAT_TOKENS = re.compile(
    r"<[|\uff5c][^<>|\uff5c\s]{1,40}[|\uff5c]>|<\|[a-z_]{1,40}>|<[a-z_]{1,40}\|>|\[/?(?:INST|IMG|SYSTEM_PROMPT|THINK|EOS|BOS|PAD)\]|<</?SYS>>"
    r"|</?s>|<(?:start|end)_of_(?:turn|image|utterance)>|<(?:bos|eos|pad|unk|mask|sep|cls|fake_token_around_image)>"
    r"|<(?:image|video|audio|img|IMG_CONTEXT|image_soft_token|global-img)(?:[_-]?\d+)?>|</(?:img|video|audio)>"
    r"|<(?:extra_id_|unused|reserved_special_token_|special_)\d+>|</?tool_calls?>|</?function(?:_call|=\w+)?>|◁[^◁▷]{1,40}▷"
    r"|(?:<|&lt;)/?(?:think(?:ing)?|answer|reasoning|reflection|seed:think|caption|output|response|description)"
    r"(?:>|&gt;)",
)
_JSON = re.compile(r"\A[\[{]\s*[{\[]?\s*([\"'])[\w ]{1,40}\1\s*:")
# What models say instead of an answer; nothing follows it that would be about the video.
_DECLINED = re.compile(
    r"\A(?:(?:i'?m|i am) (?:very |really |so )?(?:sorry|afraid)|sorry|i apologi[sz]e|unfortunately)?"
    r"[,.]?\s*(?:but |that )?"
    r"(?:i|as an ai[^,.]{0,40},? i) ?(?:'m|am)? ?"
    r"(?:cannot|can't|can not|could not|couldn't|won't|will not|unable to|not able to|don't|do not)"
    r"(?: currently| actually)? "
    r"(?:help|assist|comply|provide|see|view|watch|access|analy[sz]e|describe|process|identify|fulfill|do|have|continue|open)\b",
    re.IGNORECASE,
)
_LONGEST_DECLINE = 400  # characters


def fault(text: str) -> str | None:
    """Returns what is wrong with an unwrapped caption: a reason in one word, or None."""
    if not text.strip() or text.strip().rstrip(".").lower() == _NO_CAPTION:
        return EMPTY
    if "\ufffd" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return UNDECODABLE
    if is_degenerate(text):
        return DEGENERATE
    if _CHAT_TOKENS.search(text) or _JSON.match(text):
        return MARKUP
    if len(text) <= _LONGEST_DECLINE and _DECLINED.match(text.replace("\u2019", "'")):
        return DECLINED
    return None


def is_degenerate(text: str) -> bool:
    """Whether a text repeats itself or is not made of words."""
    text = text[:_LOOKED_AT]
    if not _has_letters(text):
        return True
    words = _WORD.findall(text.lower())
    if any(len(word) > _LONGEST_WORD for word in words):
        return True
    if not words:
        return True
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    ids = np.array([numbers[word] for word in words], np.int64)
    if _has_loop(ids):
        return True
    if len(ids) >= 4 * _ENOUGH_WORDS and len(numbers) < _FEWEST_DIFFERENT_WORDS:
        return True
    if len(ids) >= _ENOUGH_WORDS and _repeated(ids) > _MOST_REPEATED:
        return True
    unnumbered = np.array([numbers[word] for word in words if not word[:1].isdecimal()], np.int64)
    return len(unnumbered) >= _MANY_WORDS and _repeated(unnumbered) > _MOST_REPEATED_BUT_FOR_NUMBERS


def _has_letters(text: str) -> bool:
    """Whether enough of a text are letters, and no character comes again and again in a row."""
    for run in re.finditer(rf"(\S)\1{{{_SAME_LETTER - 1},}}", text):
        if run[1].isalnum() or len(run[0]) >= _SAME_MARK:
            return False
    shown = [letter for letter in _DASHES.sub(" ", text) if not letter.isspace()]
    kinds = [unicodedata.category(letter)[0] for letter in shown]
    letters = kinds.count("L")
    return letters > 0 and letters + kinds.count("M") + kinds.count("N") >= _FEWEST_LETTERS * len(shown)


def _has_loop(ids: NDArray[np.int64]) -> bool:
    """Whether a piece of a text comes several times in a row.

    Args:
        ids: Of each word, equal for equal words.
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
    """Returns the share of runs of six words that came before."""
    grams = np.lib.stride_tricks.sliding_window_view(ids, _GRAM)
    return 1 - len(np.unique(grams, axis=0)) / len(grams)
