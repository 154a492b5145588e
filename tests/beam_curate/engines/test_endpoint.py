"""Asking an OpenAI-compatible server: what it is sent, and what becomes of every way in which it may misbehave."""

from __future__ import annotations

import base64
import dataclasses
import email.utils
import json
import logging
import pickle
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest

from beam_curate import counters
from beam_curate.engines import endpoint, openai_protocol
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.endpoint import Endpoint, EndpointEngine, RequestPolicy
from beam_curate.errors import ContentError, ModelContextError, ModelRequestError, ModelServerError, SetupError
from beam_curate.models.slot import ModelSlots
from tests.support.misbehaving_server import (
    BLOCKED,
    BROKEN,
    BUSY,
    CAPTION,
    EMPTY,
    GOOD,
    HALF,
    HANGING,
    NO_CHOICES,
    NO_JSON,
    NO_TEXT,
    TRUNCATED,
    MisbehavingServer,
    Reply,
    chat_completion,
    pictures_of,
    refusal,
    text_of,
    video_of,
)

GREEDY = SamplingParams(max_output_tokens=100)
KEY = "sk-this-is-a-secret-0123456789"
CAPTIONED = Completion(CAPTION, 70, 9, "stop")


def make_request(prompt: str = "What happens?", frames: int = 4, **fields: Any) -> Request:
    """A question about frames of 84 x 56 pixels, each of another grey."""
    greys = (np.arange(frames, dtype=np.uint8) * 20 + 10)[:, None, None, None]
    pictures = np.broadcast_to(greys, (frames, 56, 84, 3)).copy()
    return Request(prompt, pictures, 2.5, 0, 95, **fields)


POLICY = RequestPolicy(concurrency=4, retries=2, delay_s=0.01, timeout_s=5.0)


def engine(
    server: MisbehavingServer,
    key: str | None = None,
    model: str | None = "served",
    media: str = "frames",
    **policy: Any,
) -> EndpointEngine:
    return EndpointEngine(Endpoint(server.url, model, media), dataclasses.replace(POLICY, **policy), key)


def ask(server: MisbehavingServer, params: SamplingParams = GREEDY, **changes: Any) -> Completion | Exception:
    (completion,) = engine(server, **changes).generate([make_request()], params)
    return completion


def test_frames_are_sent_as_jpegs_in_order_before_the_prompt() -> None:
    prompt = 'Say {what} "moves"\nhere 🙂'
    with MisbehavingServer().running() as server:
        engine(server).generate([make_request(prompt)], GREEDY)
    (body,) = server.requests
    pictures = pictures_of(body)
    assert [picture.shape for picture in pictures] == [(56, 84, 3)] * 4
    assert [round(picture.mean() / 10) for picture in pictures] == [1, 3, 5, 7]
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url"] * 4 + ["text"]
    assert text_of(body).endswith(prompt)
    assert "2.5 per second" in text_of(body)


def test_an_mp4_holds_the_frames_at_their_rate_and_is_the_same_each_time() -> None:
    with MisbehavingServer().running() as server:
        engine(server, media="mp4").generate([make_request(frames=6)] * 2, GREEDY)
    frames, rate = video_of(server.requests[0])
    assert [frame.shape for frame in frames] == [(56, 84, 3)] * 6
    assert [round(frame.mean() / 10) for frame in frames] == [1, 3, 5, 7, 9, 11]
    assert rate == 2.5
    assert text_of(server.requests[0]) == "What happens?"
    assert server.requests[0] == server.requests[1]


def test_a_greedy_request_says_so_and_leaves_out_what_is_neutral() -> None:
    with MisbehavingServer().running() as server:
        ask(server)
    (body,) = server.requests
    assert {name: value for name, value in body.items() if name != "messages"} == {
        "model": "served",
        "temperature": 0.0,
        "max_tokens": 100,
    }


def test_every_sampling_flag_reaches_the_server() -> None:
    params = SamplingParams(None, 0.7, 0.9, 40, 1.05, 0.5, 0.25, 0.1, 16)
    with MisbehavingServer().running() as server:
        engine(server).generate([make_request(seed=2**32 - 1)], params)
    (body,) = server.requests
    assert {name: value for name, value in body.items() if name not in ("messages", "model")} == {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "repetition_penalty": 1.05,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "min_p": 0.1,
        "min_tokens": 16,
        "seed": 2**32 - 1,
    }


def test_openai_itself_is_sent_only_the_fields_that_it_has() -> None:
    fields = openai_protocol.parameters(
        SamplingParams(50, top_k=40, repetition_penalty=1.05, min_tokens=16), 0, strict=True
    )
    assert fields == {"temperature": 0.0, "max_completion_tokens": 50}


def test_answers_come_in_the_order_of_the_questions() -> None:
    def slow_first(body: dict[str, Any]) -> Reply:
        number = int(text_of(body).rsplit(" ", 1)[1])
        return Reply(body=chat_completion(f"answer {number}"), wait_s=0.02 * (8 - number))

    with MisbehavingServer(otherwise=slow_first).running() as server:
        completions = engine(server).generate([make_request(f"number {i}") for i in range(8)], GREEDY)
    assert [completion.text for completion in completions] == [f"answer {i}" for i in range(8)]


def test_reasoning_in_a_field_of_its_own_is_left_out() -> None:
    with MisbehavingServer(Reply(body=chat_completion(reasoning_content="Hm, a car."))).running() as server:
        assert ask(server) == CAPTIONED


def test_missing_token_counts_are_nothing() -> None:
    body = chat_completion()
    del body["usage"]
    with MisbehavingServer(Reply(body=body), Reply(body=chat_completion() | {"usage": None})).running() as server:
        assert ask(server) == ask(server) == Completion(CAPTION, 0, 0, "stop")


@pytest.mark.parametrize("once", [BUSY, BROKEN, refusal(503, "starting"), HALF, NO_JSON, NO_CHOICES, NO_TEXT, EMPTY])
def test_what_passes_is_asked_again(once: Reply) -> None:
    with MisbehavingServer(once, once).running() as server:
        assert ask(server) == CAPTIONED
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("always", "words"),
    [
        (BUSY, "HTTP 429: slow down"),
        (BROKEN, "HTTP 500: internal error"),
        (HALF, "connection failed"),
        (NO_JSON, "502 of some proxy"),
        (NO_CHOICES, "not a chat completion"),
        (NO_TEXT, "no text"),
        (EMPTY, "chat completion"),
        (Reply(body=[1]), "chat completion"),
        (Reply(body={"choices": [{"message": "text"}]}), "chat completion"),
    ],
)
def test_what_does_not_pass_is_a_failure_that_the_next_run_tries_again(always: Reply, words: str) -> None:
    with (
        MisbehavingServer(otherwise=lambda body: always).running() as server,
        pytest.raises(ModelServerError, match=words) as failure,
    ):
        raise ask(server)
    assert failure.value.retriable
    assert server.url in str(failure.value)
    assert len(server.requests) == 3


def test_a_server_that_hangs_is_left_after_the_timeout() -> None:
    with MisbehavingServer(HANGING).running() as server:
        assert ask(server, timeout_s=0.3) == CAPTIONED
    with (
        MisbehavingServer(otherwise=lambda body: HANGING).running() as server,
        pytest.raises(ModelServerError, match=r"within 0\.3 s"),
    ):
        raise ask(server, timeout_s=0.3, retries=0)


def test_a_server_that_is_not_there_is_a_failure_that_the_next_run_tries_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(ModelServerError, match="refused"):
        raise EndpointEngine(Endpoint(url, "m"), POLICY).generate([make_request()], GREEDY)[0]


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_heeded(as_date: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(endpoint.time, "sleep", waits.append)
    value = email.utils.formatdate(time.time() + 60, usegmt=True) if as_date else "60"
    with MisbehavingServer(refusal(429, "slow down", Retry_After=value)).running() as server:
        assert ask(server) == CAPTIONED
    assert waits == [pytest.approx(60, abs=10)]


def test_delays_double_and_no_server_can_ask_for_more_than_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(endpoint.time, "sleep", waits.append)
    with MisbehavingServer(BUSY, BUSY, BUSY, refusal(503, "later", Retry_After="86400")).running() as server:
        assert ask(server, retries=4, delay_s=1.0) == CAPTIONED
    assert waits == [pytest.approx(1, rel=0.25), pytest.approx(2, rel=0.25), pytest.approx(4, rel=0.25), 120]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ModelRequestError),
        (403, SetupError),
        (404, SetupError),
        (413, ModelContextError),
        (422, ModelRequestError),
    ],
)
def test_a_refused_request_is_not_made_again_and_says_what_the_server_said(status: int, kind: type[Exception]) -> None:
    with (
        MisbehavingServer(refusal(status, "the picture is too large " * 100)).running() as server,
        pytest.raises(kind, match=f"HTTP {status}: the picture is too large") as failure,
    ):
        raise ask(server)
    assert len(server.requests) == 1
    assert len(str(failure.value)) < 1000


UNKNOWN_FIELD = [
    {"detail": "Unexpected fields in the request: {'min_tokens'}"},
    {"error": {"message": "Unrecognized request argument supplied: min_tokens", "code": None}},
    {"object": "error", "message": "min_tokens: Extra inputs are not permitted"},
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "min_tokens"], "msg": "Extra inputs are not permitted"}]},
    [
        {
            "error": {
                "code": 400,
                "message": 'Invalid JSON payload received. Unknown name "min_tokens": Cannot find field.',
            }
        }
    ],
    {"error": {"message": "property 'min_tokens' is unsupported", "type": "invalid_request_error"}},
    {"error": "Argument not supported on this model: minTokens"},
]


@pytest.mark.parametrize("body", UNKNOWN_FIELD)
def test_a_field_that_the_server_does_not_know_is_left_out_from_then_on(
    body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def of_those_with_it(request: dict[str, Any]) -> Reply:
        return Reply(422 if isinstance(body, dict) else 400, body) if "min_tokens" in request else GOOD

    params = SamplingParams(100, repetition_penalty=1.05, min_tokens=16)
    with MisbehavingServer(otherwise=of_those_with_it).running() as server:
        assert ask(server, params) == ask(server, params) == CAPTIONED
    assert [request.get("min_tokens") for request in server.requests] == [16, None, None]
    assert all(request["repetition_penalty"] == 1.05 for request in server.requests)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "--vllm-sampling-min-tokens 0" in warning


@pytest.mark.parametrize("body", UNKNOWN_FIELD)
def test_a_field_that_a_server_refuses_even_if_it_is_not_sent_is_named_by_its_flag(body: Any) -> None:
    with (
        MisbehavingServer(otherwise=lambda request: Reply(422, body)).running() as server,
        pytest.raises(SetupError, match=r"in_?[tT]okens.*--vllm-sampling-min-tokens 0$"),
    ):
        raise ask(server, SamplingParams(100, repetition_penalty=1.05, min_tokens=16))
    assert len(server.requests) == 2


def openai_refusal(param: str, value: str = "", code: str = "unsupported_parameter") -> Reply:
    """As OpenAI's models that reason refuse a field."""
    message = f"Unsupported parameter: '{param}' is not supported with this model."
    if param == "max_tokens":
        message += " Use 'max_completion_tokens' instead."
    if value:
        code = "unsupported_value"
        message = f"Unsupported value: '{param}' does not support {value} with this model. Only the default (1) is."
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Reply(400, {"error": error})


def as_gpt_5(request: dict[str, Any]) -> Reply:
    for name in ("max_tokens", "top_p", "presence_penalty", "frequency_penalty", "seed", "min_p"):
        if name in request:
            return openai_refusal(name)
    return openai_refusal("temperature", "0") if request.get("temperature", 1) != 1 else GOOD


def test_what_a_model_wants_is_learnt_once_for_all_threads(caplog: pytest.LogCaptureFixture) -> None:
    params = SamplingParams(100, 0.5, 0.9, presence_penalty=0.5, frequency_penalty=0.25, min_p=0.1)
    with MisbehavingServer(otherwise=as_gpt_5).running() as server:
        completions = engine(server, concurrency=4).generate([make_request()] * 12, params)
        learnt = len(server.requests)
        completions += engine(server).generate([make_request()], params)  # as of another GPU
    assert completions == [CAPTIONED] * 13
    assert len(server.requests) == learnt + 1 <= 12 + 4 * 7 + 1
    assert server.requests[-1]["max_completion_tokens"] == 100
    assert set(server.requests[-1]) == {"model", "messages", "max_completion_tokens"}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == len(set(warnings)) == 6


@pytest.mark.parametrize(
    ("refused", "wanted"), [("max_completion_tokens", "max_tokens"), ("max_tokens", "max_completion_tokens")]
)
def test_the_limit_of_tokens_has_the_name_that_the_server_knows(
    refused: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint.dialect, "is_strict", lambda url: refused == "max_completion_tokens")
    body = {"detail": [{"type": "extra_forbidden", "loc": ["body", refused], "msg": "Extra inputs are not permitted"}]}
    with MisbehavingServer(otherwise=lambda it: Reply(422, body) if refused in it else GOOD).running() as server:
        assert ask(server) == CAPTIONED
    assert server.requests[1][wanted] == 100


def test_a_server_that_takes_no_limit_of_tokens_is_asked_without_one() -> None:
    def without(request: dict[str, Any]) -> Reply:
        found = [name for name in ("max_tokens", "max_completion_tokens") if name in request]
        return refusal(400, f"Unknown parameter: '{found[0]}'") if found else GOOD

    with MisbehavingServer(otherwise=without).running() as server:
        assert ask(server) == CAPTIONED
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("host", "strict"),
    [
        *(
            (f"{host}", True)
            for host in ("api.openai.com", "eu.api.openai.com", "x.openai.azure.com", "X.OpenAI.Azure.com")
        ),
        *((f"x.{host}", True) for host in ("services.ai.azure.com", "cognitiveservices.azure.com", "openai.azure.us")),
        *((host, False) for host in ("127.0.0.1:8000", "openrouter.ai", "notopenai.com", "api.openai.com.example.org")),
    ],
)
def test_who_takes_openais_own_fields_alone(host: str, strict: bool) -> None:
    assert endpoint.dialect.is_strict(f"https://{host}/v1") == strict


def test_a_second_try_has_a_penalty_that_the_server_takes() -> None:
    params = SamplingParams(100, repetition_penalty=1.05, against_repetition=True)
    assert openai_protocol.parameters(params, 0, strict=True)["frequency_penalty"] == 0.5
    assert openai_protocol.parameters(params, 0, strict=False)["repetition_penalty"] == 1.2
    unknown = refusal(400, "Unrecognized request argument supplied: repetition_penalty")
    with MisbehavingServer(otherwise=lambda it: unknown if "repetition_penalty" in it else GOOD).running() as server:
        assert ask(server, params) == CAPTIONED
    assert server.requests[1]["frequency_penalty"] == 0.5


def test_a_server_that_refuses_all_windows_is_left_after_the_first_ones() -> None:
    with MisbehavingServer(otherwise=lambda body: refusal(400, "I am a teapot")).running() as server:
        completions = engine(server, concurrency=2).generate([make_request()] * 30, GREEDY)
    assert len(server.requests) <= 6
    assert [type(completion) for completion in completions[-20:]] == [SetupError] * 20
    assert "--captioning-endpoint" in str(completions[-1])


def test_a_window_that_is_refused_later_costs_itself_alone() -> None:
    with MisbehavingServer(GOOD, otherwise=lambda body: refusal(400, "I am a teapot")).running() as server:
        completions = engine(server, concurrency=1).generate([make_request()] * 9, GREEDY)
    assert [type(completion) for completion in completions] == [Completion] + [ModelRequestError] * 8


def test_a_window_that_is_blocked_costs_itself_alone() -> None:
    body = {"error": {"code": "content_filter", "message": "The response was filtered", "innererror": {}}}
    with MisbehavingServer(otherwise=lambda request: Reply(400, body)).running() as server:
        completions = engine(server).generate([make_request()] * 9, GREEDY)
    assert completions == [Completion("", 0, 0, "blocked")] * 9
    assert len(server.requests) == 9


@pytest.mark.parametrize("status", [200, 500, 400])
def test_a_body_that_does_not_end_is_not_read_to_its_end(status: int) -> None:
    body = json.dumps(chat_completion("A car. " * 7_500_000) if status == 200 else {"error": "x" * 50_000_000})
    with (
        MisbehavingServer(otherwise=lambda request: Reply(status, body)).running() as server,
        pytest.raises(ModelServerError, match=r"more than 4,194,304 bytes"),
    ):
        raise ask(server, retries=0)


def test_a_body_that_grows_when_it_is_unpacked_is_refused() -> None:
    packed = Reply(body=chat_completion(), headers=(("content-encoding", "gzip"),))
    with (
        MisbehavingServer(otherwise=lambda request: packed).running() as server,
        pytest.raises(ModelServerError, match=r"compressed .gzip."),
    ):
        raise ask(server, retries=0)


def test_tokens_that_were_all_spent_on_reasoning_are_not_paid_again() -> None:
    with (
        MisbehavingServer(otherwise=lambda request: Reply(body=chat_completion(None, "length"))).running() as server,
        pytest.raises(ContentError, match="--captioning-max-output-tokens"),
    ):
        raise ask(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "value", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "127.0.0.1:9", "nonsense with spaces", "ftp://x", "http://"]
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_proxy_leads_to_this_computer(name: str, value: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with MisbehavingServer().running() as server:
        url = server.url.replace("127.0.0.1", host)
        assert EndpointEngine(Endpoint(url, "served"), POLICY).generate([make_request()], GREEDY) == [CAPTIONED]


def test_a_blocked_answer_and_one_that_was_cut_off_are_answers() -> None:
    with MisbehavingServer(BLOCKED, TRUNCATED).running() as server:
        assert ask(server) == Completion("", 70, 9, "blocked")
        assert ask(server) == Completion("A red car turns", 70, 9, "length")


def test_one_question_that_fails_costs_no_other() -> None:
    def of_the_odd(body: dict[str, Any]) -> Reply:
        return refusal(400, "no") if "odd" in text_of(body) else GOOD

    with MisbehavingServer(otherwise=of_the_odd).running() as server:
        completions = engine(server).generate(
            [make_request("first"), make_request("odd"), make_request("third")], GREEDY
        )
    assert completions[0] == completions[2] == CAPTIONED
    assert isinstance(completions[1], ModelRequestError)


def test_a_process_makes_no_more_requests_at_once_than_allowed_whatever_its_threads() -> None:
    slow = Reply(body=chat_completion(), wait_s=0.02)
    with MisbehavingServer(otherwise=lambda body: slow).running() as server:
        engines = [engine(server, concurrency=3) for _ in range(2)]  # as with two GPUs, a slot for each
        completions: list[Any] = []

        def work(number: int) -> None:
            completions.extend(engines[number % 2].generate([make_request()] * 6, GREEDY))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert completions == [CAPTIONED] * 24
    assert server.concurrency == 3


def test_the_only_model_of_the_server_is_taken() -> None:
    with MisbehavingServer(models=("the/only-one",)).running() as server:
        assert ask(server, model=None) == CAPTIONED
    assert server.requests[0]["model"] == "the/only-one"


@pytest.mark.parametrize(("models", "words"), [((), "no model"), (("a/b", "c/d"), "several models, a/b, c/d")])
def test_without_exactly_one_model_the_user_is_asked_for_its_name(models: tuple[str, ...], words: str) -> None:
    with (
        MisbehavingServer(models=models).running() as server,
        pytest.raises(SetupError, match=f"{words}.*--captioning-endpoint-model"),
    ):
        raise ask(server, model=None)
    assert not server.requests


def test_a_server_that_has_no_list_of_models_wants_the_model_named() -> None:
    with MisbehavingServer(models=refusal(404, "no such page")).running() as server:
        with pytest.raises(SetupError, match="--captioning-endpoint-model"):
            raise ask(server, model=None)
        assert ask(server, model="named") == CAPTIONED


def test_the_key_is_in_the_header_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    caplog.set_level(logging.DEBUG)
    echo = f"Incorrect key {KEY} provided"
    script = (refusal(401, echo), refusal(500, echo), Reply(body=echo), refusal(400, echo), GOOD)
    said = []
    with MisbehavingServer(*script).running() as server:
        ref = endpoint.reference(Endpoint(server.url, "served"), RequestPolicy(retries=0))
        for _ in script:
            slots = ModelSlots(lambda: {"cpu": 16.0})
            with slots.borrow(ref) as model:
                said += [
                    repr(model),
                    repr(vars(model)["_client"]),
                    *map(repr, model.generate([make_request()], GREEDY)),
                ]
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert len(server.requests) == len(script)
    assert sum("***" in text for text in said) == 4
    for place in (*said, repr(ref), caplog.text, repr(server.requests)):
        assert KEY not in place
        assert base64.b64encode(KEY.encode()).decode() not in place
    assert KEY.encode() not in pickle.dumps(ref)


def test_after_the_key_was_refused_nothing_more_is_sent() -> None:
    with MisbehavingServer(otherwise=lambda body: refusal(401, "Incorrect API key")).running() as server:
        asked = engine(server, key=KEY, concurrency=2)
        completions = asked.generate([make_request()] * 20, GREEDY) + asked.generate([make_request()] * 20, GREEDY)
    assert {str(completion) for completion in completions} == {str(completions[0])}
    assert "OPENAI_API_KEY" in str(completions[0])
    assert len(server.requests) <= 2


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_without_saying_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(SetupError, match="OPENAI_API_KEY") as failure:
        openai_protocol.api_key()
    assert key not in str(failure.value)


def test_a_reference_survives_pickling_and_equal_options_share_a_model() -> None:
    with MisbehavingServer().running() as server:
        reference = endpoint.reference(Endpoint(server.url, "served"), RequestPolicy())
        one, other = (pickle.loads(pickle.dumps(reference)) for _ in range(2))
        slots = ModelSlots(lambda: {"cpu": 16.0})
        counters.reset()
        with slots.borrow(one) as first, slots.borrow(other) as second:
            assert first.generate([make_request()], GREEDY) == second.generate([make_request()], GREEDY) == [CAPTIONED]
    assert counters.counts()[f"models loaded: {one.name}"] == 1
