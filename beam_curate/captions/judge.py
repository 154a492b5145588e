"""Why a window has no usable caption: the reasons that records and the summary count, and their messages.

Repetition is detected in `beam_curate.captions.repetition`, refusals in `beam_curate.captions.declined`.
"""

from __future__ import annotations

import collections
import re
import unicodedata

from beam_curate.captions.declined import is_declined, says_nothing
from beam_curate.captions.repetition import WORD, is_repetitive
from beam_curate.errors import ModelContextError, ModelOutputError, ModelRequestError

DEGENERATE = "degenerate"
EMPTY = "empty"
MARKUP = "markup"
UNDECODABLE = "undecodable"
DECLINED = "declined"
REASONING = "reasoning"
ECHOED = "echoed"
CUT_OFF = "cut_off"  # at the token limit, within the reasoning

_MESSAGES = {
    EMPTY: "the model's answer of {} tokens contains no caption",
    CUT_OFF: (
        "the model's answer was cut off after {} tokens of reasoning, before any caption: raise "
        "--captioning-max-output-tokens"
    ),
    DEGENERATE: (
        "the model's answer of {} tokens only repeats itself or contains no words, also on a second attempt with a "
        "repetition penalty: see --vllm-sampling-repetition-penalty"
    ),
    MARKUP: (
        "the model's answer of {} tokens contains chat template tokens: its server uses a different template than the "
        "model was trained with"
    ),
    DECLINED: "the model's answer of {} tokens is a refusal instead of a caption",
    REASONING: (
        "the model's answer of {} tokens begins with reasoning that is not marked as such: have the server separate it "
        "(vLLM and SGLang: --reasoning-parser), or choose a model or a prompt that answers directly"
    ),
    ECHOED: "the model's answer of {} tokens only repeats the prompt",
    UNDECODABLE: "the model's answer of {} tokens contains invalid text",
}
"""Messages about answers without a caption, by their reason in the records."""

_LOOKED_AT = 200_000  # characters; no caption is this long
_SAME_LETTER = 30  # in a row
_SAME_MARK = 100  # in a row
_SAME_LINE = 400  # in a row; a line of a table has some hundred
_SCRIPTS_IN = 2000  # characters
_SCRIPT_SHARE = 0.04
_MOST_SCRIPTS = 5
_FEWEST_LETTERS = 0.25  # of what is not white space

_LINES = "-=_|\u2014\u2500"
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
# How unmarked reasoning begins.
_THINKS = re.compile(
    r"\A(?:(?:okay|ok|alright|all right|hm+|well|so|right|got it|wait|first|now)\b[,.!]?\s*)*"
    r"(?:the user (?:wants|is asking|asked|asks|needs|would like|has asked)"
    r" (?:me|us|for|an?|to (?:describe|improve|caption|know|understand))"
    r"|(?:i|we) (?:need|have|should|must|am asked|'m asked|'m supposed)(?: to)? "
    r"(?:describe|write|produce|generate|caption|create|analy[sz]e|think|figure"
    r"|improve (?:the|this) (?:description|caption)|look at the (?:frames|video|pictures|images))"
    r"|let me (?:think|break|analy[sz]e|see|look at|go through|try)"
    r"|let's (?:think|break|analy[sz]e|see|tackle|start by)|my task is|the task is to)\b",
    re.IGNORECASE,
)
_FEWEST_ECHOED = 6  # words


def fault(text: str) -> str | None:
    """Returns why an unwrapped text is not a caption, or None.

    >>> fault("I'm sorry, but I can't help with that."), fault("A red car turns left.")
    ('declined', None)
    """
    if says_nothing(text):
        return EMPTY
    if "\ufffd" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return UNDECODABLE
    if is_degenerate(text):
        return DEGENERATE
    if _CHAT_TOKENS.search(text) or _JSON.match(text):
        return MARKUP
    if is_declined(text):
        return DECLINED
    return REASONING if _THINKS.match(text.replace("\u2019", "'")) else None


def answer_without_caption(reason: str | None, num_tokens: int) -> ModelOutputError:
    """Returns the failure of a window whose answer of ``num_tokens`` tokens contains no caption.

    >>> answer_without_caption(DECLINED, 40)
    ModelOutputError("the model's answer of 40 tokens is a refusal instead of a caption")
    """
    return ModelOutputError(_MESSAGES[reason or EMPTY].format(num_tokens))


def reason_of(error: Exception) -> str:
    """Returns the reason of a failure, as records and the summary count it.

    >>> reason_of(ModelContextError("the prompt is too long")), reason_of(ModelOutputError("no caption", EMPTY))
    ('too_long', 'empty')
    """
    if isinstance(error, ModelOutputError):
        return error.reason
    if isinstance(error, ModelContextError):
        return "too_long"
    return "refused" if isinstance(error, ModelRequestError) else "exception"


def echoes(text: str, prompt: str) -> bool:
    """Whether a text of at least 6 words consists of a passage of the prompt.

    >>> echoes("describe what happens in the video", "Describe what happens in the video. Write in English.")
    True
    """
    said = " ".join(WORD.findall(text[:_LOOKED_AT].lower()))
    return said.count(" ") + 1 >= _FEWEST_ECHOED and said in " ".join(WORD.findall(prompt.lower()))


def is_degenerate(text: str) -> bool:
    """Whether a text repeats itself or is not made of words.

    >>> is_degenerate("! ! ! ! ! !"), is_degenerate("A red car turns left.")
    (True, False)
    """
    text = text[:_LOOKED_AT]
    return not _has_letters(text) or _mixes_scripts(text) or is_repetitive(text)


def _has_letters(text: str) -> bool:
    """Whether enough of a text are letters, and no character comes again and again in a row."""
    for run in re.finditer(rf"(\S)\1{{{_SAME_LETTER - 1},}}", text):
        most = _SAME_LETTER if run[1].isalnum() else _SAME_LINE if run[1] in _LINES else _SAME_MARK
        if len(run[0]) >= most:
            return False
    shown = [letter for letter in _DASHES.sub(" ", text) if not letter.isspace()]
    kinds = [unicodedata.category(letter)[0] for letter in shown]
    letters = kinds.count("L")
    return letters > 0 and letters + kinds.count("M") + kinds.count("N") >= _FEWEST_LETTERS * len(shown)


def _mixes_scripts(text: str) -> bool:
    """Whether a text is made of pieces of many scripts, as models write whose weights are damaged."""
    letters = [letter for letter in text[:_SCRIPTS_IN] if letter.isalpha()]
    scripts = collections.Counter(unicodedata.name(letter, "").partition(" ")[0] for letter in letters)
    for name in ("HIRAGANA", "KATAKANA"):
        scripts["CJK"] += scripts.pop(name, 0)
    return sum(number >= _SCRIPT_SHARE * len(letters) for number in scripts.values()) >= _MOST_SCRIPTS
