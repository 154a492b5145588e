"""Joins the chunks of a chat completion that a server streams although streaming was not requested.

Chunks are server-sent events (https://html.spec.whatwg.org, 9.2): lines end with CR, LF or both, and nothing else does,
such as a line separator within a text.
"""

from __future__ import annotations

import json
import re
from typing import Any

_DATA = "data:"
_BEGINNINGS = (_DATA, ":", "event:", "id:", "retry:")
_REASONING = ("reasoning_content", "reasoning")


def is_stream(body: str) -> bool:
    """Whether a body holds server-sent events.

    >>> is_stream('data: {"choices": []}'), is_stream('{"choices": []}')
    (True, False)
    """
    return body.startswith(_BEGINNINGS)


def joined(body: str) -> dict[str, Any]:
    """Returns the completion in a stream: its first choice, or the error that the stream holds.

    >>> whole = joined('data: {"choices": [{"delta": {"content": "A car."}, "finish_reason": "stop"}]}')
    >>> whole["choices"][0]["message"]["content"]
    ['A car.']

    Raises:
        ValueError, LookupError, TypeError, AttributeError: It is not a stream of a chat completion.
    """
    whole: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    content: list[Any] = []
    said = dict.fromkeys(("refusal", *_REASONING), "")
    for is_error, chunk in _chunks(body):
        if is_error or chunk.get("error") or chunk.get("object") == "error":
            return {"error": chunk.get("error") or chunk}
        whole |= {name: value for name, value in chunk.items() if value is not None and name != "choices"}
        for part in chunk.get("choices") or []:
            if part.get("index") not in (None, 0):
                continue
            delta = part.get("delta") or part.get("message") or {}
            found = delta.get("content")
            content += found if isinstance(found, list) else [found]
            said = {name: before + str(delta.get(name) or "") for name, before in said.items()}
            choice |= {name: value for name, value in part.items() if value is not None and name != "delta"}
    if choice:
        choice["message"] = {"content": content} | said
        # An interrupted stream has no finish reason, which in other responses means a finished completion.
        choice = {"finish_reason": "unfinished"} | choice
    return whole | {"choices": [choice] if choice else []}


def _chunks(body: str) -> list[tuple[bool, dict[str, Any]]]:
    """Returns the chunks of a stream, each with whether it is an ``error`` event."""
    chunks = []
    event = ""
    for line in re.split(r"\r\n|\r|\n", body):
        if line.startswith("event:"):
            event = line.removeprefix("event:").strip()
        elif line.startswith(_DATA):
            data = line.removeprefix(_DATA).strip()
            if data and data != "[DONE]":
                chunks.append((event == "error", json.loads(data, strict=False)))
        elif not line:
            event = ""
    return chunks
