"""Google Cloud Storage: what it says when something is wrong, and what is its own."""

from __future__ import annotations

import contextlib
import json
import pickle
import threading
import traceback
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google.auth
import google.auth.credentials
import pytest
from google.auth.exceptions import RefreshError
from google.cloud import storage

from beam_curate.buckets import gcs
from beam_curate.buckets.base import BucketError
from beam_curate.buckets.gcs import GcsBucket
from beam_curate.buckets.gcs_client import forget_client
from beam_curate.buckets.patience import Patience
from tests.support.object_servers import FakeGcs

SECRET = "ya29.secret-token"


class Account(google.auth.credentials.Credentials):
    """Credentials whose token cannot be had, or is at hand."""

    service_account_email = "curator@footage.iam.gserviceaccount.com"

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__()
        self.asked = 0
        self._expired = expired

    def refresh(self, request: object) -> None:
        self.asked += 1
        if self._expired:
            raise RefreshError("invalid_grant: Token has been expired or revoked.", {"error": "invalid_grant"})
        self.token = SECRET


@pytest.fixture(autouse=True)
def fresh_client() -> Iterator[None]:
    forget_client()
    yield
    forget_client()


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str, *accounts: Account) -> None:
    """Has clients ask a server of this computer, each client with the next account."""
    remaining = list(accounts)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", endpoint)
    monkeypatch.setattr(google.auth, "default", lambda scopes: (remaining.pop(0), None))


@contextlib.contextmanager
def answering(status: int, message: str, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """Runs a server that gives each request the same answer; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            content = json.dumps({"error": {"code": status, "message": message}}).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_says_what_to_do_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")

    with pytest.raises(BucketError, match=r"gs://footage.*no credentials.*`gcloud auth application-default login`"):
        GcsBucket("footage").check()


def test_says_that_the_file_with_a_key_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))

    with pytest.raises(BucketError, match=r"key\.json.*not found"):
        GcsBucket("footage").check()


def test_says_whose_permission_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(403, "storage.objects.list access is denied") as endpoint:
        use(monkeypatch, endpoint, Account())

        with pytest.raises(BucketError, match=r"gs://footage: curator@.*objects\.list.*roles/storage\.objectViewer"):
            GcsBucket("footage").check()
        with pytest.raises(BucketError, match=r"gs://footage/a: curator@.*roles/storage\.objectUser"):
            GcsBucket("footage").put("a", b"x")


def test_uses_new_credentials_where_they_expired(monkeypatch: pytest.MonkeyPatch, gcs_server: FakeGcs) -> None:
    use(monkeypatch, gcs_server.endpoint, Account(expired=True), Account())
    bucket = GcsBucket(gcs_server.make_bucket())

    bucket.put("a", b"x")

    assert bucket.get("a") == b"x"


def test_says_whose_credentials_expired(monkeypatch: pytest.MonkeyPatch, gcs_server: FakeGcs) -> None:
    accounts = [Account(expired=True), Account(expired=True)]
    use(monkeypatch, gcs_server.endpoint, *accounts)

    with pytest.raises(BucketError, match=r"curator@.*expired or revoked.*gcloud auth application-default login"):
        GcsBucket(gcs_server.make_bucket()).get("a")

    assert [account.asked for account in accounts] == [1, 1]


def test_keeps_tokens_and_addresses_of_uploads_to_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gcs, "_RETRY", gcs._CHECK_RETRY.with_timeout(0.1))
    monkeypatch.setattr(gcs, "_PATIENCE", Patience(0))
    (tmp_path / "clip").write_bytes(bytes(9 << 20))
    with answering(200, "", {"location": "http://127.0.0.1:9/upload?upload_id=ABPtcPo"}) as endpoint:
        use(monkeypatch, endpoint, Account())
        bucket = GcsBucket("footage")

        with pytest.raises(BucketError, match=r"gs://footage/a: .*no answer.*upload_id=\.\.\.") as refused:
            bucket.put("a", tmp_path / "clip")

    shown = "".join(traceback.format_exception(refused.value)) + repr(bucket) + repr(pickle.dumps(bucket))
    assert "ABPtcPo" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize("name", ["Footage/", "-footage"])
def test_a_name_that_no_bucket_can_have(monkeypatch: pytest.MonkeyPatch, gcs_server: FakeGcs, name: str) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint)

    with pytest.raises(BucketError, match=f"gs://{name}"):
        GcsBucket(name).check()


def test_what_was_put_together_from_parts_has_an_etag_of_its_content() -> None:
    def composed(crc32c: str) -> storage.Blob:
        resource = {"crc32c": crc32c, "size": "7", "timeCreated": "2026-01-02T03:04:05.250Z", "componentCount": 2}
        blob = storage.Blob("a", None)
        blob._set_properties(resource | {"name": "a"})
        return blob

    facts = gcs._facts(composed("AQL/AA=="))

    assert (facts.etag, facts.size_bytes, facts.modified_s) == ("crc32c-0102ff00", 7, 1767323045.25)
    assert gcs._facts(composed("AQL/AA==")) == facts != gcs._facts(composed("AQL/AQ=="))
