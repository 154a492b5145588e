"""Reads the body of a chat completion, in the forms that OpenAI-compatible servers are known to send.

Finish reasons are those of OpenAI, Azure, vLLM, SGLang, Ollama, llama.cpp and Groq (``stop``, ``length``,
``content_filter``), LM Studio (``eosFound``, ``contextLengthReached``), Gemini (its own names in upper case, also
behind OpenAI's face), Mistral (``model_length``), TGI and Together (``eos``, ``eos_token``, ``stop_sequence``),
Anthropic's models behind gateways (``end_turn``, ``max_tokens``, ``refusal``, ``model_context_window_exceeded``),
Cohere (``COMPLETE``, ``ERROR_TOXIC``), Bedrock (``guardrail_intervened``) and Zhipu (``sensitive``). Anything
else counts as an unfinished completion.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from beam_curate.engines import stream
from beam_curate.engines.base import Completion
from beam_curate.errors import ModelOutputError, ModelServerError

_FINISHED = {
    *("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "end_of_turn"),
    *("end_of_text", "end_of_sequence", "complete", "completed", "eos_found", "stop_string_found"),
}
_CUT = {
    *("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_new_tokens", "max_length"),
    *("model_length", "token_limit", "context_length", "model_context_window_exceeded", "error_limit"),
    *("max_predicted_tokens_reached", "context_length_reached"),
}
_BLOCKED = {
    *("content_filter", "contentfilter", "content_filtered", "refusal", "safety", "recitation", "blocklist"),
    *("prohibited_content", "spii", "image_safety", "image_prohibited_content", "image_recitation", "model_armor"),
    *("blocked", "blocked_reason_unspecified", "guardrail_intervened", "guardrail", "sensitive", "moderation"),
    *("flagged", "error_toxic", "content_policy", "content_policy_violation", "jailbreak"),
}
_MOST_TOKENS = 1 << 40  # the largest plausible count
_BEGINNING = 100
_REASONING = ("reasoning_content", "reasoning")
# Status of an error that names none, by the beginning of its type or code: OpenAI's and Anthropic's.
_STATUSES = {
    "insufficient_quota": 429,
    "rate_limit": 429,
    "billing": 402,
    "authentication": 401,
    "invalid_api_key": 401,
    "invalidapikey": 401,
    "permission": 403,
    "model_not_found": 404,
    "not_found": 404,
    "request_too_large": 413,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "invalid_request": 400,
    "resource_exhausted": 429,
    "unauthenticated": 401,
}
_ERROR_NAMES = ("errors", "detail", "message", "msg")  # of gateways, FastAPI and DashScope


class EmbeddedError(Exception):
    """An error in the body of HTTP 200, as OpenRouter and other gateways send it.

    >>> read_completion('{"error": {"message": "slow down", "code": 429}}')
    Traceback (most recent call last):
    beam_curate.engines.completion.EmbeddedError: an error with status 429

    Attributes:
        status: HTTP status that it corresponds to; 500 if the body names none.
        body: The error.
    """

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"an error with status {status}")
        self.status = status
        self.body = body


def read_completion(body: str) -> Completion:
    """Returns the completion in the body of a response; reasoning in a field of its own is left out.

    >>> read_completion('{"choices": [{"message": {"content": "A car."}, "finish_reason": "stop"}]}')
    Completion(text='A car.', prompt_tokens=0, output_tokens=0, finish='stop')

    Raises:
        EmbeddedError: The body holds an error.
        ModelOutputError: The token limit was reached before any text.
        ModelServerError: It is not a chat completion, or an unfinished one.
    """
    completion = _completion(body)
    tokens = _tokens(completion)
    choice = _first_choice(completion)
    if choice is None:
        if _is_blocked_prompt(completion):
            return Completion("", *tokens, "blocked")
        _raise_other_error(completion)
        raise _no_completion(body)
    _raise_error(choice)
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice["text"]} if isinstance(choice.get("text"), str) else None
    if message is None:
        raise _no_completion(body)
    finish = _finish(choice)
    text, refused = _text(message.get("content"))
    if text is None and any(_says(message.get(name)) for name in _REASONING):
        text = ""  # it ended within its reasoning, and would again
    if finish == "blocked" or refused or _says(message.get("refusal")) or _was_filtered(choice):
        return Completion("", *tokens, "blocked")
    if finish is None:
        raise ModelServerError(f"its completion is unfinished (finish_reason {_named(choice)})")
    if not (text or "").strip() and finish == "length":
        raise ModelOutputError(
            f"the model reached its token limit ({tokens[1] or 'all'}, including reasoning) before any caption: "
            "raise --captioning-max-output-tokens",
            reason="cut_off",
        )
    if text is None:
        raise ModelServerError(f"its completion has no text (finish_reason {_named(choice)})")
    return Completion(text, *tokens, finish)


def beginning(body: str) -> str:
    """Returns the beginning of a body, for messages.

    >>> beginning("<html>  <title>Sign in</title>")
    "'<html> <title>Sign in</title>'"
    """
    return repr(" ".join(body[: 50 * _BEGINNING].split())[:_BEGINNING])


def _completion(body: str) -> dict[str, Any]:
    text = body.lstrip("\ufeff \t\r\n")
    try:
        completion = stream.joined(text) if stream.is_stream(text) else json.loads(text, strict=False)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _no_completion(body) from error
    if isinstance(completion, list) and len(completion) == 1 and isinstance(completion[0], dict):
        completion = completion[0]  # Gemini's errors are such lists
    if not isinstance(completion, dict):
        raise _no_completion(body)
    _raise_error(completion)
    return completion


def _no_completion(body: str) -> ModelServerError:
    return ModelServerError(f"its response is not a chat completion: {beginning(body)}")


def _raise_error(holder: dict[str, Any]) -> None:
    """Raises the error that a completion or a choice holds."""
    error = holder.get("error")
    if not error and holder.get("object") == "error":
        error = holder
    if error and (not isinstance(error, dict) or any(error.values())):
        raise EmbeddedError(_status(error), {"error": error})


def _raise_other_error(holder: dict[str, Any]) -> None:
    """Raises the error in a body without a completion, in forms other than OpenAI's."""
    found = [holder.get(name) for name in _ERROR_NAMES]
    if holder.get("base_resp") or any(isinstance(one, (str, list)) and one for one in found):
        raise EmbeddedError(_status(holder), holder)


def _status(error: Any) -> int:
    """Returns the HTTP status that an error names or corresponds to; 500 by default."""
    if not isinstance(error, dict):
        return 500
    named = [error.get(name) for name in ("code", "status_code", "status", "type")]
    for name in named:
        number = int(name) if isinstance(name, str) and name.isdecimal() and name.isascii() else name
        if isinstance(number, int) and 400 <= number < 600:
            return number
    words = [name.lower() for name in named if isinstance(name, str)]
    return next((status for begin, status in _STATUSES.items() for word in words if word.startswith(begin)), 500)


def _first_choice(completion: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the choice with index 0, or else the first one; None without any."""
    choices = completion.get("choices")
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return next((choice for choice in found if choice.get("index") == 0), found[0] if found else None)


def _finish(choice: dict[str, Any]) -> str | None:
    """Returns ``stop``, ``length`` or ``blocked``, or None for an unfinished completion."""
    reasons = [_normal(reason) for reason in _reasons(choice)]
    if "blocked" in reasons:
        return "blocked"
    # A gateway may say "stop" where its model is more specific.
    return "length" if reasons[0] == "stop" and "length" in reasons else reasons[0]


def _reasons(choice: dict[str, Any]) -> list[Any]:
    """Returns the finish reasons given by the server and by the provider behind it."""
    reason = choice.get("finish_reason")
    if reason is not None:
        return [reason, choice.get("native_finish_reason")]
    details = choice.get("finish_details")
    kind = details.get("type") if isinstance(details, dict) else None
    # Next to a finish reason, vLLM's stop_reason is the token or text that it stopped at.
    return [kind, choice.get("native_finish_reason"), choice.get("stop_reason")]


def _normal(reason: Any) -> str | None:
    if reason is None or reason == "":
        return "stop"
    if not isinstance(reason, str):
        return None
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[- ]", "_", reason.partition(":")[0].strip())
    name = words.lower().removeprefix("finish_reason_")
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
            is_text = part.get("type") in (None, "text", "output_text") and part.get("thought") is not True
            if is_text and isinstance(part.get("text"), str):
                texts.append(part["text"])
    return ("".join(texts), False) if texts else (None, False)


def _says(refusal: Any) -> bool:
    return bool(refusal.strip() if isinstance(refusal, str) else refusal)


def _was_filtered(choice: dict[str, Any]) -> bool:
    """Whether Azure's filter removed something."""
    results = [choice.get(name) for name in ("content_filter_results", "content_filter_result")]
    found = [one for result in results if isinstance(result, dict) for one in result.values()]
    found += [inner for one in found if isinstance(one, list) for inner in one]  # of lists of words
    return any(isinstance(one, dict) and one.get("filtered") is True for one in found)


def _is_blocked_prompt(completion: dict[str, Any]) -> bool:
    """Whether a response without choices reports a blocked prompt: Gemini's and Azure's prompt filters."""
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
    """Returns a token count; 0 for anything that cannot be one."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return 0
    return int(number) if math.isfinite(number) and 0 <= number <= _MOST_TOKENS else 0
