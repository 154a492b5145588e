"""How a model server and the hub are reached, through a proxy or directly; bounds on what a server sends."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import time
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from beam_curate.errors import SetupError

if TYPE_CHECKING:
    import httpx2

LONGEST_BODY = 1 << 22
"""Bytes of an answer that are read; a caption has some thousands."""

_SOCKS = ("socks5", "socks5h")


def proxy_of(url: str) -> str | None:
    """Returns the proxy that the environment names for a URL; None for none, and always for this computer itself.

    Heeded are HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case.

    Raises:
        SetupError: The variable holds what is no proxy, or a kind of proxy that is not supported here.
    """
    value, variable = _named_for(url)
    return _checked(value, variable, urlsplit(url).hostname or "") if variable else None


def proxy_variable(url: str) -> str | None:
    """Returns the environment variable that names the proxy for a URL; None where it is asked directly."""
    return _named_for(url)[1] or None


def _named_for(url: str) -> tuple[str, str]:
    """Returns what the environment names as the proxy for a URL, and the variable; empty for none."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies_environment()
    if is_this_computer(parts.hostname or ""):
        return "", ""
    if urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2], proxies):
        return "", ""
    for scheme in (parts.scheme, "all"):
        if value := proxies.get(scheme, "").strip():
            return value, _variable(scheme)
    return "", ""


def is_this_computer(host: str) -> bool:
    """Whether a host name or address is a loopback's, which no proxy leads to."""
    if host.rstrip(".").lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(address.is_loopback or address.is_unspecified or (mapped is not None and mapped.is_loopback))


def client(url: str, timeout: httpx2.Timeout, *, direct: bool = False) -> httpx2.Client:
    """Returns a client for a server; it follows redirects and raises `httpx2.ReadError` where an answer is too long.

    Args:
        url: The server's base URL.
        timeout: Of each step of a request.
        direct: Whether to look past the proxies that the environment names.

    Raises:
        SetupError: See `proxy_of`; or what the environment says of certificates cannot be used.
    """
    import httpx2

    proxy = None if direct else proxy_of(url)

    class Bounded(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            answer = super().handle_request(request)
            assert isinstance(answer.stream, httpx2.SyncByteStream)
            answer.stream = BoundedStream(answer.stream, answer.headers.get("content-encoding", "identity"))
            return answer

    class BoundedStream(httpx2.SyncByteStream):
        def __init__(self, stream: httpx2.SyncByteStream, encoding: str) -> None:
            self._stream = stream
            self._encoding = encoding.strip().lower()

        def __iter__(self) -> Iterator[bytes]:
            if self._encoding not in ("", "identity"):  # a short one may grow without bound
                raise httpx2.ReadError(f"its answer is compressed ({self._encoding[:20]}), which was not asked for")
            length, begin = 0, time.monotonic()
            for part in self._stream:
                length += len(part)
                if timeout.read is not None and time.monotonic() - begin > timeout.read:
                    raise httpx2.ReadTimeout("timed out")  # the usual limit is for each piece of it
                if length > LONGEST_BODY:
                    raise httpx2.ReadError(f"its answer has more than {LONGEST_BODY:,} bytes")
                yield part

        def close(self) -> None:
            self._stream.close()

    try:
        transport = Bounded(proxy=proxy)
    except (OSError, ValueError) as error:
        raise SetupError(f"the model server {url} cannot be asked: {_certificates(error)}") from error
    return httpx2.Client(
        transport=transport, timeout=timeout, follow_redirects=True, headers={"accept-encoding": "identity"}
    )


def routed() -> httpx2.BaseTransport:
    """Returns a transport that reaches each server, those of redirects too, as `proxy_of` says.

    It raises SetupError where `proxy_of` does, or where what the environment says of certificates cannot be used.
    """
    import httpx2

    class Routed(httpx2.BaseTransport):
        def __init__(self) -> None:
            self._ways: dict[str | None, httpx2.HTTPTransport] = {}

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            proxy = proxy_of(str(request.url))
            if proxy not in self._ways:
                try:
                    self._ways[proxy] = httpx2.HTTPTransport(proxy=proxy)
                except (OSError, ValueError) as error:
                    raise SetupError(_certificates(error)) from error
            return self._ways[proxy].handle_request(request)

        def close(self) -> None:
            for way in self._ways.values():
                way.close()

    return Routed()


def certificate_fault(error: BaseException) -> str | None:
    """Returns what is wrong with a server's certificate where that is why a request failed, else None."""
    import ssl

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or str(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def url_of(error: httpx2.HTTPError) -> str | None:
    """Returns the URL that was asked; None where an error does not know it."""
    try:
        return str(error.request.url)
    except RuntimeError:
        return None


def _certificates(error: Exception) -> str:
    """Says that the environment names certificates that cannot be read: nothing else is read to make a connection."""
    given = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    named = " and ".join(f"{name}={os.environ[name]}" for name in given) or "SSL_CERT_FILE and SSL_CERT_DIR"
    return f"the certificates that {named} names cannot be used ({error}); correct it"


def _checked(value: str, variable: str, host: str) -> str:
    """Returns a proxy with its scheme."""
    proxy = value if "://" in value else f"http://{value}"
    leave = f"or add {host} to NO_PROXY for a server that needs none"
    try:
        parts = urlsplit(proxy)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not set(proxy) & set(" \t\n\\<>")
    except ValueError:
        usable = False
    if not usable:
        raise SetupError(
            f"the environment variable {variable} holds no proxy's address: give it the form http://HOST:PORT, {leave}"
        )
    scheme = parts.scheme.lower()
    if scheme in _SOCKS and not _has_socks():
        raise SetupError(
            f"the environment variable {variable} names a SOCKS proxy, which needs another package: pip install "
            f"socksio, name an HTTP proxy, {leave}"
        )
    if scheme not in ("http", "https", *_SOCKS):
        raise SetupError(
            f"the environment variable {variable} names a proxy of the unknown kind {scheme}: give it the form "
            f"http://HOST:PORT, {leave}"
        )
    return proxy


def _variable(scheme: str) -> str:
    """Returns the name of the variable that was read: the one in lower case goes first."""
    lower = f"{scheme}_proxy"
    return lower if os.environ.get(lower) else lower.upper()


def _has_socks() -> bool:
    return importlib.util.find_spec("socksio") is not None
