"""The caption in a model's answer: without reasoning, and without what is wrapped around the whole of it.

The marks are those of Cosmos-Reason, Qwen3, DeepSeek-R1, GLM-V, InternVL and MiMo (``<think>``), Magistral
(``[THINK]``), Kimi-VL (``◁think▷``), Seed (``<seed:think>``), OpenThinker and LLaVA-CoT (``<|begin_of_thought|>``,
``<SUMMARY>``), Reflection (``<reflection>``), Command A (``<|START_THINKING|>``), gpt-oss (channels), Granite ("Here is
my thought process"), MedGemma (``<unused94>``), and of what models make up when they are asked for reasoning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_THOUGHT = (
    r"(?:seed:)?think(?:ing)?|thoughts?|reason(?:ing)?|reflect(?:ion)?|rationale|scratchpad|inner_monologue|analysis"
)
_REASONING = re.compile(
    rf"<(?P<close>/)?\s*(?:{_THOUGHT})(?:\s[^<>]{{0,200}})?>"
    rf"|\[(?P<close2>/)?(?:THINK(?:ING)?|REASONING)\]"
    r"|◁(?P<close3>/)?think▷"
    r"|<\|(?:begin_of_|start_)?(?:thought|thinking|think)\|>"
    r"|(?P<close4><\|(?:end_of_|end_|/)(?:thought|thinking|think)\|>)"
    r"|<unused94>|(?P<close5><unused95>)"
    r"|<details\b[^<>]{0,200}>|(?P<close6></details>)",
    re.IGNORECASE,
)
_CLOSES = ("close", "close2", "close3", "close4", "close5", "close6")
_CHANNEL = re.compile(r"<\|channel\|?>\s*(\w+)(?:[^<]|<\|constrain\|>){0,80}?(?:<\|message\|>|\n)", re.IGNORECASE)
_CHANNEL_END = re.compile(r"<\|(?:end|return|start|call)\|>|<channel\|>", re.IGNORECASE)
# The same without its tokens, as decoders leave it that skip them.
_BARE_CHANNELS = re.compile(r"\Aanalysis(?=[A-Z])(?:.*assistant\s?final|.*\Z)", re.DOTALL)
_GRANITE = re.compile(
    r"\A\s*here(?:'s| is) my (?:thought process|thinking)[^:\n]*:"
    r".*?(?:here(?:'s| is) my (?:response|answer)[^:\n]*:|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_THINKING_QUOTE = re.compile(
    r"\A\W{0,4}thinking(?:\.\.\.|…)\W{0,4}\n(?:[ \t]*>[^\n]*(?:\n|\Z)|[ \t]*\n)*", re.IGNORECASE
)
# Reasoning under a heading, up to the heading of the answer.
_MARKS = r"(?:\*\*|__|#{1,6} +)?"
_HEADED = re.compile(
    rf"\A\s*{_MARKS}(?:(?:my |the )?(?:reasoning|thoughts?|thinking|rationale|chain of thought)(?: process)?){_MARKS}:",
    re.IGNORECASE,
)
_ANSWER_HEAD = re.compile(
    rf"^[ \t]*{_MARKS}(?:final |my |the )*(?:answer|caption|description|response|output){_MARKS}:{_MARKS}",
    re.IGNORECASE | re.MULTILINE,
)
_WRAPPERS = r"answer|final_answer|output|response|caption|description|summary|conclusion|result|final|text|content"
_WRAPPED = re.compile(rf"<({_WRAPPERS})>(.*)</\1>", re.DOTALL | re.IGNORECASE)
_BEGUN = re.compile(rf"<(?:{_WRAPPERS})>(?!.*</)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_END_TOKENS = re.compile(
    r"(?:\s*(?:<\|(?:im_end|im_sep|eot_id|eom_id|end|endoftext|end_of_text|end_of_sentence|eos|return|end_of_turn|user)\|>"
    r"|</s>|<eos>|<end_of_turn>|<turn\|>|<end_of_utterance>|<\uff5cend▁of▁sentence\uff5c>|\[EOS\]))+\s*\Z",
    re.IGNORECASE,
)
_BOX = re.compile(r"<\|begin_of_(box|solution)\|>(.*?)(?:<\|end_of_\1\|>|\Z)", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(
    r"(?:(?:so |therefore,? )?the (?:final )?(?:answer|caption) is:?\s*)?"
    r"(?:\$+|\\\[|\\\()?\s*\\boxed\{(?:\\text\{(?P<text>[^{}]*)\}|(?P<plain>[^{}]*))\}\s*(?:\$+|\\\]|\\\))?\.?",
    re.DOTALL | re.IGNORECASE,
)
_FENCE = re.compile(r"```[\w+-]{0,20}[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_LABEL = re.compile(
    r"\s*(?:\*\*|__|#{1,6} +)?(?:the |final |video |image |scene |detailed |improved |refined )*"
    r"(?:answer|caption|description|output|response|assistant|summary)(?:\*\*|__)?:(?:\*\*|__)?\s*"
    r"|\s*assistant[ \t]*\n\s*"
    r"|\s*(?:\*\*|__|#{1,6} +)(?:the |final |video |image |scene |detailed |improved |refined )*"
    r"(?:answer|caption|description|summary)(?:\*\*|__)?[ \t]*\n\s*",
    re.IGNORECASE,
)
_LABELLED_LINE = re.compile(r"^[ \t]*(?:[-*+] +)?(?:\*\*|__|#{1,6} +)?[A-Z][\w /&-]{0,40}(?:\*\*|__)?:", re.MULTILINE)
_PREAMBLE = re.compile(
    r"\s*(?:(?:sure|certainly|of course|okay|ok|absolutely|yes|great)\b[^\n:.!,]{0,40}[,.!]*\s*)?"
    r"(?:here(?:'s| is| are)|below is|the following is|this is)\b[^\n:.]{0,80}\b(?:caption|description|summary)\b"
    r"[^\n:.]{0,80}:\s*(?=\S)",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "\u2018": "\u2019", "«": "»", "「": "」", "『": "』", "„": "“", "`": "`"}
_FIELDS = ("caption", "description", "video_caption", "video_description", "answer", "final_answer", "response", "text")
_TAGS = (
    *("</answer>", "<answer>", "</think>", "<think>", "</thinking>", "<thinking>", "<|im_end|>", "<|eot_id|>"),
    *("<|endoftext|>", "<|end_of_box|>", "<end_of_turn>", "</caption>", "</output>", "[/THINK]", "◁think▷"),
)
_MOST_LAYERS = 12


def unwrap(text: str) -> str:
    """Returns the caption in an answer: without reasoning, wrappers, end tokens and surrounding white space.

    An answer that was cut off keeps what there is of the caption; one that was cut off in its reasoning is empty.
    Markup inside the caption stays. Unwrapping twice is the same as once.
    """
    said = text
    for _ in range(_MOST_LAYERS):
        before = said
        said = _without_reasoning(_final_channel(_without_begun_tag(said))).strip()
        for peel in (_without_end_tokens, _in_tags, _in_box, _in_fence, _in_quotes, _in_json, _without_label):
            said = peel(said).strip()
        if said == before:
            break
    return said


def _final_channel(text: str) -> str:
    """Returns what stands in gpt-oss's final channel; without any, an answer with channels is reasoning."""
    channels = list(_CHANNEL.finditer(text))
    if channels:
        final = [mark for mark in channels if mark[1].lower() == "final"]
        if final:
            return _CHANNEL_END.split(text[final[-1].end() :], maxsplit=1)[0]
        closed = text.rpartition("<channel|>")[2] if "<channel|>" in text else ""  # Gemma ends its thought so
        return closed if not _CHANNEL.search(closed) else ""
    for begin in (_BARE_CHANNELS, _GRANITE, _THINKING_QUOTE):
        text = begin.sub("", text, count=1)
    if _HEADED.match(text):
        heads = list(_ANSWER_HEAD.finditer(text))
        return text[heads[-1].end() :] if heads else ""
    return text


def _without_reasoning(text: str) -> str:
    kept: list[str] = []
    start, depth, last_close, begins = 0, 0, -1, -1
    for mark in _REASONING.finditer(text):
        if any(mark.group(name) for name in _CLOSES):
            if depth == 0:
                kept.clear()  # the template began it
            depth = max(0, depth - 1)
            start = last_close = mark.end()
        else:
            if depth == 0:
                kept.append(text[start : mark.start()])
            depth += 1
            begins = mark.end()
    if begins < 0 and last_close < 0:
        return text
    if depth == 0:
        kept.append(text[start:])
    elif last_close > begins:  # it spoke of the mark in its reasoning
        kept = [text[last_close:]]
    said = [part for part in kept if part.strip()]
    if len(said) > 1 and text.startswith(said[0]):
        said = said[1:]  # what it says before its reasoning leads up to it
    if not said and depth:  # it forgot to end its reasoning
        answer = re.search(r"<answer>((?:(?!<answer>).)*)</answer>\s*\Z", text[begins:], re.DOTALL | re.IGNORECASE)
        return answer[1] if answer else ""
    return "".join(said)


def _without_end_tokens(text: str) -> str:
    return _END_TOKENS.sub("", text)


def _in_tags(text: str) -> str:
    whole = _WRAPPED.fullmatch(text)
    if whole and f"</{whole[1]}>".lower() not in whole[2].lower():
        return whole[2]
    if answer := _ANSWER.search(text):  # whatever stands around it
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
    if text.count("```") == 1:  # one that was cut off
        return re.sub(r"\A```[\w+-]{0,20}[ \t]*\n|\n[ \t]*```\Z", "", text)
    fence = _FENCE.fullmatch(text)
    return fence[1] if fence and "```" not in fence[1] else text


def _in_quotes(text: str) -> str:
    end = _QUOTES.get(text[:1])
    if end is None or len(text) < 3 or not text.endswith(end):
        return text
    inner = text[1:-1]
    if text[0] == "'" and re.search(r"\w'\w", inner):  # an apostrophe
        return inner if not re.search(r"(?<!\w)'|'(?!\w)", inner) else text
    bare = re.sub(r"\\.", "", inner)
    return text if text[0] in bare or end in bare else inner.replace(f"\\{end}", end)


def _in_json(text: str) -> str:
    if not (text.startswith(("{", "[")) and text.endswith(("}", "]"))):
        return text
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    return next(_captions(found), text)


def _captions(found: object) -> Iterator[str]:
    """Yields what a JSON object calls a caption, the likeliest name first."""
    if not isinstance(found, dict):
        return
    named = {str(name).lower(): value for name, value in found.items()}
    for name in _FIELDS:
        if isinstance(named.get(name), str) and named[name].strip():
            yield named[name]


def _without_label(text: str) -> str:
    """Returns an answer without "Caption:" and "Here is a description of the video:", if nothing else has a label."""
    if preamble := _PREAMBLE.match(text):
        return text[preamble.end() :]
    label = _LABEL.match(text)
    if label is None or _LABELLED_LINE.search(text, label.end()):
        return text
    return text[label.end() :]


def _without_begun_tag(text: str) -> str:
    """Returns an answer without a tag at its end that was cut off."""
    text = text.rstrip()
    tail = text[-20:].lower()
    for length in range(len(tail), 1, -1):
        begun = tail[-length:]
        if (length > 2 or begun == "</") and any(tag.lower().startswith(begun) and len(tag) > length for tag in _TAGS):
            return text[:-length]
    return text
