"""The engine ``endpoint``: a model behind an OpenAI-compatible server, with retries and a concurrency limit."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from beam_curate.engines import dialect, openai_protocol
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.completion import EmbeddedError, read_completion
from beam_curate.engines.refusals import Refusal, shortened
from beam_curate.errors import ModelContextError, ModelRequestError, ModelServerError, SetupError
from beam_curate.models import connection
from beam_curate.models.slot import ModelRef

_NO_KEY = "none"  # the client requires a key; local servers ignore it
_LONGEST_DELAY_S = 120.0
_CONNECT_S = 10.0
_MOST_REFUSED = 5  # refused requests before the first completion, after which the stage stops
_CONTEXT_FLAGS = (
    "lower --captioning-sampling-fps or --captioning-window-size, shorten --captioning-prompt-text, or use "
    "--captioning-endpoint-media mp4"
)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible server.

    Attributes:
        url: Base URL, which usually ends in ``/v1``.
        model: Name of the model; None for the only one that the server lists.
        media: How frames are sent: ``frames`` as JPEG images, ``mp4`` as a video.
    """

    url: str
    model: str | None = None
    media: str = "frames"


@dataclasses.dataclass(frozen=True)
class RequestPolicy:
    """Concurrency, retries and timeouts of requests to a server.

    Attributes:
        concurrency: Requests in flight at a time, of all threads of a process together.
        retries: Further attempts when the server cannot answer at the moment.
        delay_s: Delay before the first retry, in s; it doubles each time.
        timeout_s: Longest wait for a response, in s.
    """

    concurrency: int = 8
    retries: int = 3
    delay_s: float = 1.0
    timeout_s: float = 600.0


@dataclasses.dataclass(frozen=True)
class _Retriable:
    """A request without a completion that can be retried: the reason, and how long the server asks to wait, in s."""

    reason: str
    wait_s: float = 0.0


class EndpointEngine:
    """Sends requests to a server, several at a time; several threads may use it at once.

    Args:
        endpoint: The server and its model.
        policy: Concurrency, retries and timeouts.
        key: API key; it appears in no message.
        direct: Whether to bypass the proxies that the environment names.
        is_vllm: Whether the server is vLLM; None if unknown, then the server is asked.

    Raises:
        SetupError: A proxy or certificates that the environment names cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        policy: RequestPolicy,
        key: str | None = None,
        direct: bool = False,
        is_vllm: bool | None = None,
    ) -> None:
        import openai

        url, model = endpoint.url, endpoint.model
        self._url = url
        self._media = endpoint.media
        self._policy = policy
        self._key = key
        timeout = openai.Timeout(policy.timeout_s, connect=min(policy.timeout_s, _CONNECT_S))
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key or _NO_KEY,
            max_retries=0,  # retries are made here, with our own delays
            timeout=timeout,
            http_client=connection.client(url, timeout, direct=direct),
        )
        self._strict = dialect.is_strict(url)
        self._dialect = dialect.of(url, model)
        self._kind = dialect.ServerKind(self._client, url, False if self._strict else is_vllm)
        self._limit = _concurrency_limit(url, policy.concurrency)
        self._model = model
        self._naming = threading.Lock()
        self._stopped: SetupError | None = None
        self._has_completed = False
        self._refused = 0

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion | Exception]:
        """Returns completions; see `Engine`.

        A request without a response after all retries gives a `ModelServerError`, a refused one a `ModelContextError`
        or a `ModelRequestError`. After a `SetupError`, which every request would give, nothing more is sent.
        """
        completions: dict[int, Completion | Exception] = {}
        waiting = collections.deque(enumerate(requests))

        def work() -> None:
            with contextlib.suppress(IndexError):
                while True:
                    position, request = waiting.popleft()
                    completions[position] = self._complete(request, params)

        # Not a pool of concurrent.futures: its threads would keep the process alive until the last response.
        number = min(len(requests), self._policy.concurrency)
        threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [completions[position] for position in range(len(requests))]

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _complete(self, request: Request, params: SamplingParams) -> Completion | Exception:
        try:
            messages = openai_protocol.messages(request, self._media)
            fields = openai_protocol.parameters(params, request.seed, strict=self._strict)
            if self._media == "mp4" and self._kind.is_vllm(self._model):
                fields |= dialect.KEEP_ALL_FRAMES
            return self._send_with_retries(messages, fields)
        except Exception as error:  # noqa: BLE001 - it becomes the failure of the request
            failure = error.with_traceback(None)
        if isinstance(failure, SetupError):
            self._stopped = failure
        return failure

    def _send_with_retries(self, messages: list[dict[str, Any]], fields: dict[str, Any]) -> Completion:
        attempts = 0
        while True:
            with self._limit:
                outcome = self._attempt(messages, fields)
            if isinstance(outcome, Completion):
                return outcome
            if attempts == self._policy.retries:
                break
            # Requests that failed together must not be retried together.
            delay = self._policy.delay_s * 2**attempts * random.uniform(0.75, 1.25)
            time.sleep(min(max(delay, outcome.wait_s), _LONGEST_DELAY_S))
            attempts += 1
        raise ModelServerError(
            f"the model server {self._url} gave no completion in {attempts + 1} attempts (--openai-caption-retries): "
            f"{outcome.reason}"
        )

    def _attempt(self, messages: list[dict[str, Any]], fields: dict[str, Any]) -> Completion | _Retriable:
        """Makes one attempt, repeated at once if the server wants other fields; raises why it refuses the request."""
        while True:
            accepted = self._dialect.accepted(fields)
            outcome = self._send(messages, accepted)
            if not isinstance(outcome, Refusal):
                return outcome
            handled = self._handle(outcome, accepted)
            if handled is not None:
                return handled

    def _send(self, messages: list[dict[str, Any]], fields: Mapping[str, Any]) -> Completion | _Retriable | Refusal:
        import httpx2
        import openai

        if self._stopped is not None:
            raise self._stopped
        try:
            with self._naming:
                self._model = self._model or self._only_model()
            create: Any = self._client.chat.completions.with_raw_response.create
            completion = read_completion(create(model=self._model, messages=messages, extra_body=fields).text)
        except ModelServerError as error:
            return _Retriable(self._clean(str(error)))
        except EmbeddedError as error:
            return Refusal.of(error.status, error.body, {}, self._key)
        except openai.APITimeoutError:
            return _Retriable(f"no response within {self._policy.timeout_s:g} s (--openai-timeout-s)")
        except openai.APIConnectionError as error:
            return _Retriable(self._clean(f"the connection failed ({error.__cause__ or error})"))
        except openai.APIStatusError as error:
            return Refusal.of(error.status_code, error.response.text, error.response.headers, self._key)
        except httpx2.HTTPError as error:  # while reading the body of a refusal
            return _Retriable(self._clean(f"the connection failed ({error})"))
        self._has_completed = True
        return completion

    def _only_model(self) -> str:
        return openai_protocol.only_model(
            openai_protocol.read_models(self._client.models.with_raw_response.list().text), self._url
        )

    def _handle(self, refusal: Refusal, fields: Mapping[str, Any]) -> Completion | _Retriable | None:
        """Returns the outcome of a refused request, or None to repeat it at once with other fields.

        Raises:
            SetupError: Every other request would be refused as well.
            ModelContextError: The frames of this one are too many or too large.
            ModelRequestError: The server does not accept this one.
        """
        message = f"the model server {self._url} refused the request with HTTP {refusal.status}: {refusal.said}"
        if refusal.is_exhausted:
            raise SetupError(
                f"{message}; the account's credit or quota is used up: top it up, or use "
                "another server with --captioning-endpoint"
            )
        if refusal.is_blocked:
            return Completion("", 0, 0, "blocked")
        if refusal.takes_no_images:
            raise SetupError(f"{message}; choose a model that accepts images with --captioning-endpoint-model")
        if refusal.passes:
            return _Retriable(f"it responded with HTTP {refusal.status}: {refusal.said}", refusal.wait_s)
        self._check_size(refusal, fields, message)
        if self._dialect.learns(refusal, fields):
            return None
        self._check_setup(refusal, message)
        self._refused += 1
        if not self._has_completed and self._refused >= _MOST_REFUSED:
            raise SetupError(
                f"{message}; it refused all of the first {self._refused} windows: check --captioning-endpoint, "
                "--captioning-endpoint-model and --captioning-endpoint-media"
            )
        raise ModelRequestError(message)

    def _check_size(self, refusal: Refusal, fields: Mapping[str, Any], message: str) -> None:
        most = max((fields.get(name, 0) for name in ("max_tokens", "max_completion_tokens")), default=0)
        if refusal.is_too_long:
            if most and refusal.context_length and most >= refusal.context_length:
                raise SetupError(f"{message}; lower --captioning-max-output-tokens {most}")
            also = f", or lower --captioning-max-output-tokens {most}" if most else ""
            raise ModelContextError(f"{message}; {_CONTEXT_FLAGS}{also}")
        if refusal.is_token_limit:
            raise SetupError(f"{message}; lower --captioning-max-output-tokens {most or ''}".rstrip())

    def _check_setup(self, refusal: Refusal, message: str) -> None:
        if unknown := refusal.unwanted(dialect.FLAGS):
            raise SetupError(f"{message}; to leave out the field that it does not accept, add {dialect.FLAGS[unknown]}")
        if refusal.takes_no_video and self._media == "mp4":
            raise SetupError(f"{message}; use --captioning-endpoint-media frames")
        if refusal.is_about_model and refusal.status not in (401, 403):
            raise SetupError(
                f"{message}; check the URL, including /v1 (--captioning-endpoint), and that the server has "
                f"the model {self._model or ''} (--captioning-endpoint-model)"
            )
        if refusal.is_about_key:
            fix = "it is wrong or lacks the permission" if self._key else "none is set"
            raise SetupError(
                f"{message}; the server needs an API key in the environment variable {openai_protocol.KEY}: {fix}"
            )

    def _clean(self, text: str) -> str:
        return shortened(text, self._key)


def reference(endpoint: Endpoint, policy: RequestPolicy) -> ModelRef:
    """Returns a reference to the model behind an endpoint; it holds no key.

    >>> reference(Endpoint("http://127.0.0.1:8000/v1", "tiny"), RequestPolicy()).identity
    'endpoint tiny, frames'
    """
    load = functools.partial(_load, endpoint=endpoint, policy=policy)
    name = endpoint.model or "auto"
    return ModelRef(name, load, identity=f"endpoint {name}, {endpoint.media}", shared=True)


def _load(device: str, endpoint: Endpoint, policy: RequestPolicy) -> EndpointEngine:
    return EndpointEngine(endpoint, policy, openai_protocol.api_key())


@functools.cache
def _concurrency_limit(url: str, concurrency: int) -> threading.BoundedSemaphore:
    """Returns the limit of a server, one per process: each GPU's slot has its own engine."""
    return threading.BoundedSemaphore(concurrency)
