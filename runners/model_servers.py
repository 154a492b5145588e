"""What can be known of a model server before the first video; part of `runners.preflight`."""

from __future__ import annotations

import http.client
import json
import shlex
import shutil
import urllib.error
import urllib.request
from typing import Any

from beam_curate.caption_options import CaptionOptions
from beam_curate.errors import ModelRequestError, ModelServerError, UsageError
from beam_curate.models import chat

_TIMEOUT_S = 10.0
_LOADING_S = 60.0  # some servers load a model when it is asked for
_LONGEST_BODY = 1 << 22  # bytes


def check_endpoint(options: CaptionOptions) -> None:
    """Checks that ``--captioning-endpoint`` answers, takes the key and has the model.

    Raises:
        UsageError: It does not.
    """
    assert options.captioning_endpoint is not None
    url, model = options.captioning_endpoint, options.captioning_endpoint_model
    try:
        key = chat.api_key()
        names = _models(url, key, must_list=model == "auto")
        if model == "auto":
            chat.only_model(names, url)
        elif model not in names:  # servers may know more than they list
            _try(url, key, model, names)
    except (ModelRequestError, ModelServerError) as error:
        raise UsageError(str(error)) from error


def check_command(options: CaptionOptions) -> None:
    """Checks that the program of ``--vllm-command`` is there.

    Raises:
        UsageError: It is not.
    """
    try:
        words = shlex.split(options.vllm_command)
    except ValueError as error:
        raise UsageError(f"--vllm-command {options.vllm_command!r} cannot be read ({error})") from error
    if words and shutil.which(words[0]):
        return
    name = words[0] if words else ""
    raise UsageError(
        f"--captioning-engine vllm starts a server with --vllm-command {options.vllm_command!r}, and there is no "
        f"program {name!r}: install vLLM (pip install vllm), or say how it is started"
    )


def _models(url: str, key: str | None, *, must_list: bool) -> list[str]:
    """Returns the models that a server lists; without ``must_list`` none where it has no list."""
    try:
        status, body = _ask(f"{url.rstrip('/')}/models", key, _TIMEOUT_S)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UsageError(
            f"the model server {url} does not answer ({reason}): start it, or mend --captioning-endpoint"
        ) from error
    said = chat.shortened(chat.error_text(_parsed(body)), key)
    if status in (401, 403):
        mend = "set it to the right one" if key else "set it"
        raise UsageError(
            f"the model server {url} wants a key in the variable {chat.KEY}: {mend} (HTTP {status}: {said})"
        )
    if status == 200:
        try:
            return chat.read_models(body)
        except ModelServerError as error:
            reason = chat.shortened(str(error), key)
            raise UsageError(f"{url} is no OpenAI-compatible server: {reason}; most end in /v1") from error
    if must_list:
        raise UsageError(
            f"the model server {url} does not list its models (HTTP {status}: {said}): is that its base URL, up to "
            "/v1? Then name yours with --captioning-endpoint-model"
        )
    return []


def _try(url: str, key: str | None, model: str, names: list[str]) -> None:
    """Asks a model that is not listed for one word."""
    question = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    try:
        status, body = _ask(f"{url.rstrip('/')}/chat/completions", key, _LOADING_S, question)
    except (OSError, http.client.HTTPException):
        return  # it may be loading the model
    said = chat.shortened(chat.error_text(_parsed(body)), key)
    if status == 401:
        raise UsageError(f"the model server {url} wants a key in the variable {chat.KEY} (HTTP {status}: {said})")
    if status == 404 or (400 <= status < 500 and model in said):
        listed = f"; it lists {', '.join(names)}" if names else ""
        raise UsageError(
            f"the model server {url} does not take --captioning-endpoint-model {model} (HTTP {status}: {said}){listed}"
        )


def _ask(url: str, key: str | None, timeout_s: float, body: dict[str, Any] | None = None) -> tuple[int, str]:
    """Returns the status and the body of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    if key:
        request.add_unredirected_header("Authorization", f"Bearer {key}")  # it is for this server alone
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read(_LONGEST_BODY).decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(_LONGEST_BODY).decode(errors="replace")


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body
