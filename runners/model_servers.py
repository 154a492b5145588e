"""What can be known of a model server before the first video; part of `runners.preflight`."""

from __future__ import annotations

import shlex
import shutil
from typing import Any

from beam_curate.engines import openai_protocol
from beam_curate.engines.endpoint import Endpoint
from beam_curate.engines.refusals import Refusal, shortened
from beam_curate.errors import ModelServerError, SetupError, UsageError
from beam_curate.models import connection

_TIMEOUT_S = 10.0
_LOADING_S = 60.0  # some servers load a model when it is asked for


def check_endpoint(endpoint: Endpoint) -> None:
    """Checks that ``--captioning-endpoint`` answers, takes the key and has the model.

    Raises:
        UsageError: It does not.
    """
    url, model = endpoint.url, endpoint.model
    try:
        key = openai_protocol.api_key()
        names = _models(url, key, must_list=model is None)
        if model is None:
            openai_protocol.only_model(names, url)
        elif model not in names:  # servers may know more than they list
            _try(url, key, model, names)
    except (SetupError, ModelServerError) as error:
        raise UsageError(str(error)) from error


def check_command(command: str) -> None:
    """Checks that the program of ``--vllm-command`` is there.

    Raises:
        UsageError: It is not.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--vllm-command {command!r} cannot be read ({error})") from error
    if words and shutil.which(words[0]):
        return
    name = words[0] if words else ""
    raise UsageError(
        f"--captioning-engine vllm starts a server with --vllm-command {command!r}, and there is no "
        f"program {name!r}: install vLLM (pip install vllm), or say how it is started"
    )


def _models(url: str, key: str | None, *, must_list: bool) -> list[str]:
    """Returns the models that a server lists; without ``must_list`` none where it has no list."""
    import httpx2

    try:
        status, body, refusal = _ask(url, "/models", key, _TIMEOUT_S)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise UsageError(
            f"the model server {url} does not answer ({shortened(str(error) or type(error).__name__, key)}): start it, "
            "or correct --captioning-endpoint"
        ) from error
    said = f"HTTP {status}: {refusal.said}"
    if refusal.is_exhausted:
        raise UsageError(f"the model server {url} gives no answers ({said}): its account or quota is used up")
    if status in (401, 403):
        advice = "set it to the right one" if key else "set it"
        raise UsageError(f"the model server {url} wants a key in the variable {openai_protocol.KEY}: {advice} ({said})")
    if status == 200:
        try:
            return openai_protocol.read_models(body)
        except ModelServerError as error:
            reason = shortened(str(error), key)
            raise UsageError(f"{url} is no OpenAI-compatible server: {reason}; most end in /v1") from error
    if must_list:
        raise UsageError(
            f"the model server {url} does not list its models ({said}): is that its base URL, up to /v1? Then name "
            "yours with --captioning-endpoint-model"
        )
    return []


def _try(url: str, key: str | None, model: str, names: list[str]) -> None:
    """Asks a model that is not listed for one word."""
    import httpx2

    question = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    try:
        status, _, refusal = _ask(url, "/chat/completions", key, _LOADING_S, question)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return  # it may be loading the model
    said = f"HTTP {status}: {refusal.said}"
    if status < 400 or refusal.unwanted(["max_tokens"]):  # fields are another matter
        return
    if status == 401:
        raise UsageError(f"the model server {url} wants a key in the variable {openai_protocol.KEY} ({said})")
    if refusal.is_exhausted:
        raise UsageError(f"the model server {url} gives no answers ({said}): its account or quota is used up")
    if status == 404 or (400 <= status < 500 and model in refusal.said):
        listed = f"; it lists {', '.join(names)}" if names else ""
        raise UsageError(f"the model server {url} does not take --captioning-endpoint-model {model} ({said}){listed}")


def _ask(
    url: str, page: str, key: str | None, timeout_s: float, body: dict[str, Any] | None = None
) -> tuple[int, str, Refusal]:
    """Returns the status and the body of an answer, and what the body says if it is an error."""
    import httpx2

    headers = {"Authorization": f"Bearer {key}"} if key else {}  # a redirect to another server loses it
    with connection.client(url, httpx2.Timeout(timeout_s)) as client:
        answer = client.request("GET" if body is None else "POST", url.rstrip("/") + page, headers=headers, json=body)
        return answer.status_code, answer.text, Refusal.of(answer.status_code, answer.text, answer.headers, key)
