"""The body of a chat completion, in the shapes that OpenAI-compatible servers are known to send, and what it says.

Finish reasons are those of OpenAI, Azure, vLLM, SGLang, Ollama, LM Studio, llama.cpp and Groq (``stop``, ``length``,
``content_filter``), Gemini (its own names in upper case, also behind OpenAI's face), Mistral (``model_length``), TGI
and Together (``eos``, ``eos_token``, ``stop_sequence``), Anthropic's models behind gateways (``end_turn``,
``max_tokens``, ``refusal``, ``model_context_window_exceeded``), Cohere (``COMPLETE``, ``ERROR_TOXIC``), Bedrock
(``guardrail_intervened``) and Zhipu (``sensitive``). Whatever is not listed here is no finished answer.
"""

from __future__ import annotations

import json
import math
from typing import Any

from beam_curate.errors import ModelOutputError, ModelServerError
from beam_curate.models.vision_language import Answer

_FINISHED = {
    *("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "end_of_turn"),
    *("end_of_text", "end_of_sequence", "complete", "completed"),
}
_CUT = {
    *("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_new_tokens", "max_length"),
    *("model_length", "token_limit", "context_length", "model_context_window_exceeded", "error_limit"),
}
_BLOCKED = {
    *("content_filter", "contentfilter", "content_filtered", "refusal", "safety", "recitation", "blocklist"),
    *("prohibited_content", "spii", "image_safety", "image_prohibited_content", "image_recitation", "model_armor"),
    *("blocked", "blocked_reason_unspecified", "guardrail_intervened", "guardrail", "sensitive", "moderation"),
    *("flagged", "error_toxic", "content_policy", "content_policy_violation", "jailbreak"),
}
_MOST_TOKENS = 1 << 40  # of a count that is believed
_BEGINNING = 100
_STREAMED = "data:"


class EmbeddedError(Exception):
    """A body of HTTP 200 that holds an error, as OpenRouter and other gateways send it.

    Attributes:
        status: The HTTP status that it stands for; 500 where the body names none.
        body: The error.
    """

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"an error with status {status}")
        self.status = status
        self.body = body


def read_answer(body: str) -> Answer:
    """Returns the answer in the body of a chat completion; reasoning that comes in a field of its own is left out.

    Raises:
        EmbeddedError: The body holds an error.
        ModelOutputError: The most tokens were reached before there was any text.
        ModelServerError: It is no chat completion, or one without a finished answer.
    """
    completion = _completion(body)
    tokens = _tokens(completion)
    try:
        choice = completion["choices"][0]
        if not isinstance(choice, dict):
            raise TypeError("no object")
    except (LookupError, TypeError) as error:
        if _is_blocked_prompt(completion):
            return Answer("", *tokens, "blocked")
        raise _no_completion(body) from error
    _raise_error(choice)
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice["text"]} if isinstance(choice.get("text"), str) else None
    if message is None:
        raise _no_completion(body)
    finish = _finish(choice)
    text, refused = _text(message.get("content"))
    if finish == "blocked" or refused or _says(message.get("refusal")) or _was_filtered(choice):
        return Answer("", *tokens, "blocked")
    if finish is None:
        raise ModelServerError(f"its answer is not finished (finish_reason {_named(choice)})")
    if not (text or "").strip() and finish == "length":
        raise ModelOutputError(
            f"the model wrote as many tokens as it may ({tokens[1] or 'all'}, reasoning included) before any caption: "
            "raise --captioning-max-output-tokens",
            reason="cut_off",
        )
    if text is None:
        raise ModelServerError(f"its answer has no text (finish_reason {_named(choice)})")
    return Answer(text, *tokens, finish)


def beginning(body: str) -> str:
    """Returns how a body begins, for messages."""
    return repr(" ".join(body[: 50 * _BEGINNING].split())[:_BEGINNING])


def _completion(body: str) -> dict[str, Any]:
    text = body.lstrip("\ufeff \t\r\n")
    try:
        completion = _joined(text) if text.startswith((_STREAMED, ":", "event:")) else json.loads(text)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _no_completion(body) from error
    if isinstance(completion, list) and len(completion) == 1 and isinstance(completion[0], dict):
        completion = completion[0]  # Gemini's errors are such lists
    if not isinstance(completion, dict):
        raise _no_completion(body)
    _raise_error(completion)
    return completion


def _no_completion(body: str) -> ModelServerError:
    return ModelServerError(f"it did not answer with a chat completion: {beginning(body)}")


def _raise_error(holder: dict[str, Any]) -> None:
    """Raises the error that a completion or a choice holds."""
    error = holder.get("error")
    if not error and holder.get("object") == "error":
        error = holder
    if not error:
        return
    code = error.get("code") or error.get("status_code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    is_status = isinstance(code, int) and 400 <= code < 600
    raise EmbeddedError(int(code) if is_status and code is not None else 500, {"error": error})


def _joined(text: str) -> dict[str, Any]:
    """Returns the completion that a server sent in pieces although it was not asked to."""
    pieces = [line.removeprefix(_STREAMED).strip() for line in text.splitlines() if line.startswith(_STREAMED)]
    chunks = [json.loads(piece) for piece in pieces if piece and piece != "[DONE]"]
    content, refusal = [], []
    whole: dict[str, Any] = {"choices": []}
    choice: dict[str, Any] = {}
    for chunk in chunks:
        if chunk.get("error"):
            return dict(chunk)
        whole["usage"] = chunk.get("usage") or whole.get("usage")
        for part in (chunk.get("choices") or [])[:1]:
            delta = part.get("delta") or part.get("message") or {}
            content.append(_text(delta.get("content"))[0] or "")
            refusal.append(delta.get("refusal") or "")
            choice |= {name: value for name, value in part.items() if value is not None and name != "delta"}
    if choice:
        choice["message"] = {"content": "".join(content), "refusal": "".join(refusal)}
        # What broke off has no finish reason, which elsewhere means a finished answer.
        whole["choices"] = [{"finish_reason": "unfinished"} | choice]
    return whole


def _finish(choice: dict[str, Any]) -> str | None:
    """Returns ``stop``, ``length`` or ``blocked``, or None for an answer that is not finished."""
    reasons = [_normal(choice.get(name)) for name in ("finish_reason", "native_finish_reason")]
    if "blocked" in reasons:
        return "blocked"
    # A gateway may say "stop" of what its model says more exactly.
    return "length" if reasons == ["stop", "length"] else reasons[0]


def _normal(reason: Any) -> str | None:
    if reason is None or reason == "":
        return "stop"
    if not isinstance(reason, str):
        return None
    name = reason.partition(":")[0].strip().lower().replace("-", "_").replace(" ", "_").removeprefix("finish_reason_")
    if name in _FINISHED:
        return "stop"
    if name in _CUT:
        return "length"
    return "blocked" if name in _BLOCKED else None


def _named(choice: dict[str, Any]) -> str:
    names = [str(choice.get(name))[:40] for name in ("finish_reason", "native_finish_reason") if choice.get(name)]
    return " ".join(dict.fromkeys(names)) or "None"


def _text(content: Any) -> tuple[str | None, bool]:
    """Returns the text of a message's content, or None without any, and whether a part of it is a refusal."""
    if isinstance(content, str):
        return content, False
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return None, False
    texts: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            if part.get("type") == "refusal" or _says(part.get("refusal")):
                return None, True
            if part.get("type") in (None, "text", "output_text") and isinstance(part.get("text"), str):
                texts.append(part["text"])
    return ("".join(texts), False) if texts else (None, False)


def _says(refusal: Any) -> bool:
    return isinstance(refusal, str) and bool(refusal.strip())


def _was_filtered(choice: dict[str, Any]) -> bool:
    """Whether Azure's filter took something out."""
    results = choice.get("content_filter_results")
    found = results.values() if isinstance(results, dict) else ()
    return any(isinstance(one, dict) and one.get("filtered") is True for one in found)


def _is_blocked_prompt(completion: dict[str, Any]) -> bool:
    """Whether an answer without choices says why: Gemini's and Azure's filters of what is asked."""
    feedback = completion.get("promptFeedback") or completion.get("prompt_feedback")
    if isinstance(feedback, dict) and (feedback.get("blockReason") or feedback.get("block_reason")):
        return True
    prompts = completion.get("prompt_filter_results")
    return any(isinstance(one, dict) and _was_filtered(one) for one in (prompts if isinstance(prompts, list) else ()))


def _tokens(completion: dict[str, Any]) -> tuple[int, int]:
    usage = completion.get("usage")
    if not isinstance(usage, dict):
        return 0, 0
    return _number(usage.get("prompt_tokens")), _number(usage.get("completion_tokens"))


def _number(value: Any) -> int:
    """Returns a count of tokens; what cannot be one is none."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return 0
    return int(number) if math.isfinite(number) and 0 <= number <= _MOST_TOKENS else 0
