"""Which fields a model server takes: learnt from what it refuses, once for all threads of a process."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from beam_curate.engines.refusals import Refusal
from beam_curate.progress.terminal import shown

_LOG = logging.getLogger(__name__)

# Who takes OpenAI's own fields alone: OpenAI, and Azure's hosts in all its clouds.
_STRICT_HOSTS = (
    *(".openai.com", ".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
    *(".openai.azure.us", ".services.ai.azure.us", ".cognitiveservices.azure.us"),
    *(".openai.azure.cn", ".cognitiveservices.azure.cn", ".api.cognitive.microsoft.com"),
)
_LIMITS = ("max_tokens", "max_completion_tokens")
_FREQUENCY_PENALTY = 0.5  # instead of a repetition penalty; OpenAI advises 0.1 to 1

FLAGS = {
    "temperature": "--vllm-sampling-temperature 1",
    "top_p": "--vllm-sampling-top-p 1",
    "presence_penalty": "--vllm-sampling-presence-penalty 0",
    "frequency_penalty": "--vllm-sampling-frequency-penalty 0",
    "top_k": "--vllm-sampling-top-k 0",
    "min_p": "--vllm-sampling-min-p 0",
    "repetition_penalty": "--vllm-sampling-repetition-penalty 1",
    "min_tokens": "--vllm-sampling-min-tokens 0",
}
"""The fields of sampling, with the flag that keeps each from being sent."""

OPTIONAL = (*FLAGS, "seed", "mm_processor_kwargs")
"""What a request can do without."""


def is_strict(url: str) -> bool:
    """Whether a server takes OpenAI's own fields alone."""
    return f".{(urlsplit(url).hostname or '').rstrip('.').lower()}".endswith(_STRICT_HOSTS)


class Dialect:
    """What one server was found to take; several threads may use it.

    Args:
        url: The server's base URL, for what is told.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._left_out: set[str] = set()
        self._limit: str | None = None
        self._learning = threading.Lock()

    def spoken(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the fields of a request as the server takes them."""
        with self._learning:
            left_out, limit = set(self._left_out), self._limit
        spoken = {name: value for name, value in fields.items() if name not in left_out and name not in _LIMITS}
        lost_penalty = "repetition_penalty" in fields and "repetition_penalty" in left_out
        if lost_penalty and fields["repetition_penalty"] > 1.1 and "frequency_penalty" not in left_out:
            spoken.setdefault("frequency_penalty", _FREQUENCY_PENALTY)
        for name in _LIMITS:
            if name in fields and "limit" not in left_out:
                spoken[limit or name] = fields[name]
        return spoken

    def learns(self, refusal: Refusal, sent: Mapping[str, Any]) -> bool:
        """Takes in why a request was refused, and returns whether it is worth another one."""
        name = refusal.unwanted([*_LIMITS, *OPTIONAL])
        if name is None or (refusal.is_token_limit and name in _LIMITS):
            return False
        limit = next((field for field in _LIMITS if field in sent), None)
        with self._learning:
            if name in _LIMITS:
                return limit is not None and self._learns_limit(limit, refusal)
            if name not in sent:
                name = refusal.unwanted(sent)  # another one may be named, too
                if name not in OPTIONAL:
                    return False
            self._leave_out(name, FLAGS.get(name, ""), refusal)
            return True

    def _learns_limit(self, sent: str, refusal: Refusal) -> bool:
        if self._limit is not None and self._limit != sent:
            return True  # another thread has learnt it meanwhile
        if self._limit is not None:  # it takes neither
            self._leave_out("limit", "--captioning-max-output-tokens -1", refusal)
            return True
        (self._limit,) = (name for name in _LIMITS if name != sent)
        _LOG.info("the model server %s takes %s instead of %s", shown(self._url), self._limit, sent)
        return True

    def _leave_out(self, name: str, flag: str, refusal: Refusal) -> None:
        if name in self._left_out:
            return
        self._left_out.add(name)
        _LOG.warning(
            "the model server %s does not take %s and is asked without it from now on%s (it said: %s)",
            shown(self._url),
            "a limit of tokens" if name == "limit" else name,
            f", as with {flag}" if flag else "",
            shown(refusal.said),
        )


@functools.cache
def of(url: str, model: str | None) -> Dialect:
    """Returns the dialect of a server's model, one in a process."""
    return Dialect(url)
