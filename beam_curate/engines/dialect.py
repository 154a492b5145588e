"""Which fields a model server accepts: learnt from its refusals, and from whether it is vLLM."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from beam_curate.engines.refusals import Refusal
from beam_curate.progress.terminal import shown

_LOG = logging.getLogger(__name__)

# Hosts that accept OpenAI's own fields only: OpenAI, and Azure in all its clouds.
_STRICT_HOSTS = (
    *(".openai.com", ".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
    *(".openai.azure.us", ".services.ai.azure.us", ".cognitiveservices.azure.us"),
    *(".openai.azure.cn", ".cognitiveservices.azure.cn", ".api.cognitive.microsoft.com"),
)
_LIMITS = ("max_tokens", "max_completion_tokens")
_FREQUENCY_PENALTY = 0.5  # replaces a repetition penalty; OpenAI recommends 0.1 to 1

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
"""The sampling fields, with the flag that leaves each out of requests."""

OPTIONAL = (*FLAGS, "seed", "mm_processor_kwargs")
"""Fields that can be left out of a request."""


KEEP_ALL_FRAMES = {"mm_processor_kwargs": {"do_sample_frames": False}}
"""A request field for vLLM: the frames of the video are already sampled.

Without it vLLM has the processor of Qwen3-VL sample a video again, at 2 frames/s
(https://docs.vllm.ai, OpenAI-compatible server, ``mm_processor_kwargs``; README of QwenLM/Qwen3-VL).
"""


def is_strict(url: str) -> bool:
    """Whether a server accepts OpenAI's own fields only.

    >>> is_strict("https://api.openai.com/v1"), is_strict("http://127.0.0.1:8000/v1")
    (True, False)
    """
    return f".{(urlsplit(url).hostname or '').rstrip('.').lower()}".endswith(_STRICT_HOSTS)


class Dialect:
    """The fields that one server accepts, as far as known; several threads may use it.

    >>> known = Dialect("http://127.0.0.1:8000/v1")
    >>> refusal = Refusal.of(400, "top_k is not supported", {}, key=None)
    >>> known.learns(refusal, {"top_k": 40, "seed": 0}), known.accepted({"top_k": 40, "seed": 0})
    (True, {'seed': 0})

    Args:
        url: The server's base URL, for log messages.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._left_out: set[str] = set()
        self._limit: str | None = None
        self._learning = threading.Lock()

    def accepted(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the fields of a request in the form that the server accepts."""
        with self._learning:
            left_out, limit = set(self._left_out), self._limit
        accepted = {name: value for name, value in fields.items() if name not in left_out and name not in _LIMITS}
        lost_penalty = "repetition_penalty" in fields and "repetition_penalty" in left_out
        if lost_penalty and fields["repetition_penalty"] > 1.1 and "frequency_penalty" not in left_out:
            accepted.setdefault("frequency_penalty", _FREQUENCY_PENALTY)
        for name in _LIMITS:
            if name in fields and "limit" not in left_out:
                accepted[limit or name] = fields[name]
        return accepted

    def learns(self, refusal: Refusal, sent: Mapping[str, Any]) -> bool:
        """Learns from a refusal; returns whether the request should be repeated with other fields."""
        name = refusal.unwanted([*_LIMITS, *OPTIONAL])
        if name is None or (refusal.is_token_limit and name in _LIMITS):
            return False
        limit = next((field for field in _LIMITS if field in sent), None)
        with self._learning:
            if name in _LIMITS:
                return limit is not None and self._learns_limit(limit, refusal)
            if name not in sent:
                name = refusal.unwanted(sent)  # a second field may be named, too
                if name not in OPTIONAL:
                    return False
            self._leave_out(name, FLAGS.get(name, ""), refusal)
            return True

    def _learns_limit(self, sent: str, refusal: Refusal) -> bool:
        if self._limit is not None and self._limit != sent:
            return True  # another thread has learnt it in the meantime
        if self._limit is not None:  # it accepts neither
            self._leave_out("limit", "--captioning-max-output-tokens -1", refusal)
            return True
        (self._limit,) = (name for name in _LIMITS if name != sent)
        _LOG.info("the model server %s accepts %s instead of %s", shown(self._url), self._limit, sent)
        return True

    def _leave_out(self, name: str, flag: str, refusal: Refusal) -> None:
        if name in self._left_out:
            return
        self._left_out.add(name)
        _LOG.warning(
            "the model server %s does not accept %s; requests omit it from now on%s (it said: %s)",
            shown(self._url),
            "a token limit" if name == "limit" else name,
            f", as with {flag}" if flag else "",
            shown(refusal.said),
        )


@functools.cache
def of(url: str, model: str | None) -> Dialect:
    """Returns the dialect of a server's model, one per process.

    >>> of("http://127.0.0.1:8000/v1", "tiny") is of("http://127.0.0.1:8000/v1", "tiny")
    True
    """
    return Dialect(url)


class ServerKind:
    """Whether a server is vLLM, which it is asked once; several threads may use it.

    Args:
        client: An `openai.OpenAI`.
        url: The base URL.
        is_vllm: Whether it is vLLM; None if unknown, then the server is asked.
    """

    def __init__(self, client: Any, url: str, is_vllm: bool | None) -> None:
        self._client = client
        self._version_page = url.rstrip("/").removesuffix("/v1") + "/version"
        self._known = is_vllm
        self._lock = threading.Lock()

    def is_vllm(self, model: str | None) -> bool:
        """Whether it is vLLM; a server that does not respond now counts as another, and is asked again next time.

        Args:
            model: Name of the requested model; None for the only one.
        """
        import openai

        with self._lock:
            if self._known is None:
                with contextlib.suppress(openai.APIConnectionError, openai.APIStatusError):
                    self._known = self._says_so(model)
            return bool(self._known)

    def _says_so(self, model: str | None) -> bool:
        page = self._page("/models")
        listed = page.get("data") if isinstance(page, dict) else None
        models = [one for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict)]
        owners = [one.get("owned_by") for one in models if model is None or one.get("id") == model]
        if any(owners):
            return "vllm" in owners
        version = self._page(self._version_page)
        return isinstance(version, dict) and list(version) == ["version"]

    def _page(self, path: str) -> Any:
        """Returns the JSON of a page, None without any; raises errors that may be temporary."""
        import httpx2
        import openai

        try:
            return json.loads(self._client.get(path, cast_to=httpx2.Response).text)
        except ValueError:
            return None
        except openai.APIStatusError as error:
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise
            return None
