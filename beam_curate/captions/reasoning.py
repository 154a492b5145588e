"""Removes reasoning from a model's answer, by the marks of each family of models.

The marks are those of Cosmos-Reason, Qwen3, DeepSeek-R1, GLM-V, InternVL and MiMo (``<think>``), Magistral
(``[THINK]``), Kimi-VL (``◁think▷``), Seed (``<seed:think>``), OpenThinker and LLaVA-CoT (``<|begin_of_thought|>``,
``<SUMMARY>``), Reflection (``<reflection>``), Command A (``<|START_THINKING|>``), gpt-oss (channels), Granite ("Here is
my thought process"), MedGemma (``<unused94>``), and those that models make up when asked for reasoning.
"""

from __future__ import annotations

import re

_THOUGHT = (
    r"(?:\w{1,20}[:_])?think(?:ing)?(?:_fast)?|(?:inner_)?thoughts?|thought_process|chain_of_thought|cot|planning"
    r"|reason(?:ing)?|reflect(?:ion)?|rationale|scratchpad|inner_monologue|analysis"
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
# The same without its special tokens, as decoders that skip them leave it.
_BARE_CHANNELS = re.compile(r"\Aanalysis(?=[A-Z])(?:.*assistant\s?final|.*\Z)", re.DOTALL)
_GRANITE = re.compile(
    r"\A\s*here(?:'s| is) my (?:thought process|thinking)[^:\n]*:"
    r".*?(?:here(?:'s| is) my (?:response|answer)[^:\n]*:|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_THINKING_QUOTE = re.compile(
    r"\A\W{0,4}thinking(?:\.\.\.|…)\W{0,4}\n(?:[ \t]*>[^\n]*(?:\n|\Z)|[ \t]*\n)*", re.IGNORECASE
)
_THOUGHT_FOR = re.compile(r"\A\s*thought for [\w. ]{1,30}\n+", re.IGNORECASE)
_NO_REASONING = re.compile(r"<think(?:ing)?\s*/>", re.IGNORECASE)
# Reasoning under a heading, up to the heading of the answer.
_MARKS = r"(?:\*\*|__|#{1,6} +)?"
_HEADED = re.compile(
    rf"\A\s*{_MARKS}(?:(?:my |the )?(?:reasoning|thoughts?|thinking|rationale|chain of thought)(?: process)?)"
    rf"(?:{_MARKS}:|(?:\*\*|__)[ \t]*\n)",
    re.IGNORECASE,
)
_ANSWER_HEAD = re.compile(
    rf"^[ \t]*{_MARKS}(?:final |my |the )*(?:answer|caption|description|response|output)"
    rf"(?:{_MARKS}:{_MARKS}|(?:\*\*|__)[ \t]*\n)",
    re.IGNORECASE | re.MULTILINE,
)


def final_channel(text: str) -> str:
    """Returns the text of gpt-oss's final channel; an answer with channels but no final one is all reasoning.

    >>> final_channel("<|channel|>analysis<|message|>Hm.<|end|><|channel|>final<|message|>A red car.<|return|>")
    'A red car.'
    """
    channels = list(_CHANNEL.finditer(text))
    if channels:
        final = [mark for mark in channels if mark[1].lower() == "final"]
        if final:
            return _CHANNEL_END.split(text[final[-1].end() :], maxsplit=1)[0]
        closed = text.rpartition("<channel|>")[2] if "<channel|>" in text else ""  # how Gemma ends its thought
        return closed if not _CHANNEL.search(closed) else ""
    text = _NO_REASONING.sub("", text)
    for begin in (_BARE_CHANNELS, _GRANITE, _THINKING_QUOTE, _THOUGHT_FOR):
        text = begin.sub("", text, count=1)
    if _HEADED.match(text):
        heads = list(_ANSWER_HEAD.finditer(text))
        return text[heads[-1].end() :] if heads else ""
    return text


def without_marks(text: str) -> str:
    """Returns an answer without the text between marks of reasoning, closed or not.

    >>> without_marks("<think>A car?</think>A red car.")
    'A red car.'
    """
    kept: list[str] = []
    start, depth, last_close, begins = 0, 0, -1, -1
    for mark in _REASONING.finditer(text):
        if any(mark.group(name) for name in _CLOSES):
            if depth == 0:
                kept.clear()  # opened by the template
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
    elif last_close > begins:  # the mark is mentioned within the reasoning
        kept = [text[last_close:]]
    said = [part for part in kept if part.strip()]
    if len(said) > 1 and text.startswith(said[0]):
        said = said[1:]  # text before the reasoning leads up to it
    if not said and depth:  # the reasoning was never closed
        answer = re.search(r"<answer>((?:(?!<answer>).)*)</answer>\s*\Z", text[begins:], re.DOTALL | re.IGNORECASE)
        return answer[1] if answer else ""
    return "".join(said)
