"""An HTTP proxy before an object store, which refuses, delays or cuts the requests that a test names."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_TIMEOUT_S = 60
_OF_A_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "expect", "content-length")


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as it arrived.

    Attributes:
        method: Such as ``GET``.
        path: The bucket and the key, such as ``/footage/in/a.mp4``.
        headers: With names in lower case.
    """

    method: str
    path: str
    headers: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An answer of the proxy itself, in the form of S3.

    Attributes:
        status: HTTP status.
        code: The code of the error, such as ``SlowDown``.
    """

    status: int
    code: str


@dataclasses.dataclass(frozen=True)
class Cut:
    """The store's answer, after some bytes of whose body the connection ends.

    Attributes:
        after_bytes: How many.
    """

    after_bytes: int


Fault = Callable[[Request], "Refusal | Cut | None"]


class FaultyProxy:
    """A proxy on a free port of this computer, which passes all requests on with their headers, since these are signed.

    Args:
        target: URL of the server, without a path.

    Attributes:
        endpoint: Its own URL.
        fault: Decides on each request, in the thread of its connection: None passes it on; a delay is a sleep.
        requests: All that arrived.
    """

    def __init__(self, target: str) -> None:
        self.target = urllib.parse.urlsplit(target).netloc
        self.fault: Fault = lambda request: None
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        """Serves while the block lasts."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: clients are killed in these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Request(self.command, urllib.parse.unquote(self.path.partition("?")[0]), headers)
        self.proxy.requests.append(asked)
        fault = self.proxy.fault(asked)
        if isinstance(fault, Refusal):
            text = f"<Error><Code>{fault.code}</Code><Message>{fault.code} of the proxy</Message></Error>".encode()
            self._answer(fault.status, [("Content-Type", "application/xml")], len(text), text)
            return
        try:
            self._forward(body, headers, fault)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # as the server did

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

    def _forward(self, body: bytes, headers: Mapping[str, str], fault: Cut | None) -> None:
        with contextlib.closing(http.client.HTTPConnection(self.proxy.target, timeout=_TIMEOUT_S)) as connection:
            sent = {name: value for name, value in headers.items() if name not in _OF_A_CONNECTION}
            connection.request(self.command, self.path, body, sent)
            answer = connection.getresponse()
            content = answer.read()
            size = len(content) if self.command != "HEAD" else int(answer.getheader("Content-Length") or 0)
            if fault is not None and fault.after_bytes < len(content):
                content = content[: fault.after_bytes]
                self.close_connection = True
            self._answer(answer.status, answer.getheaders(), size, content)

    def _answer(self, status: int, headers: list[tuple[str, str]], size: int, content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(size))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
