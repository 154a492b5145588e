"""Connections to model servers and the hub: choice of proxy, certificates, bounds on a response."""

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

MAX_BODY_BYTES = 1 << 22
"""Most bytes of a response that are read; one with a caption has a few thousand."""

_SOCKS = ("socks5", "socks5h")


def proxy_of(url: str) -> str | None:
    """Returns the proxy that the environment sets for a URL; None where there is none, and for loopback addresses.

    The variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are read, in upper or lower case.

    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, {"HTTPS_PROXY": "proxy:3128"}, clear=True):
    ...     proxy_of("https://example.org"), proxy_of("https://127.0.0.1:8000")
    ('http://proxy:3128', None)

    Raises:
        SetupError: The variable does not hold a proxy's address, or the kind of proxy is not supported.
    """
    value, variable = _named_for(url)
    return _checked(value, variable, urlsplit(url).hostname or "") if variable else None


def proxy_variable(url: str) -> str | None:
    """Returns the environment variable that sets the proxy for a URL; None for a direct connection.

    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, {"HTTPS_PROXY": "proxy:3128"}, clear=True):
    ...     proxy_variable("https://example.org")
    'HTTPS_PROXY'
    """
    return _named_for(url)[1] or None


def _named_for(url: str) -> tuple[str, str]:
    """Returns the value and the name of the variable that sets the proxy for a URL; empty for none."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies_environment()
    if is_loopback(parts.hostname or ""):
        return "", ""
    if urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2], proxies):
        return "", ""
    for scheme in (parts.scheme, "all"):
        if value := proxies.get(scheme, "").strip():
            return value, _variable(scheme)
    return "", ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, which no proxy can reach.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("example.org")
    (True, True, False)
    """
    if host.rstrip(".").lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(address.is_loopback or address.is_unspecified or (mapped is not None and mapped.is_loopback))


def client(url: str, timeout: httpx2.Timeout, *, direct: bool = False) -> httpx2.Client:
    """Returns a client for a server; it follows redirects and raises `httpx2.ReadError` for too long a response.

    >>> import httpx2
    >>> with client("http://127.0.0.1:8000/v1", httpx2.Timeout(10), direct=True) as opened:
    ...     opened.follow_redirects
    True

    Args:
        url: The server's base URL.
        timeout: Limits for each step of a request.
        direct: Whether to ignore the environment's proxies.

    Raises:
        SetupError: See `proxy_of`; or the certificates that the environment names cannot be used.
    """
    import httpx2

    proxy = None if direct else proxy_of(url)

    class Bounded(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            response = super().handle_request(request)
            assert isinstance(response.stream, httpx2.SyncByteStream)
            response.stream = BoundedStream(response.stream, response.headers.get("content-encoding", "identity"))
            return response

    class BoundedStream(httpx2.SyncByteStream):
        def __init__(self, stream: httpx2.SyncByteStream, encoding: str) -> None:
            self._stream = stream
            self._encoding = encoding.strip().lower()

        def __iter__(self) -> Iterator[bytes]:
            if self._encoding not in ("", "identity"):  # a short body could expand without limit
                raise httpx2.ReadError(f"its response is compressed ({self._encoding[:20]}), which was not requested")
            length, begin = 0, time.monotonic()
            for part in self._stream:
                length += len(part)
                if timeout.read is not None and time.monotonic() - begin > timeout.read:
                    raise httpx2.ReadTimeout("timed out")  # the client applies the limit to each part of a body
                if length > MAX_BODY_BYTES:
                    raise httpx2.ReadError(f"its response has more than {MAX_BODY_BYTES:,} bytes")
                yield part

        def close(self) -> None:
            self._stream.close()

    try:
        transport = Bounded(proxy=proxy)
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot connect to the model server {url}: {_certificates(error)}") from error
    return httpx2.Client(
        transport=transport, timeout=timeout, follow_redirects=True, headers={"accept-encoding": "identity"}
    )


def proxied_transport() -> httpx2.BaseTransport:
    """Returns a transport that connects to each server, redirects included, through the proxy of `proxy_of`.

    It raises SetupError where `proxy_of` does, or when the certificates that the environment names cannot be used.
    """
    import httpx2

    class Proxied(httpx2.BaseTransport):
        def __init__(self) -> None:
            self._transports: dict[str | None, httpx2.HTTPTransport] = {}

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            proxy = proxy_of(str(request.url))
            if proxy not in self._transports:
                try:
                    self._transports[proxy] = httpx2.HTTPTransport(proxy=proxy)
                except (OSError, ValueError) as error:
                    raise SetupError(_certificates(error)) from error
            return self._transports[proxy].handle_request(request)

        def close(self) -> None:
            for transport in self._transports.values():
                transport.close()

    return Proxied()


def certificate_problem(error: BaseException) -> str | None:
    """Returns the problem of a server's certificate, where that made a request fail, else None.

    >>> certificate_problem(TimeoutError("timed out")) is None
    True
    """
    import ssl

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or str(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def url_of(error: httpx2.HTTPError) -> str | None:
    """Returns the URL of the failed request, or None where the error does not hold it.

    >>> import httpx2
    >>> url_of(httpx2.ReadError("cut off", request=httpx2.Request("GET", "https://example.org/v1")))
    'https://example.org/v1'
    """
    try:
        return str(error.request.url)
    except RuntimeError:
        return None


def _certificates(error: Exception) -> str:
    """Names the variables whose certificates cannot be read; no other file is read to create a transport."""
    given = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    named = " and ".join(f"{name}={os.environ[name]}" for name in given) or "SSL_CERT_FILE and SSL_CERT_DIR"
    return f"the certificates in {named} cannot be used ({error}); correct the variable"


def _checked(value: str, variable: str, host: str) -> str:
    """Returns a proxy's URL, with its scheme."""
    proxy = value if "://" in value else f"http://{value}"
    bypass = f"or add {host} to NO_PROXY to connect directly"
    try:
        parts = urlsplit(proxy)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not set(proxy) & set(" \t\n\\<>")
    except ValueError:
        usable = False
    if not usable:
        raise SetupError(
            f"the environment variable {variable} does not hold a proxy's address: set it to http://HOST:PORT, {bypass}"
        )
    scheme = parts.scheme.lower()
    if scheme in _SOCKS and not _has_socks():
        raise SetupError(
            f"the environment variable {variable} names a SOCKS proxy, which needs another package: pip install "
            f"socksio, use an HTTP proxy, {bypass}"
        )
    if scheme not in ("http", "https", *_SOCKS):
        raise SetupError(
            f"the environment variable {variable} names a proxy with the unsupported scheme {scheme}: set it to "
            f"http://HOST:PORT, {bypass}"
        )
    return proxy


def _variable(scheme: str) -> str:
    """Returns the name of the variable that was read; lower case has precedence."""
    lower = f"{scheme}_proxy"
    return lower if os.environ.get(lower) else lower.upper()


def _has_socks() -> bool:
    return importlib.util.find_spec("socksio") is not None
