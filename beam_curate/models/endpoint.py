"""The engine ``endpoint``: a model behind an OpenAI-compatible server."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import email.utils
import functools
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from beam_curate.caption_options import CaptionOptions
from beam_curate.errors import ModelRequestError, ModelServerError
from beam_curate.models import chat
from beam_curate.models.server_kind import KEEP_ALL_FRAMES, ServerKind
from beam_curate.models.slot import ModelRef
from beam_curate.models.vision_language import Answer, Generation, Question

_NO_KEY = "none"  # the client wants one; local servers look at none
_LONGEST_DELAY_S = 120.0
_CONNECT_S = 10.0
# Who takes OpenAI's own fields alone.
_STRICT_HOSTS = (".openai.com", ".openai.azure.com")


@dataclasses.dataclass(frozen=True)
class Asking:
    """How a server is asked.

    Attributes:
        media: ``frames`` or ``mp4``.
        most_at_once: Requests to one server at a time, by all threads of a process together.
        retries: How often a request is made again when the server cannot answer it now.
        delay_s: Before the first repetition, in s; it doubles each time.
        timeout_s: Longest wait for an answer, in s.
    """

    media: str
    most_at_once: int
    retries: int
    delay_s: float
    timeout_s: float

    @classmethod
    def of(cls, options: CaptionOptions) -> Asking:
        """Returns what the options say."""
        return cls(
            options.captioning_endpoint_media,
            options.api_caption_batch_size,
            options.openai_caption_retries,
            options.openai_retry_delay_seconds,
            options.openai_timeout_s,
        )


@dataclasses.dataclass(frozen=True)
class _Unanswered:
    """A request that may be answered later: why it was not, and how long the server asks to wait, in s."""

    reason: str
    wait_s: float = 0.0


class EndpointEngine:
    """Asks a server, several questions at a time; several threads may use it at once.

    Args:
        url: The base URL, which usually ends in ``/v1``.
        model: Its name; None for the only one that the server has.
        asking: How it is asked.
        key: What the server wants to see; it appears in no message.
        direct: Whether to look past the proxies that the environment names.
        is_vllm: Whether the server is vLLM, where that is known; None to ask it.
    """

    def __init__(
        self,
        url: str,
        model: str | None,
        asking: Asking,
        key: str | None = None,
        direct: bool = False,
        is_vllm: bool | None = None,
    ) -> None:
        import openai

        self._url = url
        self._asking = asking
        self._key = key
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key or _NO_KEY,
            max_retries=0,  # its delays are its own
            timeout=openai.Timeout(asking.timeout_s, connect=min(asking.timeout_s, _CONNECT_S)),
            http_client=openai.DefaultHttpxClient(trust_env=False) if direct else None,
        )
        self._strict = f".{urlsplit(url).hostname}".endswith(_STRICT_HOSTS)
        self._kind = ServerKind(self._client, url, False if self._strict else is_vllm)
        self._turns = _turns(url, asking.most_at_once)
        self._model = model
        self._naming = threading.Lock()
        self._rejected: str | None = None

    def answer(self, questions: Sequence[Question], generation: Generation) -> list[Answer | Exception]:
        """Answers questions; see `Engine`.

        A `ModelServerError` stands for a question that was not answered however often it was asked, a
        `ModelRequestError` for one that was refused. Once the key was refused, nothing more is sent.
        """
        answers: dict[int, Answer | Exception] = {}
        waiting = collections.deque(enumerate(questions))

        def work() -> None:
            with contextlib.suppress(IndexError):
                while True:
                    position, question = waiting.popleft()
                    answers[position] = self._answer(question, generation)

        # Not a pool of concurrent.futures: its threads would keep the process until the last answer is there.
        number = min(len(questions), self._asking.most_at_once)
        threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answers[position] for position in range(len(questions))]

    def close(self) -> None:
        """Closes connections."""
        self._client.close()

    def _answer(self, question: Question, generation: Generation) -> Answer | Exception:
        try:
            messages = chat.messages(question, self._asking.media)
            fields = chat.parameters(generation, question.seed, strict=self._strict)
            if self._asking.media == "mp4" and self._kind.is_vllm(self._model):
                fields |= KEEP_ALL_FRAMES
            return self._ask_again(messages, fields)
        except Exception as error:  # noqa: BLE001 - it becomes the failure of the question
            return error.with_traceback(None)

    def _ask_again(self, messages: list[dict[str, Any]], fields: dict[str, Any]) -> Answer:
        asked = 0
        while True:
            with self._turns:
                outcome = self._ask(messages, fields)
            if isinstance(outcome, Answer):
                return outcome
            if asked == self._asking.retries:
                break
            # Requests that failed together shall not come back together.
            delay = self._asking.delay_s * 2**asked * random.uniform(0.75, 1.25)
            time.sleep(min(max(delay, outcome.wait_s), _LONGEST_DELAY_S))
            asked += 1
        raise ModelServerError(
            f"the model server {self._url} did not answer, however often it was asked ({asked + 1}, see "
            f"--openai-caption-retries): {outcome.reason}"
        )

    def _ask(self, messages: list[dict[str, Any]], fields: dict[str, Any]) -> Answer | _Unanswered:
        """Makes one request; raises `ModelRequestError` where it is refused."""
        import openai

        if self._rejected is not None:
            raise ModelRequestError(self._rejected)
        try:
            with self._naming:
                self._model = self._model or self._only_model()
            create: Any = self._client.chat.completions.with_raw_response.create
            return chat.read_answer(create(model=self._model, messages=messages, extra_body=fields).text)
        except ModelServerError as error:
            return _Unanswered(self._clean(str(error)))
        except openai.APITimeoutError:
            return _Unanswered(f"nothing came within {self._asking.timeout_s:g} s (--openai-timeout-s)")
        except openai.APIConnectionError as error:
            return _Unanswered(self._clean(f"the connection failed ({error.__cause__ or error})"))
        except openai.APIStatusError as error:
            said = f"HTTP {error.status_code}: {self._clean(chat.error_text(error.body or error.response.text))}"
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                return _Unanswered(f"it answered {said}", _retry_after_s(error.response.headers))
            raise self._refusal(error.status_code, said, fields) from None

    def _only_model(self) -> str:
        return chat.only_model(chat.read_models(self._client.models.with_raw_response.list().text), self._url)

    def _refusal(self, status: int, said: str, fields: Mapping[str, Any]) -> ModelRequestError:
        message = f"the model server {self._url} refused the request with {said}"
        if status == 401:
            mend = "it is not the right one" if self._key else "it is not set"
            self._rejected = f"{message}; it wants a key in the environment variable {chat.KEY}, and {mend}"
            return ModelRequestError(self._rejected)
        if status == 404:
            return ModelRequestError(
                f"{message}; is the URL right, up to its /v1 (--captioning-endpoint), and does it have the model "
                f"{self._model or ''} (--captioning-endpoint-model)?"
            )
        unknown = [flag for name, flag in chat.EXTRAS.items() if name in fields and name in said]
        return ModelRequestError(
            f"{message}; for what it does not know, add {' '.join(unknown)}" if unknown else message
        )

    def _clean(self, text: str) -> str:
        return chat.shortened(text, self._key)


def reference(options: CaptionOptions) -> ModelRef:
    """Returns a reference to the model that ``--captioning-endpoint`` serves; it holds no key."""
    assert options.captioning_endpoint is not None
    model = None if options.captioning_endpoint_model == "auto" else options.captioning_endpoint_model
    load = functools.partial(_load, url=options.captioning_endpoint, model=model, asking=Asking.of(options))
    return ModelRef(options.captioning_endpoint_model, load, shared=True)


def _load(device: str, url: str, model: str | None, asking: Asking) -> EndpointEngine:
    return EndpointEngine(url, model, asking, chat.api_key())


@functools.cache
def _turns(url: str, most_at_once: int) -> threading.BoundedSemaphore:
    """Returns what bounds the requests to a server, one in a process: each GPU's slot has an engine of its own."""
    return threading.BoundedSemaphore(most_at_once)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Returns the wait that a server asks for, in s; it may name a number of seconds or a time (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        with contextlib.suppress(ValueError):
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0
