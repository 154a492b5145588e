"""The choice of a proxy, and messages about unusable ones."""

from __future__ import annotations

import importlib.util

import pytest

from beam_curate.errors import SetupError
from beam_curate.models import connection

NAMES = [f"{kind}_proxy" for kind in ("http", "https", "all", "no")]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://models.example.org/v1", None),
        ({"HTTP_PROXY": "http://p:3128"}, "http://models.example.org/v1", "http://p:3128"),
        ({"http_proxy": "p:3128"}, "http://models.example.org/v1", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128"}, "https://models.example.org/v1", None),
        ({"HTTPS_PROXY": "http://u:w@p:3128"}, "https://models.example.org/v1", "http://u:w@p:3128"),
        ({"ALL_PROXY": "http://[::1]:3128"}, "https://models.example.org/v1", "http://[::1]:3128"),
        ({"HTTPS_PROXY": "http://one:1", "ALL_PROXY": "http://two:2"}, "https://x.org/v1", "http://one:1"),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": "http://two:2"}, "https://x.org/v1", "http://two:2"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "example.org"}, "http://models.example.org:8000/v1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": ".example.org,x"}, "http://models.example.org/v1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://10.0.0.7:8000/v1", None),
        ({"HTTP_PROXY": "http://p:1", "no_proxy": "10.0.0.7"}, "http://10.0.0.7:8000/v1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.8"}, "http://10.0.0.7:8000/v1", "http://p:1"),
        *(
            ({"HTTP_PROXY": "http://p:1", "ALL_PROXY": "socks5://p:1"}, f"http://{host}:8000/v1", None)
            for host in ("127.0.0.1", "127.8.9.10", "localhost", "LOCALHOST", "[::1]", "0.0.0.0", "a.localhost")
        ),
        ({"HTTP_PROXY": "http://p:1"}, "http://localhost.example.org/v1", "http://p:1"),
    ],
)
def test_the_environment_names_the_proxy(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert connection.proxy_of(url) == proxy


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "SOCKS.*socksio.*NO_PROXY"),
        ("all_proxy", "socks5h://127.0.0.1:1080", "SOCKS.*socksio"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1080", "SOCKS.*socksio"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:1080", "unsupported scheme socks4.*http://HOST:PORT"),
        ("HTTPS_PROXY", "ftp://p:21", "unsupported scheme ftp"),
        ("HTTPS_PROXY", "http://p:port", "does not hold a proxy's address"),
        ("HTTPS_PROXY", "http://p:99999", "does not hold a proxy's address"),
        ("HTTPS_PROXY", "http://", "does not hold a proxy's address"),
        ("HTTPS_PROXY", "a proxy", "does not hold a proxy's address"),
        ("HTTPS_PROXY", "http://[::1", "does not hold a proxy's address"),
        ("https_proxy", "<nil>", "does not hold a proxy's address"),
    ],
)
def test_an_unusable_proxy_is_named_by_its_variable(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match=rf"\b{name}\b.*{words}"):
        connection.proxy_of("https://models.example.org/v1")


def test_a_socks_proxy_is_used_where_the_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("ALL_PROXY", "socks5://p:1080")
    assert connection.proxy_of("https://models.example.org/v1") == "socks5://p:1080"
