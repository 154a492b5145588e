"""An OpenAI-compatible server that misbehaves as told: each request takes the next behaviour of a script.

As a program, ``python misbehaving_server.py FOLDER --port PORT``, it stands in for a server that the worker starts.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import dataclasses
import io
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import numpy as np
from PIL import Image

CAPTION = "A red car turns left at dusk."


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the server does with a request.

    Attributes:
        status: HTTP status.
        body: What is sent: JSON unless it is a string.
        headers: Besides the usual ones.
        cut: Whether the connection breaks in the middle of the body.
        wait_s: Before anything is sent; -1 for ever.
    """

    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    wait_s: float = 0.0


def chat_completion(text: str | None = CAPTION, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion, in the form that OpenAI gives it."""
    message = {"role": "assistant", "content": text} | message
    usage = {"prompt_tokens": 70, "completion_tokens": 9, "total_tokens": 79}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def refusal(status: int, message: str, **headers: str) -> Reply:
    """An error, in the form that OpenAI gives it."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, {"error": {"message": message, "type": "some_error", "code": None}}, named)


GOOD = Reply(body=chat_completion())
BUSY = refusal(429, "slow down")
BROKEN = refusal(500, "internal error")
HANGING = Reply(wait_s=-1)
HALF = Reply(body=chat_completion(), cut=True)
NO_JSON = Reply(body="<html>502 of some proxy</html>")
NO_CHOICES = Reply(body=chat_completion() | {"choices": []})
NO_TEXT = Reply(body=chat_completion(None))
EMPTY = Reply(body="")
BLOCKED = Reply(body=chat_completion(None, "content_filter"))
TRUNCATED = Reply(body=chat_completion("A red car turns", "length"))


class MisbehavingServer:
    """A real HTTP server on this computer.

    Args:
        script: Behaviours of the first requests, in their order; after them `otherwise` decides by what is asked.
        otherwise: Of a request that the script does not cover.
        models: What it lists; a `Reply` for a list that misbehaves too.
        version: The answer to a request for its version; by default it has no such page.
        port: Where it listens; a free port by default.

    Attributes:
        url: Its base URL.
        requests: The bodies of all requests for chat completions.
        keys: The authorization headers of all requests.
        most_at_once: Requests that were in its hands at once, at most.
    """

    def __init__(
        self,
        *script: Reply,
        otherwise: Callable[[dict[str, Any]], Reply] = lambda body: GOOD,
        models: tuple[str, ...] | Reply = ("served",),
        version: Reply = refusal(404, "no such page"),  # noqa: B008 - it never changes
        port: int = 0,
    ) -> None:
        self._script = collections.deque(script)
        self._otherwise = otherwise
        self._models = models
        self.version = version
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._at_once = 0
        self.concurrency = 0
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"server_of": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextlib.contextmanager
    def running(self) -> Iterator[MisbehavingServer]:
        """Serves while the block lasts."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def models(self) -> Reply:
        """The answer to a request for the list of models."""
        if isinstance(self._models, Reply):
            return self._models
        return Reply(body={"object": "list", "data": [{"id": name, "object": "model"} for name in self._models]})

    def chat(self, body: dict[str, Any]) -> Reply:
        """The answer to a question."""
        with self._lock:
            self.requests.append(body)
            self._at_once += 1
            self.concurrency = max(self.concurrency, self._at_once)
            reply = self._script.popleft() if self._script else None
        reply = self._otherwise(body) if reply is None else reply
        if reply.wait_s:
            self._ended.wait(None if reply.wait_s < 0 else reply.wait_s)
        with self._lock:
            self._at_once -= 1
        return reply


def pictures_of(body: dict[str, Any]) -> list[np.ndarray]:
    """The JPEGs of a request, decoded, in their order."""
    found = []
    for part in body["messages"][-1]["content"]:
        if part["type"] == "image_url":
            content = _content(part["image_url"]["url"], "image/jpeg")
            picture = Image.open(io.BytesIO(content))
            assert picture.format == "JPEG"
            found.append(np.asarray(picture))
    return found


def video_of(body: dict[str, Any]) -> tuple[list[np.ndarray], float]:
    """The frames of a request's mp4, decoded, and its frame rate."""
    part = next(part for part in body["messages"][-1]["content"] if part["type"] == "video_url")
    with av.open(io.BytesIO(_content(part["video_url"]["url"], "video/mp4")), "r") as container:
        rate = float(container.streams.video[0].average_rate or 0)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], rate


def text_of(body: dict[str, Any]) -> str:
    """The text of a request, which is its last part."""
    part = body["messages"][-1]["content"][-1]
    assert part["type"] == "text"
    return str(part["text"])


def _content(url: str, media_type: str) -> bytes:
    head, _, content = url.partition(",")
    assert head == f"data:{media_type};base64"
    return base64.b64decode(content, validate=True)


class _Handler(BaseHTTPRequestHandler):
    server_of: MisbehavingServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._note_key()
        if self.path == "/version":
            self._send(self.server_of.version)
        else:
            self._send(self.server_of.models() if self.path == "/v1/models" else refusal(404, "no such page"))

    def do_POST(self) -> None:
        self._note_key()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._send(self.server_of.chat(body) if self.path == "/v1/chat/completions" else refusal(404, "no such page"))

    def _note_key(self) -> None:
        self.server_of.keys.append(self.headers.get("authorization", ""))

    def _send(self, reply: Reply) -> None:
        content = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(reply.status)
            for name, value in (("content-type", "application/json"), *reply.headers):
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if reply.cut else content)
        self.close_connection |= reply.cut

    def log_message(self, *parts: Any) -> None:
        pass


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--dies-at", type=int, default=0, help="the question that it does not survive")
    parser.add_argument("--fails", action="store_true", help="to start")
    parser.add_argument("--hangs", action="store_true", help="at every question")
    parser.add_argument("--breaks", action="store_true", help="answers every question with HTTP 500, and prints why")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--child", action="store_true", help="starts a process of its own")
    parser.add_argument("--tells-environment", action="store_true", help="in its answers")
    arguments = parser.parse_args()
    print(f"serving {arguments.folder}", flush=True)
    if arguments.fails:
        raise SystemExit("no kernel image is available")
    if arguments.child:
        subprocess.Popen(["sleep", "600"])
    count = itertools.count(1)

    def otherwise(body: dict[str, Any]) -> Reply:
        if next(count) == arguments.dies_at:
            os._exit(3)
        if arguments.breaks:
            print("Traceback (most recent call last):\n  File 'x.py', line 1", file=sys.stderr)
            print("RuntimeError: CUDA error: no kernel image is available", file=sys.stderr)
            print(
                'INFO: 127.0.0.1 - "POST /v1/chat/completions HTTP/1.1" 500 Internal Server Error',
                file=sys.stderr,
                flush=True,
            )
            return BROKEN
        if arguments.hangs:
            return HANGING
        shown = json.dumps(dict(os.environ)) if arguments.tells_environment else body["model"]
        return Reply(body=chat_completion(shown))

    models = refusal(503, "loading") if arguments.never_ready else (arguments.folder,)
    with MisbehavingServer(otherwise=otherwise, models=models, port=arguments.port).running():
        threading.Event().wait()


if __name__ == "__main__":
    main()
