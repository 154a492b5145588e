"""A captioner on a device of its own, as far as the cores can tell: a model server that only sleeps.

It takes one request at a time, as a model does that is alone on its device, and answers with sentences that it has not
used for hundreds of others.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_WORDS = (
    ("red", "blue", "white", "black", "silver"),
    ("car", "van", "lorry", "bus", "tram"),
    ("turns left", "slows down", "waits for a cyclist", "pulls out", "stops"),
    ("at a wet crossing", "before a bridge", "beside a park", "in a narrow street", "near a station"),
)
_SENTENCES = [" ".join(("A", *words)) + "." for words in itertools.product(*_WORDS)]
random.Random(0).shuffle(_SENTENCES)


class SleepingServer:
    """An OpenAI-compatible server on this computer that sleeps for each request.

    Args:
        seconds: How long it sleeps for one.
        sentences: Of each caption; one has some 40 letters.

    Attributes:
        url: Its base URL.
        requests: How many captions it was asked for.
    """

    def __init__(self, seconds: float, sentences: int = 1) -> None:
        self.seconds, self.sentences = seconds, sentences
        self.requests = 0
        self._device = threading.Lock()
        self._endless = itertools.cycle(_SENTENCES)
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextlib.contextmanager
    def running(self) -> Iterator[SleepingServer]:
        """Serves while the block lasts."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def caption(self) -> str:
        """Sleeps, and returns the next sentences."""
        with self._device:
            self.requests += 1
            time.sleep(self.seconds)
            return " ".join(itertools.islice(self._endless, self.sentences))


class _Handler(BaseHTTPRequestHandler):
    server_of: SleepingServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # which would hold the body back for 40 ms

    def do_GET(self) -> None:
        """Lists one model; there is no other page."""
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": "sleeping", "object": "model"}]})
        else:
            self._send(404, {"error": {"message": "no such page", "type": "not_found"}})

    def do_POST(self) -> None:
        """Answers a request for a caption without a look at its pictures."""
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": self.server_of.caption()}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1000, "completion_tokens": 25, "total_tokens": 1025}
        self._send(200, {"object": "chat.completion", "model": "sleeping", "choices": [choice], "usage": usage})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *parts: Any) -> None:
        """Prints nothing."""
