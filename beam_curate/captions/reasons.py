"""Why a window has no caption: the reasons that records and the summary count, and what is said of each."""

from __future__ import annotations

from beam_curate.captions import judge
from beam_curate.errors import ModelContextError, ModelOutputError, ModelRequestError

CUT_OFF = "cut_off"
"""Reason of an answer that ended at its limit of tokens within its reasoning."""

_MESSAGES = {
    judge.EMPTY: "no caption is in the model's answer of {} tokens",
    CUT_OFF: (
        "the model's answer was cut off after {} tokens of reasoning, before any caption: raise "
        "--captioning-max-output-tokens"
    ),
    judge.DEGENERATE: (
        "the model's answer of {} tokens only repeats itself or holds no words, also when it was asked once more with "
        "a penalty on repetition: see --vllm-sampling-repetition-penalty"
    ),
    judge.MARKUP: (
        "tokens of a chat template are in the model's answer of {} tokens: its server has another template than the "
        "model was trained with"
    ),
    judge.DECLINED: "instead of a caption the model's answer of {} tokens says that it cannot or will not give one",
    judge.REASONING: (
        "the model's answer of {} tokens begins with reasoning that no mark tells from a caption: have the server part "
        "them (vLLM and SGLang: --reasoning-parser), or take a model or a prompt that answers at once"
    ),
    judge.ECHOED: "the model's answer of {} tokens only repeats what it was asked",
    judge.UNDECODABLE: "the model's answer of {} tokens holds bytes that are no text",
}
"""What is said of an answer without a caption, by the reason in the records."""


def answer_without_caption(reason: str | None, num_tokens: int) -> ModelOutputError:
    """Returns the failure of a window whose answer of ``num_tokens`` tokens holds no caption."""
    return ModelOutputError(_MESSAGES[reason or judge.EMPTY].format(num_tokens))


def reason_of(error: Exception) -> str:
    """Returns the kind of failure that records and the summary count."""
    if isinstance(error, ModelOutputError):
        return error.reason
    if isinstance(error, ModelContextError):
        return "too_long"
    return "refused" if isinstance(error, ModelRequestError) else "exception"
