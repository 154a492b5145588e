"""Workers that lack a model copy it from a folder or a bucket, once per machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
import torch
from safetensors.torch import save_file

from beam_curate.errors import ModelFilesError, UsageError
from beam_curate.models.catalog import T5_XXL, by_name
from beam_curate.store.files import sha256_of
from beam_curate.weights.check import MARKER, FileFacts, check, write_marker
from beam_curate.weights.fetch import ensure

QWEN = by_name("qwen2.5_vl")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of a models folder with a captioner that was downloaded."""
    folder = tmp_path / "store" / QWEN.model_id
    folder.mkdir(parents=True)
    for name in (*QWEN.required, "merges.txt"):
        (folder / name).write_text("{}")
    save_file({"weight": torch.arange(2000.0)}, folder / "model.safetensors")
    (folder / "notes.doc").write_text("not wanted")
    facts = {
        path.name: FileFacts(path.stat().st_size, sha256_of(path)) for path in folder.iterdir() if path.suffix != ".doc"
    }
    write_marker(folder, QWEN, facts)
    return tmp_path / "store"


def names_in(workspace: Path) -> set[str]:
    return {path.name for path in QWEN.folder(str(workspace)).iterdir()}


def test_a_model_is_copied_from_a_folder(tmp_path: Path, store: Path) -> None:
    ensure(QWEN, str(tmp_path / "here"), str(store))
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
    assert names_in(tmp_path / "here") == {*QWEN.required, "merges.txt", "model.safetensors", MARKER}
    (store / QWEN.model_id).rename(tmp_path / "gone")
    ensure(QWEN, str(tmp_path / "here"), str(store))


def test_an_incomplete_folder_is_completed_and_its_other_files_stay(tmp_path: Path, store: Path) -> None:
    folder = QWEN.folder(str(tmp_path / "here"))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{")
    (folder / "mine.txt").write_text("mine")
    ensure(QWEN, str(tmp_path / "here"), f"{store}/")
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
    assert (folder / "mine.txt").read_text() == "mine"


def test_only_the_extracted_encoder_of_t5_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "store" / T5_XXL.model_id
    folder.mkdir(parents=True)
    for name in (*T5_XXL.required, "pytorch_model.bin"):
        (folder / name).write_text("{}")
    save_file({"shared.weight": torch.ones(3)}, folder / "encoder.safetensors")
    paths = list(folder.iterdir())
    write_marker(folder, T5_XXL, {path.name: FileFacts(path.stat().st_size, sha256_of(path)) for path in paths})
    ensure(T5_XXL, str(tmp_path / "here"), str(tmp_path / "store"))
    there = {path.name for path in T5_XXL.folder(str(tmp_path / "here")).iterdir()}
    assert there == {*T5_XXL.required, "encoder.safetensors", MARKER}


def test_a_missing_copy(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"there is no Qwen/.* in .*nowhere/Qwen.*--model-weights-path"):
        ensure(QWEN, str(tmp_path / "here"), str(tmp_path / "nowhere"))


def test_a_corrupt_copy_does_not_reach_the_workspace(tmp_path: Path, store: Path) -> None:
    os.truncate(store / QWEN.model_id / "model.safetensors", 3000)
    with pytest.raises(ModelFilesError, match=r"is not complete: model.safetensors has 3,000 bytes instead of"):
        ensure(QWEN, str(tmp_path / "here"), str(store))
    assert not QWEN.folder(str(tmp_path / "here")).exists()
    assert not list(tmp_path.glob("here/models/*/.*.fetching"))


@pytest.mark.parametrize("path", ["azure://box/models", "gs://", "https://host/models"])
def test_an_unsupported_url_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match=r"--model-weights-path is .*gs://BUCKET"):
        ensure(QWEN, str(tmp_path), path)


ENSURE = """
import logging, sys
from beam_curate.models.catalog import by_name
from beam_curate.weights.fetch import ensure
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
ensure(by_name("qwen2.5_vl"), sys.argv[1], sys.argv[2])
"""


def test_concurrent_processes_copy_a_model_once(tmp_path: Path, store: Path) -> None:
    arguments = [sys.executable, "-c", ENSURE, str(tmp_path / "here"), str(store)]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("copying" in text for text in printed) == 1
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []


def test_leftovers_of_a_killed_process_do_no_harm(tmp_path: Path, store: Path) -> None:
    left = QWEN.folder(str(tmp_path / "here")).with_name(".Qwen2.5-VL-7B-Instruct.fetching")
    left.mkdir(parents=True)
    (left / "model.safetensors").write_text("half of it")
    ensure(QWEN, str(tmp_path / "here"), str(store))
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
    assert not left.exists()


@contextlib.contextmanager
def buckets(root: Path) -> Iterator[str]:
    """Serves a folder as buckets in the way that clients of Google's and Amazon's storage ask for: list and read."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            prefix = query.get("prefix", [""])[0]
            words = unquote(parts.path).strip("/").split("/")
            if words[:3] == ["storage", "v1", "b"] and words[4:] == ["o"]:
                items = [{"name": name, "bucket": words[3]} for name in self.names(words[3], prefix)]
                self.send(json.dumps({"kind": "storage#objects", "items": items}).encode(), "application/json")
            elif words[:4] == ["download", "storage", "v1", "b"]:
                self.send((root / words[4] / "/".join(words[6:])).read_bytes())
            elif "list-type" in query:
                keys = self.names(words[0], prefix)
                entries = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in keys)
                text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
                self.send(text.encode(), "application/xml")
            else:
                self.send((root / "/".join(words)).read_bytes())

        do_HEAD = do_GET

        def names(self, bucket: str, prefix: str) -> list[str]:
            folder = root / bucket / prefix
            return [f"{prefix}{path.name}" for path in sorted(folder.iterdir())] if folder.is_dir() else []

        def send(self, body: bytes, kind: str = "application/octet-stream") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_model_is_copied_from_a_bucket(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    (tmp_path / "buckets" / "box").mkdir(parents=True)
    store.rename(tmp_path / "buckets" / "box" / "weights")
    with buckets(tmp_path / "buckets") as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        ensure(QWEN, str(tmp_path / "here"), f"{scheme}://box/weights")
        assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
        with pytest.raises(ModelFilesError, match=f"there is no .* in {scheme}://box/elsewhere/Qwen"):
            ensure(QWEN, str(tmp_path / "there"), f"{scheme}://box/elsewhere")
