"""Every refusal that servers are known to send, and what becomes of the window and of the stage."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.endpoint import Endpoint, EndpointEngine, RequestPolicy
from beam_curate.engines.refusals import Refusal
from beam_curate.errors import ModelContextError, ModelRequestError, ModelServerError, SetupError
from tests.support.misbehaving_server import MisbehavingServer, Reply

PICTURES = np.zeros((2, 28, 28, 3), np.uint8)


def openai(message: str, code: Any = None, kind: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": None} | more}


def gemini(code: int, message: str, status: str, details: Any = ()) -> list[dict[str, Any]]:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


def quota(name: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": name, "quotaValue": "10"}],
    }


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
GEMINI_QUOTA = "You exceeded your current quota, please check your plan and billing details. Please retry in 20.04s."
RPD = "Rate limit reached for gpt-x on requests per day (RPD): Limit 200. Please try again in 7m12s."
RPM = "Rate limit reached for gpt-x on requests per min (RPM): Limit 3. Please try again in 20s."

EXHAUSTED = [
    (
        429,
        openai("You exceeded your current quota, please check your plan.", "insufficient_quota", "insufficient_quota"),
    ),
    (429, openai("Billing hard limit has been reached", "billing_hard_limit_reached")),
    (400, openai("Billing hard limit has been reached", "billing_hard_limit_reached", "image_generation_user_error")),
    (429, openai("Your account is not active, please check your billing details.", "billing_not_active")),
    (429, openai(RPD, "rate_limit_exceeded", "requests")),
    (429, openai("Rate limit reached on tokens per day (TPD): Limit 100000", "rate_limit_exceeded", "tokens")),
    (402, {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}}),
    (402, openai("Insufficient Balance", "invalid_request_error", "unknown_error")),
    (402, "Payment Required"),
    (
        429,
        {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000"}},
    ),
    (
        429,
        gemini(429, GEMINI_QUOTA, "RESOURCE_EXHAUSTED", [quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")]),
    ),
    (429, gemini(429, f"{GEMINI_QUOTA} * Quota exceeded, limit: 0, model: gemini", "RESOURCE_EXHAUSTED")),
    (400, {"error": {"message": "Your credit balance is too low to access the Anthropic API.", "type": "x"}}),
    (429, openai("Your account is suspended, please check", None, "exceeded_current_quota_error")),
    (403, {"error": "Your team has either used all available credits or reached its monthly spending limit."}),
    (400, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}),
    (403, openai("Your account was flagged for potential abuse.", "account_deactivated")),
    (500, openai("RateLimitError: You exceeded your current quota", "insufficient_quota", "insufficient_quota")),
    (503, {"error": {"message": "RateLimitError: {'code': 'insufficient_quota'}", "code": "503"}}),
    (400, openai("Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", "400", "budget_exceeded")),
    (429, openai("Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", "429", "budget_exceeded")),
    (403, {"error": {"message": "Key limit exceeded (daily limit).", "code": 403}}),
    (403, {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 12:00:00."}),
]
PASSING = [
    (429, openai(RPM, "rate_limit_exceeded", "requests")),
    (429, openai("Rate limit reached on tokens per min. (TPM): Limit 30000", "rate_limit_exceeded", "tokens")),
    (
        429,
        gemini(429, GEMINI_QUOTA, "RESOURCE_EXHAUSTED", [quota(PER_MINUTE)]),
    ),
    (429, gemini(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED")),
    (429, {"message": "Requests rate limit exceeded"}),
    (429, ""),
    (408, "Request Timeout"),
    (409, ""),
    (500, openai("The server had an error while processing your request.", None, "server_error")),
    (500, {"error": {"code": 500, "message": "Insufficient credits of the universe", "type": "server_error"}}),
    (502, "<html><h1>502 Bad Gateway</h1></html>"),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    (503, gemini(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    (504, ""),
    (400, openai("The model m is currently loading")),
    (520, "error code: 520"),
]
BLOCKED = [
    (400, openai("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                 "content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})),
    (400, openai("Your input image may not be allowed by our safety system.", "moderation_blocked")),
    (400, openai("Invalid prompt: your prompt was flagged as violating our usage policy.", "invalid_prompt")),
    (400, openai("Your request was rejected as a result of our safety system.", "content_policy_violation")),
    (403, {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}}}),
    (400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}),
    (400, openai("Content Exists Risk")),
    (400, {"error": {"code": "1301", "message": "输入或生成内容可能包含敏感内容"}, "contentFilter": []}),
    (400, gemini(400, "The prompt was blocked: PROHIBITED_CONTENT", "INVALID_ARGUMENT")),
    (422, {"detail": "The request violates our content guidelines"}),
    (400, gemini(400, "The request was blocked for SAFETY.", "INVALID_ARGUMENT")),
    (451, "Unavailable For Legal Reasons"),
]  # fmt: skip
TOO_LONG = [
    (400, {"object": "error", "message": "This model's maximum context length is 32768 tokens. However, you requested "
                                         "40000 tokens (39900 in the messages, 100 in the completion)."}),
    (400, openai("The decoder prompt (length 40000) is longer than the maximum model length of 32768.")),
    (400, openai("This model's maximum context length is 128000 tokens.", "context_length_exceeded", param="messages")),
    (400, {"error": {"code": 400, "message": "the request exceeds the available context size", "n_ctx": 4096,
                     "type": "exceed_context_size_error"}}),
    (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum", "type": "x"}}),
    (400, gemini(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "x")),
    (400, openai("Requested token count exceeds the model's maximum context length of 8192 tokens.")),
    (413, "<html>413 Request Entity Too Large</html>"),
    (413, openai("Request too large for model", "request_too_large")),
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"}),
    (400, openai("At most 16 image(s) may be provided in one prompt.")),
    (400, openai("'max_tokens' must be at least 1, got -300.")),
    (400, openai("Too many images provided. This model supports up to 5 images")),
    (400, openai("Please reduce the length of the messages or completion.")),
    (400, openai("InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]")),
    (400, openai("messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 7 bytes > 5 bytes")),
    (400, openai("at least one of the image dimensions exceed max allowed size for many-image requests: 2000 pixels")),
    (500, {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}),
]  # fmt: skip
SETUP = [
    (401, openai("Incorrect API key provided: sk-x.", "invalid_api_key"), "OPENAI_API_KEY"),
    (401, "Unauthorized", "OPENAI_API_KEY"),
    (401, {"error": {"code": 401, "message": "No auth credentials found"}}, "OPENAI_API_KEY"),
    (403, "Forbidden", "OPENAI_API_KEY"),
    (403, openai("Project does not have access to model gpt-x", "model_not_found"), "OPENAI_API_KEY"),
    (400, gemini(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"), "OPENAI_API_KEY"),
    (400, {"error": "Incorrect API key provided"}, "OPENAI_API_KEY"),
    (404, openai("The model `m` does not exist or you do not have access to it.", "model_not_found"), "endpoint-model"),
    (404, {"detail": "Not Found"}, "--captioning-endpoint"),
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}, "endpoint-model"),
    (404, {"error": {"message": 'model "m" not found, try pulling it first', "type": "api_error"}}, "endpoint-model"),
    (400, {"error": {"message": "m is not a valid model ID", "code": 400}}, "endpoint-model"),
    (400, {"object": "error", "message": "Invalid model: m", "type": "invalid_model"}, "endpoint-model"),
    (404, {"error": {"message": "No endpoints found that support image input", "code": 404}}, "endpoint-model"),
    (400, {"error": "No models loaded. Please load a model in the developer page."}, "endpoint-model"),
    (405, {"detail": "Method Not Allowed"}, "--captioning-endpoint"),
    (500, {"error": {"message": "image input is not supported - hint: provide the mmproj"}}, "endpoint-model"),
    (400, openai("m is not a multimodal model"), "endpoint-model"),
    (400, openai("Invalid content type. image_url is only supported by certain models.", None), "endpoint-model"),
    (400, {"error": "Model does not support images. Please use a model that does."}, "endpoint-model"),
    (400, openai("Unsupported content type 'image_url'"), "endpoint-model"),
    (422, {"detail": [{"type": "string_type", "loc": ["body", "messages", 0, "content"],
                       "msg": "Input should be a valid string"}]}, "endpoint-model"),
    (400, openai("max_tokens is too large: 100. This model supports at most 50 completion tokens", param="max_tokens"),
     "--captioning-max-output-tokens 100"),
    (400, openai("Invalid max_tokens value, the valid range is [1, 50]"), "--captioning-max-output-tokens"),
    (400, openai("'max_tokens' or 'max_completion_tokens' is too large: 100. This model's maximum context length is "
                 "64 tokens and your request has 20 input tokens"), "--captioning-max-output-tokens"),
]  # fmt: skip


def outcome(status: int, body: Any, media: str = "frames") -> tuple[Any, int]:
    """What one window gets from a server that always refuses, and how often that was asked."""
    policy = RequestPolicy(concurrency=1, retries=1, delay_s=0.0, timeout_s=30.0)
    request = Request("What happens?", PICTURES, 2.0, 0, 95)
    with MisbehavingServer(otherwise=lambda request: Reply(status, body)).running() as server:
        engine = EndpointEngine(Endpoint(server.url, "m", media), policy, "sk-0123456789abcdef", is_vllm=False)
        (completion,) = engine.generate([request], SamplingParams(100))
        engine.close()
    return completion, len(server.requests)


@pytest.mark.parametrize(("status", "body"), EXHAUSTED)
def test_a_limit_that_does_not_pass_stops_the_stage(status: int, body: Any) -> None:
    completion, asked = outcome(status, body)
    assert isinstance(completion, SetupError) and "--captioning-endpoint" in str(completion)
    assert asked == 1


@pytest.mark.parametrize(("status", "body"), PASSING)
def test_what_passes_is_asked_again(status: int, body: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_curate.engines.endpoint.time.sleep", lambda seconds: None)
    completion, asked = outcome(status, body)
    assert type(completion) is ModelServerError
    assert asked == 2


@pytest.mark.parametrize(("status", "body"), BLOCKED)
def test_a_window_may_be_blocked(status: int, body: Any) -> None:
    assert outcome(status, body) == (Completion("", 0, 0, "blocked"), 1)


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_a_window_may_be_too_long(status: int, body: Any) -> None:
    completion, asked = outcome(status, body)
    assert isinstance(completion, ModelContextError), completion
    assert "--captioning-sampling-fps" in str(completion)
    assert asked == 1


@pytest.mark.parametrize(("status", "body", "flag"), SETUP)
def test_a_refusal_of_all_windows_names_the_flag(status: int, body: Any, flag: str) -> None:
    completion, asked = outcome(status, body)
    assert isinstance(completion, SetupError), completion
    assert flag in str(completion)
    assert asked == 1


def test_a_server_without_videos_names_the_flag() -> None:
    body = openai("Invalid value: 'video_url'. Supported values are: 'text', 'image_url', 'input_audio'.")
    completion, _ = outcome(400, body, "mp4")
    assert isinstance(completion, SetupError) and "--captioning-endpoint-media frames" in str(completion)


def test_the_same_errors_within_an_answer_are_the_same() -> None:
    for status, body in (EXHAUSTED[0], EXHAUSTED[6], BLOCKED[4], SETUP[0][:2]):
        embedded = {"error": body["error"] | {"code": status, "kind": body["error"].get("code")}}
        assert type(outcome(200, embedded)[0]) is type(outcome(status, body)[0])
    for _, body in (EXHAUSTED[0], SETUP[0][:2], SETUP[7][:2]):  # known by their codes alone
        completion, asked = outcome(200, body)
        assert isinstance(completion, SetupError) and asked == 1


def test_what_was_sent_and_comes_back_is_no_reason() -> None:
    """FastAPI's errors repeat the request, whose prompt may speak of anything."""
    body = {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "input": "safety system, api key"}]}
    assert isinstance(outcome(422, body)[0], ModelRequestError)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after": "-7"}, "", 0),
        ({"retry-after": "soon"}, "", 0),
        ({"retry-after": "1e400"}, "", 1e9),
        ({"retry-after": "nan"}, "", 0),
        ({}, openai("Please try again in 20s."), 20),
        ({}, openai("Please try again in 1m2.5s."), 62.5),
        ({}, openai("Please try again in 6ms."), 0),
        ({}, openai("Please retry after 11 seconds."), 11),
        ({}, gemini(429, "x", "y", [{"retryDelay": "26s"}]), 26),
        ({}, gemini(429, json.dumps(json.dumps({"retryDelay": "26s"})), "y"), 26),
        ({"retry-after": "5"}, openai("Please try again in 20s."), 20),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], body: Any, seconds: float) -> None:
    assert Refusal.of(429, json.dumps(body), headers, None).wait_s == pytest.approx(seconds)
