"""A store that speaks S3 and does not know conditional writes: it refuses them, or overlooks the condition."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from tests.support.object_servers import Minio

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


@contextlib.contextmanager
def unconditional(server: Minio, how: Literal["refuses", "overlooks"]) -> Iterator[str]:
    """Runs such a store before a MinIO server; gives its URL.

    Headers are signed, so that a condition cannot be left out: where it is to be overlooked, the object is written with
    the server's own client.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == "PUT" and "If-None-Match" in self.headers:
                self.put(body)
                return
            with contextlib.closing(http.client.HTTPConnection(urlsplit(server.endpoint).netloc)) as connection:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                self.answer(answer.status, dict(answer.getheaders()), answer.read())

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = pass_on

        def put(self, body: bytes) -> None:
            if how == "refuses":
                text = b"<Error><Code>NotImplemented</Code><Message>A header is not implemented.</Message></Error>"
                self.answer(501, {"Content-Type": "application/xml"}, text)
                return
            bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
            written: Any = server.client().put_object(Bucket=bucket, Key=key, Body=body)
            self.answer(200, {"ETag": written["ETag"]}, b"")

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
