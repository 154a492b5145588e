"""A model server that cannot be used is said before the first video, and one that can is let pass."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

from beam_curate.engines.endpoint import Endpoint
from beam_curate.errors import UsageError
from runners import model_servers
from tests.support.misbehaving_server import HANGING, MisbehavingServer, Reply, refusal

KEY = "sk-this-is-a-secret-0123456789"
NO_SUCH_MODEL = refusal(404, "The model `mine` does not exist.")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def check(url: str, model: str = "auto") -> None:
    model_servers.check_endpoint(Endpoint(url, None if model == "auto" else model, "frames"))


@pytest.mark.parametrize(
    ("models", "model"),
    [
        (("mine",), "auto"),
        (("mine",), "mine"),
        (("other", "mine"), "mine"),
        ((), "mine"),  # as `transformers serve` lists only what its cache has
        (("other",), "mine"),  # as servers know short names too
        (refusal(404, "no such page"), "mine"),
        (refusal(500, "cache not found"), "mine"),
    ],
)
def test_a_server_that_takes_the_model_passes(models: Any, model: str) -> None:
    with MisbehavingServer(models=models).running() as server:
        check(server.url, model)


@pytest.mark.parametrize(
    ("models", "model", "words"),
    [
        ((), "auto", "no model.*--captioning-endpoint-model"),
        (("a", "b"), "auto", "several models, a, b.*--captioning-endpoint-model"),
        (refusal(404, "no such page"), "auto", "HTTP 404.*--captioning-endpoint-model"),
        (("other",), "mine", "--captioning-endpoint-model mine.*does not exist.*it lists other"),
        (Reply(body="<html>Welcome</html>"), "mine", "no OpenAI-compatible server.*Welcome.*/v1"),
        (Reply(body={"models": []}), "auto", "no OpenAI-compatible server"),
        (refusal(401, "no key"), "auto", "OPENAI_API_KEY.*set it .HTTP 401: no key"),
    ],
)
def test_a_server_that_does_not_is_refused_with_the_mend(models: Any, model: str, words: str) -> None:
    with (
        MisbehavingServer(models=models, otherwise=lambda body: NO_SUCH_MODEL).running() as server,
        pytest.raises(UsageError, match=words),
    ):
        check(server.url, model)


def test_a_model_of_which_the_server_says_another_thing_passes() -> None:
    with MisbehavingServer(models=("other",), otherwise=lambda body: refusal(400, "a picture, please")).running() as it:
        check(it.url, "mine")


def test_nothing_is_asked_of_a_model_that_is_listed() -> None:
    with MisbehavingServer(models=("mine",)).running() as server:
        check(server.url, "mine")
        check(server.url)
    assert not server.requests


def test_a_server_that_is_not_there_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(UsageError, match=r"does not answer.*--captioning-endpoint"):
        check(url)


def test_a_server_that_hangs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_servers, "_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UsageError, match=r"not answer.*timed out"):
        check(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense here"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_leads_to_this_computer(name: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, proxy)
    with MisbehavingServer(models=("mine",)).running() as server:
        check(server.url, "mine")
        check(server.url.replace("127.0.0.1", "localhost"), "other")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [("socks5://127.0.0.1:9", "ALL_PROXY.*socksio"), ("nonsense here", "ALL_PROXY.*http://HOST:PORT")],
)
def test_a_proxy_that_cannot_be_used_is_told(proxy: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UsageError, match=words):
        check("http://models.example.org/v1", "mine")


def test_a_server_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(models=("mine",)).running() as server:
        monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
        with pytest.raises(UsageError, match=r"models\.example\.org"):  # it does not take a whole URL as a path
            check("http://models.example.org/v1", "auto")
    assert server.keys == [""]


@pytest.mark.parametrize("status", [402, 429])
def test_a_server_whose_money_is_used_up_is_refused(status: int) -> None:
    body = {"error": {"message": "Insufficient Balance", "code": "insufficient_quota"}}
    with (
        MisbehavingServer(models=(), otherwise=lambda request: Reply(status, body)).running() as server,
        pytest.raises(UsageError, match="account or quota is used up"),
    ):
        check(server.url, "mine")


def test_a_model_that_takes_another_limit_of_tokens_passes() -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model mine. Use 'max_completion_tokens'."
    with MisbehavingServer(models=(), otherwise=lambda body: refusal(400, said)).running() as server:
        check(server.url, "mine")


@pytest.mark.parametrize("body", ["[" * 100_000, "x" * 50_000_000, "", "{}", "null"])
def test_whatever_a_server_lists_the_check_ends(body: str) -> None:
    with MisbehavingServer(models=Reply(body=body)).running() as server, pytest.raises(UsageError):
        check(server.url)


def test_a_model_that_takes_long_to_load_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_servers, "_LOADING_S", 0.3)
    with MisbehavingServer(models=(), otherwise=lambda body: HANGING).running() as server:
        check(server.url, "mine")


def test_the_key_is_sent_and_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    echo = refusal(401, f"Incorrect API key provided: {KEY}")
    with MisbehavingServer(models=echo).running() as server, pytest.raises(UsageError, match=r"\*\*\*") as failure:
        check(server.url)
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in str(failure.value)


def test_the_key_is_not_sent_to_where_a_server_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with MisbehavingServer().running() as other:
        elsewhere = Reply(307, {}, (("location", f"{other.url}/models"),))
        with MisbehavingServer(models=elsewhere).running() as server:
            check(server.url)
    assert server.keys == [f"Bearer {KEY}"]
    assert other.keys == [""]


@pytest.mark.parametrize(
    ("command", "word"), [("no-such-vllm serve", "'no-such-vllm'"), ("", "''"), ("'", "quotation")]
)
def test_a_command_that_is_not_there_is_refused_with_the_mend(command: str, word: str) -> None:
    with pytest.raises(UsageError, match=rf"--vllm-command.*{word}"):
        model_servers.check_command(command)


def test_a_command_that_is_there_passes() -> None:
    model_servers.check_command(f"{sys.executable} -m vllm serve")


def test_the_checks_import_nothing_heavy() -> None:
    program = (
        "import sys; from runners import preflight; from beam_curate.engines import endpoint, vllm; "
        "print({'openai', 'torch', 'transformers', 'apache_beam', 'PIL'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"
