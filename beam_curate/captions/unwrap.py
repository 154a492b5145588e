"""Extracts the caption from a model's answer: removes reasoning and whatever is wrapped around the caption."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from beam_curate.captions.reasoning import final_channel, without_marks

_WRAPPERS = (
    r"answer|final_answer|output|response|(?:\w{1,20}_)?(?:caption|description)"
    r"|summary|conclusion|result|final|text|content"
)
_WRAPPED = re.compile(rf"<({_WRAPPERS})>(.*)</\1>", re.DOTALL | re.IGNORECASE)
_BEGUN = re.compile(rf"<(?:{_WRAPPERS})>(?!.*</)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"[<\[]answer[>\]](.*?)(?:[<\[]/answer[>\]]|\Z)", re.DOTALL | re.IGNORECASE)
_END_TOKEN = re.compile(
    r"(?:<\|(?:im_end|im_sep|eot_id|eom_id|end|endoftext|end_of_text|end_of_sentence|eos|return|end_of_turn|user)\|>"
    r"|</s>|<eos>|<end_of_turn>|<turn\|>|<end_of_utterance>|<\uff5cend▁of▁sentence\uff5c>|\[EOS\])\Z",
    re.IGNORECASE,
)
_BOX = re.compile(r"<\|begin_of_(box|solution)\|>(.*?)(?:<\|end_of_\1\|>|\Z)", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(
    r"(?:(?:so |therefore,? )?the (?:final )?(?:answer|caption) is:?\s*)?"
    r"(?:\$+|\\\[|\\\()?\s*\\boxed\{(?:\\text\{(?P<text>[^{}]*)\}|(?P<plain>[^{}]*))\}\s*(?:\$+|\\\]|\\\))?\.?",
    re.DOTALL | re.IGNORECASE,
)
_FENCE = re.compile(r"(```|~~~)(?:[\w+-]{0,20}[ \t]*\n|(?:json)?[ \t]*(?=[{\[]))(.*?)\n?[ \t]*\1", re.DOTALL)
_BOLD = re.compile(r"(\*{1,2}|__)([^*_\s](?:[^*]*[^*\s])?)\1")
_KINDS = r"(?:my |the |final |video |image |scene |detailed |improved |refined )*"
_MARK = r"(?:\*{1,2}|_{1,2})?"
_LABEL = re.compile(
    rf"\s*(?:#{{1,6}} +)?{_MARK}{_KINDS}"
    rf"(?:(?:answer|caption|description){_MARK}(?:\s?[:\uff1a]| is(?: as follows)?:){_MARK}\s*"
    # Words that may also be the subject of a caption.
    rf"|(?:output|response|assistant|summary){_MARK}:{_MARK}(?-i:(?!\s*[a-z]))\s*)"
    r"|\s*(?:assistant|model)[ \t]*\n\s*"
    rf"|\s*(?:\*\*|__|#{{1,6}} +){_KINDS}(?:answer|caption|description|summary)(?:\*\*|__)?[ \t]*\n\s*",
    re.IGNORECASE,
)
_TURNS = re.compile(r"\A\s*(?:user|human):.{0,4000}?\n\s*(?:assistant|ai|model):\s*", re.DOTALL | re.IGNORECASE)
_LABELLED_LINE = re.compile(r"^[ \t]*(?:[-*+] +)?(?:\*\*|__|#{1,6} +)?[A-Z][\w /&-]{0,40}(?:\*\*|__)?:", re.MULTILINE)
_PREAMBLE = re.compile(
    r"\s*(?:(?:sure|certainly|of course|okay|ok|absolutely|yes|great)\b[^\n:.!,]{0,40}[,.!]*\s*)?"
    r"(?:(?:based on|given|from) [^\n:,]{1,80},\s*)?"
    r"(?:here(?:'s| is| are)|below is|the following is|this is)\b[^\n:.]{0,80}?\b"
    r"(?:(?:caption|description|summary)(?=[:.\n]|,? (?:for|based|that|with|in|as|you|focus))[^\n:.]{0,120}"
    r"|(?:caption|description|summary) of [^\n:.]{0,80}?\b(?:video|clip|scene|footage|image|frame|picture|sequence"
    r"|segment)s?\b[^\n:.]{0,80}|json)"
    r"(?::\s*|[.]?[ \t]*\n\s*\n\s*)",
    re.IGNORECASE,
)
_AGREED = re.compile(r"\s*(?:sure|certainly|of course|absolutely)!\s+(?=\S)", re.IGNORECASE)
# A paragraph after the caption that addresses the user.
_CLOSING = re.compile(
    r"(?:(?:please )?(?:let me know|feel free)|i hope (?:this|that)|would you like|if you (?:need|want|would|have|'d)"
    r"|is there anything|\(?word count)\b[^\n]{0,200}",
    re.IGNORECASE,
)
_PAIRS = (
    *('""', "''", "``", "\u201c\u201d", "\u201d\u201d", "\u201e\u201c\u201d", "\u2018\u2019", "\u201a\u2018\u2019"),
    *("\u2039\u203a", "«»", "»«", "「」", "『』"),
)
_QUOTES = {pair[0]: pair[1:] for pair in _PAIRS}
"""Closing quotes by opening quote."""
_MANY_QUOTES = re.compile(r"(\"{2,3}|'{2,3})(?![\"'])(.*)\1", re.DOTALL)
_FIELDS = ("caption", "description", "video_caption", "video_description", "answer", "final_answer", "response", "text")
_FIELD = re.compile(r"\w*(?:caption|description)s?(?:_text)?")
_TAGS = (
    *("</answer>", "<answer>", "</think>", "<think>", "</thinking>", "<thinking>", "<|im_end|>", "<|eot_id|>"),
    *("<|endoftext|>", "<|end_of_box|>", "<end_of_turn>", "</caption>", "</output>", "[/THINK]", "◁think▷"),
)
_AROUND = " \t\n\u3000\u200b\u2060\ufeff"
_LONGEST_TOKEN = 40  # characters of an end token
_MOST_LAYERS = 12


def unwrap(text: str) -> str:
    """Returns the caption in an answer, without reasoning, wrappers, end tokens and surrounding white space.

    A truncated answer keeps what there is of the caption; it is empty if the answer ends within the reasoning. Markup
    inside the caption stays. Unwrapping is idempotent.

    >>> unwrap("<think>Hm.</think> **Caption:** A red car turns left.<|im_end|>")
    'A red car turns left.'
    """
    said = text
    for _ in range(_MOST_LAYERS):
        before = said
        said = without_marks(final_channel(_without_begun_tag(said))).strip()
        for peel in (_without_end_tokens, _in_tags, _in_box, _in_fence, _in_quotes, _in_bold, _in_json, _without_label):
            said = peel(said).strip(_AROUND)
        if said == before:
            break
    return said


def printable(text: str) -> str:
    r"""Returns a text without control characters other than line breaks and tabs.

    >>> printable("A\x07 car.\r\n")
    'A car.\n'
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in lines if letter in "\n\t" or not _is_control(letter))


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter <= "\x9f"


def _without_end_tokens(text: str) -> str:
    end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        token = _END_TOKEN.search(text, max(0, end - _LONGEST_TOKEN), end)
        if token is None:
            return text[:end]
        end = token.start()


def _in_tags(text: str) -> str:
    whole = _WRAPPED.fullmatch(text)
    if whole and f"</{whole[1]}>".lower() not in whole[2].lower():
        return whole[2]
    if answer := _ANSWER.search(text):  # with any text around it
        return answer[1]
    if begun := _BEGUN.match(text):
        return text[begun.end() :]
    return re.split(r"</answer>", text, maxsplit=1, flags=re.IGNORECASE)[0]


def _in_box(text: str) -> str:
    if box := _BOX.fullmatch(text):
        return box[2]
    boxed = _BOXED.fullmatch(text)
    return (boxed["text"] or boxed["plain"] or "") if boxed else text


def _in_fence(text: str) -> str:
    if text.count("```") == 1:  # truncated
        return re.sub(r"\A```[\w+-]{0,20}[ \t]*\n|\n[ \t]*```\Z", "", text)
    fence = _FENCE.fullmatch(text)
    return fence[2] if fence and fence[1] not in fence[2] else text


def _in_bold(text: str) -> str:
    bold = _BOLD.fullmatch(text)
    return bold[2] if bold else text


def _in_quotes(text: str) -> str:
    many = _MANY_QUOTES.fullmatch(text)
    if many and many[1][0] not in many[2]:
        return many[2]
    if len(text) < 3 or text[-1] not in _QUOTES.get(text[0], ""):
        return text
    end = text[-1]
    inner = text[1:-1]
    if text[0] == "'" and re.search(r"\w'\w", inner):  # an apostrophe
        return inner if not re.search(r"(?<!\w)'|'(?!\w)", inner) else text
    bare = re.sub(r"\\.", "", inner)
    return text if text[0] in bare or end in bare else inner.replace(f"\\{end}", end)


def _in_json(text: str) -> str:
    if not (text.startswith(("{", "[")) and text.endswith(("}", "]"))):
        return text
    try:
        return next(_captions(json.loads(text, strict=False)), text)
    except (ValueError, RecursionError):
        return text


def _captions(found: object) -> Iterator[str]:
    """Yields the captions in JSON, most likely field names first, also in a single nested object."""
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
        if isinstance(found, str) and " " in found:
            yield found
    if not isinstance(found, dict):
        return
    named = {str(name).lower(): value for name, value in found.items()}
    others = [name for name in named if _FIELD.fullmatch(name)]
    for name in (*_FIELDS, *others):
        value = named.get(name)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(value, str) and value.strip():
            yield value
    for value in named.values():
        if isinstance(value, dict) and (len(named) == 1 or not others):
            yield from _captions(value)


def _without_label(text: str) -> str:
    """Removes "Caption:" and "Here is a description of the video:", unless other lines have labels."""
    for begin in (_PREAMBLE, _AGREED, _TURNS):
        if said := begin.match(text):
            return text[said.end() :]
    head, _, last = text.rpartition("\n\n")
    if head and _CLOSING.fullmatch(last.strip()):
        text = head
    label = _LABEL.match(text)
    if label is None or _LABELLED_LINE.search(text, label.end()):
        return text
    return text[label.end() :]


def _without_begun_tag(text: str) -> str:
    """Removes a truncated tag at the end."""
    text = text.rstrip()
    tail = text[-20:].lower()
    for length in range(len(tail), 1, -1):
        begun = tail[-length:]
        if (length > 2 or begun == "</") and any(tag.lower().startswith(begun) and len(tag) > length for tag in _TAGS):
            return text[:-length]
    return text
