"""Every shape of an answer that servers are known to send, and what it is taken for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from beam_curate.engines.base import Completion
from beam_curate.engines.completion import EmbeddedError, read_completion
from beam_curate.errors import ContentError, ModelOutputError, ModelServerError
from tests.support.misbehaving_server import CAPTION, chat_completion

GOOD = Completion(CAPTION, 70, 9, "stop")
CUT = Completion(CAPTION, 70, 9, "length")
BLOCKED = Completion("", 70, 9, "blocked")


def said(text: Any = CAPTION, finish: Any = "stop", choice: dict[str, Any] | None = None, **message: Any) -> str:
    body = chat_completion(text, finish, **message)
    body["choices"][0] |= choice or {}
    return json.dumps(body)


def without(name: str) -> str:
    body = chat_completion()
    del body["choices"][0][name]
    return json.dumps(body)


def streamed(*deltas: dict[str, Any], finish: str | None = "stop", done: bool = True) -> str:
    """What a server sends that streams without being asked to, as OpenAI's specification has it."""
    chunks = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 9}})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ("data: [DONE]\n\n" if done else "")


FINISHED = [
    *("stop", "Stop", "STOP", "FINISH_REASON_STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE"),
    *(None, "", "end-of-turn", " stop ", "eosFound", "stopStringFound"),
]
CUT_OFF = [
    *("length", "LENGTH", "max_tokens", "MAX_TOKENS", "FINISH_REASON_MAX_TOKENS", "max_output_tokens", "model_length"),
    *("model_context_window_exceeded", "max_new_tokens", "ERROR_LIMIT", "maxTokens", "contextLengthReached"),
]
FILTERED = [
    *("content_filter", "CONTENT_FILTER", "refusal", "safety", "SAFETY", "RECITATION", "BLOCKLIST", "SPII"),
    *("PROHIBITED_CONTENT", "FINISH_REASON_SAFETY", "content_filter: PROHIBITED_CONTENT", "IMAGE_SAFETY", "sensitive"),
    *("guardrail_intervened", "ERROR_TOXIC", "contentFilter", "contentFiltered"),
]
UNFINISHED = [
    *(
        "error",
        "ERROR",
        "abort",
        "aborted",
        "cancelled",
        "canceled",
        "timeout",
        "tool_calls",
        "function_call",
        "repetition",
    ),
    *(
        "insufficient_system_resource",
        "network_error",
        "OTHER",
        "LANGUAGE",
        "MALFORMED_FUNCTION_CALL",
        "load",
        "unload",
    ),
    *("FINISH_REASON_UNSPECIFIED", "unknown", "stopped?", "pause_turn", 1, 0, True, [], {}, ["stop"], "null", "None"),
]


@pytest.mark.parametrize("finish", FINISHED)
def test_known_good_finish_reasons(finish: Any) -> None:
    assert read_completion(said(finish=finish)) == GOOD


@pytest.mark.parametrize("finish", CUT_OFF)
def test_known_cut_off_finish_reasons(finish: str) -> None:
    assert read_completion(said(finish=finish)) == CUT


@pytest.mark.parametrize("text", [CAPTION, "", None, "I cannot"])
@pytest.mark.parametrize("finish", FILTERED)
def test_known_blocked_finish_reasons(finish: str, text: str | None) -> None:
    assert read_completion(said(text, finish)) == BLOCKED


@pytest.mark.parametrize("text", [CAPTION, "", None])
@pytest.mark.parametrize("finish", UNFINISHED)
def test_whatever_else_is_no_finished_answer(finish: Any, text: str | None) -> None:
    with pytest.raises(ModelServerError, match="finish"):
        read_completion(said(text, finish))


@pytest.mark.parametrize("finish", CUT_OFF)
@pytest.mark.parametrize("text", [None, "", " \n", []])
def test_tokens_that_went_into_reasoning_name_the_flag(finish: str, text: Any) -> None:
    with pytest.raises(ModelOutputError, match="--captioning-max-output-tokens") as failure:
        read_completion(said(text, finish, reasoning_content="Hm, a car. " * 100))
    assert isinstance(failure.value, ContentError)
    assert failure.value.reason == "cut_off"


@pytest.mark.parametrize(
    "body",
    [
        without("finish_reason"),
        said(reasoning="Hm."),
        said(reasoning_content="Hm.", reasoning_details=[{"type": "reasoning.text", "text": "Hm."}]),
        said(refusal=None, annotations=[], tool_calls=[], audio=None, function_call=None),
        said(refusal=""),
        said([{"type": "text", "text": CAPTION}]),
        said([{"type": "text", "text": CAPTION[:9]}, {"type": "text", "text": CAPTION[9:]}]),
        said([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": CAPTION}]),
        said([{"type": "reasoning", "text": "Hm."}, {"type": "output_text", "text": CAPTION}]),
        said([CAPTION]),
        said({"type": "text", "text": CAPTION}),
        said(choice={"logprobs": None, "stop_reason": 151645, "matched_stop": 151645, "native_finish_reason": "STOP"}),
        said(choice={"error": None, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}),
        json.dumps(chat_completion() | {"error": None}),
        json.dumps(
            chat_completion() | {"choices": chat_completion()["choices"] + chat_completion("Another.")["choices"]}
        ),
        json.dumps([chat_completion()]),
        json.dumps(chat_completion() | {"choices": [{"text": CAPTION, "finish_reason": "stop"}]}),
        said([{"text": "Hm.", "thought": True}, {"text": CAPTION}]),  # Gemini's parts
        json.dumps(
            chat_completion()
            | {
                "choices": [
                    {"index": 1} | chat_completion("Another.")["choices"][0] | {"index": 1},
                    *chat_completion()["choices"],
                ]
            }
        ),
        json.dumps(chat_completion() | {"error": {"code": 0, "message": ""}}),
        "\ufeff\n" + json.dumps(chat_completion()),
        "\n" * 1000 + json.dumps(chat_completion()),  # as gateways keep a connection open
        ": OPENROUTER PROCESSING\n\n" + streamed({"role": "assistant", "content": CAPTION}),
        streamed({"role": "assistant", "content": ""}, *({"content": letter} for letter in CAPTION)),
        streamed({"reasoning_content": "Hm."}, {"content": CAPTION[:5]}, {"content": None}, {"content": CAPTION[5:]}),
        streamed({"content": CAPTION}, done=False).replace("\n", "\r\n"),
        streamed({"content": [{"type": "text", "text": CAPTION}]}),
        "id: 1\nretry: 500\n" + streamed({"content": CAPTION}).replace("data: ", "data:"),
        'data: {"choices": [{"index": 1, "delta": {"content": "Another."}}]}\n\n' + streamed({"content": CAPTION}),
    ],
)
def test_shapes_of_an_answer(body: str) -> None:
    assert read_completion(body) == GOOD


@pytest.mark.parametrize(
    "body",
    [
        said(None, refusal="I'm sorry, I can't help with that."),
        said(CAPTION, refusal="I'm sorry, I can't help with that."),
        said([{"type": "refusal", "refusal": "I'm sorry."}]),
        said(choice={"content_filter_results": {"violence": {"filtered": True, "severity": "high"}}}),
        said(choice={"native_finish_reason": "SAFETY"}),
        json.dumps(chat_completion() | {"choices": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
        json.dumps(
            chat_completion()
            | {"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": True}}}]}
        ),
        said(choice={"content_filter_results": {"custom_blocklists": [{"id": "words", "filtered": True}]}}),
        said(choice={"content_filter_result": {"violence": {"filtered": True, "severity": "high"}}}),
        said(None, refusal=[{"text": "I'm sorry."}]),
        said(finish=None, choice={"stop_reason": "refusal"}),
        streamed({"refusal": "I'm "}, {"refusal": "sorry."}),
        'data: {"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": true}}}], '
        '"usage": {"prompt_tokens": 70, "completion_tokens": 9}}\n\ndata: [DONE]\n\n',
        streamed({"content": CAPTION}, finish="content_filter"),
    ],
)
def test_shapes_of_a_refusal(body: str) -> None:
    assert read_completion(body) == BLOCKED


def test_what_the_model_itself_says_of_its_end_counts() -> None:
    assert read_completion(said(choice={"native_finish_reason": "MAX_TOKENS"})) == CUT
    assert read_completion(streamed({"content": CAPTION}, finish="length")) == CUT
    assert read_completion(said(finish=None, choice={"finish_details": {"type": "max_tokens"}})) == CUT
    assert read_completion(said(finish=None, choice={"stop_reason": "max_tokens"})) == CUT
    assert read_completion(said(choice={"stop_reason": "length"})) == GOOD  # vLLM: the text that it was to stop at


@pytest.mark.parametrize("text", ["A \u2028 car.", "A \x85 car.", "A \x0b\x0c car.", "A\u2029car."])
def test_only_line_breaks_part_what_is_streamed(text: str) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    assert read_completion(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\ndata: [DONE]\n\n").text == text


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_an_answer_that_ended_within_its_reasoning_is_empty_and_not_asked_again(field: str) -> None:
    assert read_completion(said(None, **{field: "Hm, a car."})) == Completion("", 70, 9, "stop")
    assert read_completion(streamed({field: "Hm."})) == Completion("", 70, 9, "stop")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "Provider returned error", "code": 502}}, 502),
        ({"error": {"message": "Rate limit exceeded", "code": 429, "metadata": {"raw": "slow down"}}}, 429),
        ({"error": {"message": "Rate limit exceeded", "code": "429"}}, 429),
        ({"error": "CUDA out of memory"}, 500),
        ({"error": {"message": "x", "code": "server_error"}}, 500),
        ({"error": {"message": "x", "code": 7}}, 500),
        ({"object": "error", "message": "x", "code": 400}, 400),
        ([{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}], 503),
        (chat_completion() | {"error": {"message": "Upstream idle timeout", "code": 504}}, 504),
        ({"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}}, 429),
        ({"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}, 429),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, 429),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 500),
        ({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}, 401),
        ({"error": {"message": "x", "code": "model_not_found", "type": "invalid_request_error"}}, 404),
        ({"error": {"message": "x", "status": "RESOURCE_EXHAUSTED"}}, 429),
        ({"code": "InvalidApiKey", "message": "Invalid API-key provided."}, 401),
        ({"code": 503, "msg": "busy"}, 503),
        ({"detail": "Not Found"}, 500),
        ({"errors": [{"message": "x"}], "success": False}, 500),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}, 500),
        (json.loads(said(choice={"error": {"code": 502, "message": "Upstream error"}})), 502),
        (json.loads(said(choice={"error": "overloaded", "finish_reason": "error"})), 500),
        (json.loads(said("A car tu", "error", {"error": {"code": 503, "message": "x"}})), 503),
    ],
)
def test_errors_within_an_answer(body: Any, status: int) -> None:
    with pytest.raises(EmbeddedError) as failure:
        read_completion(json.dumps(body))
    assert failure.value.status == status


def test_an_error_within_a_stream() -> None:
    body = 'data: {"choices": [{"delta": {"content": "A car"}}]}\n\ndata: {"error": {"code": 502, "message": "x"}}\n\n'
    with pytest.raises(EmbeddedError):
        read_completion(body)
    for last in ('event: error\ndata: {"code": 502, "message": "x"}', 'data: {"object": "error", "code": 502}'):
        with pytest.raises(EmbeddedError) as failure:
            read_completion(f'data: {{"choices": [{{"delta": {{"content": "A car"}}}}]}}\n\n{last}\n\n')
        assert failure.value.status == 502


@pytest.mark.parametrize(
    "body",
    [
        "",
        " \n",
        "null",
        "true",
        "7",
        '"text"',
        "[]",
        "[[]]",
        "{}",
        "<!doctype html><html><title>Sign in</title></html>",
        json.dumps(chat_completion())[:-20],
        json.dumps(chat_completion()) * 2,
        "[" * 100_000,
        '{"choices": ' + "[" * 100_000,
        '{"choices": [' + "9" * 10_000 + "]}",
        *(json.dumps({"choices": choices}) for choices in (None, [], {}, "x", 7, [None], ["x"], [[]], [{}])),
        *(json.dumps({"choices": [{"message": message}]}) for message in (None, "text", [], 7)),
        *(said(text) for text in (None, [], 7, True, {}, [{}], [7], [{"type": "text"}], [{"type": "image_url"}])),
        json.dumps(
            {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "A"}, "finish_reason": None}]}
        ),
        "data: [DONE]\n\n",
        "data: \n\n",
        "data: {\n\n",
        "data: []\n\n",
        streamed({"content": CAPTION}, finish=None, done=False),  # broke off
        streamed(finish="stop"),
        json.dumps({"id": "x", "output": [{"type": "message", "content": []}]}),  # another API's
        json.dumps({"model": "llava", "message": {"content": "A car."}, "done": True}),  # Ollama's own
    ],
)
def test_what_is_no_answer(body: str) -> None:
    with pytest.raises(ModelServerError) as failure:
        completion = read_completion(body)
        assert completion.text == "" and body == streamed(finish="stop")  # an answer that says nothing
        raise ModelServerError("")
    assert len(str(failure.value)) < 300


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 70, "completion_tokens": 9}, (70, 9)),
        ({"prompt_tokens": "70", "completion_tokens": 9.0}, (70, 9)),
        ({"prompt_tokens": -70, "completion_tokens": None}, (0, 0)),
        ({"prompt_tokens": "many", "completion_tokens": []}, (0, 0)),
        ({"prompt_tokens": 1e300, "completion_tokens": 10**400}, (0, 0)),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, (0, 0)),
        ({"prompt_tokens": True, "completion_tokens": {"text": 9}}, (0, 0)),
        ({}, (0, 0)),
        (None, (0, 0)),
        ([70, 9], (0, 0)),
        ("70", (0, 0)),
        (7, (0, 0)),
    ],
)
def test_counts_of_tokens_that_cannot_be_are_none(usage: Any, tokens: tuple[int, int]) -> None:
    completion = read_completion(json.dumps(chat_completion() | {"usage": usage}))
    assert (completion.prompt_tokens, completion.output_tokens) == tokens
    assert completion.text == CAPTION
