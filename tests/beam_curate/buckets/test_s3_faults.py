"""S3 behind a proxy that refuses as stores do: what passes is repeated, and credentials that expired are read anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_curate.buckets import s3
from beam_curate.buckets.base import BucketError
from beam_curate.buckets.s3 import S3Bucket
from tests.support.faulty_proxy import FaultyProxy, Refusal, Request
from tests.support.object_servers import Minio

PROFILE = "behind-a-proxy"
RENEWED = "renewed"  # the name, in requests, of who has read the credentials after they were renewed
MIB = 1 << 20


@pytest.fixture
def proxy(minio_server: Minio) -> Iterator[FaultyProxy]:
    with FaultyProxy(minio_server.endpoint).running() as proxy:
        yield proxy


@pytest.fixture
def credentials(proxy: FaultyProxy, minio_server: Minio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = minio_server.profile_file(tmp_path / "credentials", PROFILE, endpoint_url=proxy.endpoint)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setattr("beam_curate.buckets.s3_client._clients", {})
    return path


@pytest.fixture
def bucket(credentials: Path, minio_server: Minio) -> S3Bucket:
    return S3Bucket(minio_server.make_bucket(), PROFILE)


def expired(request: Request) -> Refusal | None:
    return None if f"app/{RENEWED}" in request.headers["user-agent"] else Refusal(400, "ExpiredToken")


@pytest.mark.parametrize(
    "refusal", [Refusal(503, "SlowDown"), Refusal(429, "TooManyRequests"), Refusal(500, "InternalError")], ids=str
)
def test_repeats_what_a_busy_store_refuses(bucket: S3Bucket, proxy: FaultyProxy, refusal: Refusal) -> None:
    calls = (
        lambda: bucket.put("a", b"x"),
        lambda: bucket.head("a"),
        lambda: bucket.get("a"),
        lambda: list(bucket.list("")),
        lambda: bucket.create("b", b"x"),
        lambda: bucket.delete(["b"]),
        bucket.check,
    )
    for call in calls:
        answers = itertools.chain([refusal] * 2, itertools.repeat(None))
        proxy.fault = lambda request, answers=answers: next(answers)
        call()
    proxy.fault = lambda request: None
    assert bucket.get("a") == b"x"
    assert bucket.head("b") is None


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_creates_where_another_writer_is_at_work(bucket: S3Bucket, proxy: FaultyProxy, code: str) -> None:
    answers = itertools.chain([Refusal(409, code)], itertools.repeat(None))
    proxy.fault = lambda request: next(answers)

    assert bucket.create("a", b"x")
    assert bucket.get("a") == b"x"


def test_reads_credentials_anew_where_they_expired(
    bucket: S3Bucket, proxy: FaultyProxy, minio_server: Minio, credentials: Path
) -> None:
    bucket.put("a", b"x")
    proxy.fault = expired
    minio_server.profile_file(credentials, PROFILE, endpoint_url=proxy.endpoint, sdk_ua_app_id=RENEWED)

    assert bucket.head("a")  # whose refusal has no words
    proxy.requests.clear()
    assert bucket.get("a") == b"x"
    assert bucket.create("b", b"x")

    assert not any(map(expired, proxy.requests))


def test_reads_credentials_anew_where_they_expired_during_an_upload_in_parts(
    bucket: S3Bucket,
    proxy: FaultyProxy,
    minio_server: Minio,
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(s3, "_WHOLE_BYTES", MIB)
    (tmp_path / "clip").write_bytes(bytes(9 * MIB))

    def fault(request: Request) -> Refusal | None:
        return expired(request) if request.method == "PUT" else None

    proxy.fault = fault
    minio_server.profile_file(credentials, PROFILE, endpoint_url=proxy.endpoint)
    bucket.check()
    minio_server.profile_file(credentials, PROFILE, endpoint_url=proxy.endpoint, sdk_ua_app_id=RENEWED)

    bucket.put("a", tmp_path / "clip")

    facts = bucket.head("a")
    assert facts
    assert facts.size_bytes == 9 * MIB
    assert bucket.abort_uploads("") == 0


@pytest.mark.parametrize("key", ["get", "head"])
def test_says_whose_credentials_expired(bucket: S3Bucket, proxy: FaultyProxy, key: str) -> None:
    proxy.fault = lambda request: Refusal(400, "ExpiredToken")

    with pytest.raises(BucketError, match=rf"{bucket.url}/a: .*credentials of the profile {PROFILE} have expired"):
        getattr(bucket, key)("a")
