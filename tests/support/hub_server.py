"""A small Hugging Face hub on this computer: it lists a model's files at one revision and serves them.

Large files come by way of a redirect, as the hub's do, and in parts where a request asks for one. It can misbehave.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_tokenThatNobodyMaySee"


@dataclasses.dataclass
class Repository:
    """A model on the hub.

    Attributes:
        revision: The only one it has.
        files: By name.
        gated: Whether files want the token.
        claimed_sizes: Sizes that it lists instead of the true ones.
        damaged: Files of which it sends another last byte.
        cut: Files whose connection it cuts after so many bytes, once each.
        stalled: Files of which it sends so many bytes and then nothing, once each.
        unlisted: What its list leaves out: ``size``, ``blobId``, ``lfs``, or of this ``lfs.sha256`` and so on.
    """

    revision: str
    files: Mapping[str, bytes]
    gated: bool = False
    claimed_sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    damaged: set[str] = dataclasses.field(default_factory=set)
    cut: dict[str, int] = dataclasses.field(default_factory=dict)
    stalled: dict[str, int] = dataclasses.field(default_factory=dict)
    unlisted: frozenset[str] = frozenset()


class Hub:
    """The server, with what it was asked.

    Attributes:
        url: For ``HF_ENDPOINT``.
        sent: Each file that was asked for, with the first byte that was wanted.
        authorizations: The values of that header.
        page: Answers everything with this page, as a firewall does that wants a log-in.
    """

    def __init__(self, repositories: Mapping[str, Repository], certificate: Path | None = None) -> None:
        self.repositories = repositories
        self.page: bytes | None = None
        self.sent: list[tuple[str, int]] = []
        self.authorizations: set[str | None] = set()
        self.released = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.authorizations.add(self.headers.get("Authorization"))
                with contextlib.suppress(ConnectionError):  # of a client that was stopped
                    answer(hub, self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables under which huggingface_hub asks this server."""
        return {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": TOKEN}

    def names(self) -> list[str]:
        """Names of the files that were asked for."""
        return [name for name, _ in self.sent]


@contextlib.contextmanager
def serving(repositories: Mapping[str, Repository], certificate: Path | None = None) -> Iterator[Hub]:
    """Runs the server, by TLS where there is a certificate (PEM, with its key)."""
    hub = Hub(repositories, certificate)
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def answer(hub: Hub, request: BaseHTTPRequestHandler) -> None:
    """Answers a request."""
    if hub.page is not None:
        return _send(request, 200, hub.page, {"Content-Type": "text/html"})
    path = urlsplit(request.path).path  # a proxy is asked for a whole URL
    if found := re.fullmatch(r"/api/models/(.+)/revision/([^/]+)", path):
        model_id, revision, name = found[1], found[2], None
    elif found := re.fullmatch(r"/(cdn/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
        model_id, revision, name = found[2], found[3], found[4]
    else:
        return _send(request, 404, b"")
    repository = hub.repositories.get(model_id)
    if repository is None:
        return _send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
    if revision != repository.revision:
        return _send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
    if name is None:
        return _send(
            request, 200, json.dumps(_listing(model_id, repository)).encode(), {"Content-Type": "application/json"}
        )
    if repository.gated and not path.startswith("/cdn/"):
        return _send(request, 403, b"{}", {"X-Error-Code": "GatedRepo"})
    if name not in repository.files:
        return _send(request, 404, b"{}", {"X-Error-Code": "EntryNotFound"})
    if is_large(name) and not path.startswith("/cdn/"):
        return _send(request, 302, b"", {"Location": f"{hub.url}/cdn{path}"})
    return _send_file(hub, request, repository, name)


def is_large(name: str) -> bool:
    """Whether the hub keeps a file by its SHA-256."""
    return name.endswith((".bin", ".safetensors", ".model"))


def _listing(model_id: str, repository: Repository) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = [{"rfilename": "onnx/config.json", "size": 2, "blobId": "0" * 40}]
    for name, data in repository.files.items():
        size = repository.claimed_sizes.get(name, len(data))
        sha256 = hashlib.sha256(data).hexdigest()
        # Git holds a pointer in the place of a large file, and the hub lists the pointer's hash.
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (sha256.encode(), len(data))
        in_git = pointer if is_large(name) else data
        blob_id = hashlib.sha1(b"blob %d\0" % len(in_git) + in_git).hexdigest()
        siblings.append({"rfilename": name, "size": size, "blobId": blob_id})
        if is_large(name):
            lfs = {"sha256": sha256, "size": size, "pointerSize": len(pointer)}
            siblings[-1]["lfs"] = {key: value for key, value in lfs.items() if f"lfs.{key}" not in repository.unlisted}
        siblings[-1] = {key: value for key, value in siblings[-1].items() if key not in repository.unlisted}
    return {"id": model_id, "sha": repository.revision, "siblings": siblings}


def _send_file(hub: Hub, request: BaseHTTPRequestHandler, repository: Repository, name: str) -> None:
    data = repository.files[name]
    if name in repository.damaged:
        data = data[:-1] + bytes([data[-1] ^ 1])
    wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    first = int(wanted[1]) if wanted else 0
    hub.sent.append((name, first))
    headers = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"} if wanted else {}
    cut, stalled = repository.cut.pop(name, None), repository.stalled.pop(name, None)
    if cut is None and stalled is None:
        return _send(request, 206 if wanted else 200, data[first:], headers)
    _head(request, 206 if wanted else 200, len(data) - first, headers)
    request.close_connection = True
    request.wfile.write(data[first : first + (cut or stalled or 0)])
    request.wfile.flush()
    if stalled is not None:
        hub.released.wait()
    return None


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    _head(request, status, len(body), headers or {})
    request.wfile.write(body)


def _head(request: BaseHTTPRequestHandler, status: int, length: int, headers: Mapping[str, str]) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(length), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
