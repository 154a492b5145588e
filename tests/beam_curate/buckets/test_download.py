"""Downloads go on where they ended, and what they leave is the object or nothing that passes for it."""

from __future__ import annotations

import errno
import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_curate.buckets.base import Bucket, BucketError, ObjectChangedError, ObjectFacts
from beam_curate.buckets.download import download

KEY = "day 1/a.mp4"
CONTENT = random.Random(1).randbytes(10_000)
BLOCK_BYTES = 1000


class FakeBucket(Bucket):
    """One object, whose responses can be cut, damaged or refused.

    Attributes:
        responses: What is sent by each response, one after another: a number of bytes until the connection breaks, an
            error, or other content. After these, the object is sent whole.
        starts: The first byte of each response that was asked for.
    """

    url = "s3://footage"

    def __init__(self, *responses: int | OSError | bytes, content: bytes = CONTENT) -> None:
        self.content = content
        self.responses = list(responses)
        self.starts: list[int] = []

    def facts(self, *, etag: str = "", etag_is_md5: bool = True) -> ObjectFacts:
        etag = etag or hashlib.md5(self.content).hexdigest()
        return ObjectFacts(KEY, len(self.content), etag, 0.0, etag_is_md5=etag_is_md5)

    def stream(self, facts: ObjectFacts, start: int = 0) -> Iterator[bytes]:
        self.starts.append(start)
        response = self.responses.pop(0) if self.responses else len(self.content)
        if isinstance(response, OSError):
            raise response
        content = response if isinstance(response, bytes) else self.content
        end = min(start + response, len(content)) if isinstance(response, int) else len(content)
        for first in range(start, end, BLOCK_BYTES):
            yield content[first : min(first + BLOCK_BYTES, end)]
        if isinstance(response, int) and end < len(content):
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    def get(self, key: str) -> bytes:
        raise NotImplementedError

    def put(self, key: str, content: bytes | Path, sha256: str = "") -> str:
        raise NotImplementedError

    def create(self, key: str, data: bytes) -> bool:
        raise NotImplementedError

    def head(self, key: str) -> ObjectFacts | None:
        raise NotImplementedError

    def copy(self, source: ObjectFacts, target: str) -> None:
        raise NotImplementedError

    def _delete(self, key: str) -> None:
        raise NotImplementedError

    def list(self, prefix: str, *, folders: bool = False) -> Iterator[ObjectFacts | str]:
        raise NotImplementedError

    def abort_uploads(self, prefix: str) -> int:
        raise NotImplementedError

    def check(self) -> None:
        raise NotImplementedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.mp4"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited each time, in s; without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "a byte", "blocks"])
def test_an_object_arrives_whole(path: Path, content: bytes, pauses: list[float]) -> None:
    bucket = FakeBucket(content=content)
    download(bucket, bucket.facts(), path)
    assert path.read_bytes() == content
    assert pauses == []


@pytest.mark.parametrize("there", [1, 4321, len(CONTENT) - 1])
def test_a_download_goes_on_where_an_earlier_one_ended(path: Path, there: int) -> None:
    path.write_bytes(CONTENT[:there])
    bucket = FakeBucket()
    download(bucket, bucket.facts(), path)
    assert path.read_bytes() == CONTENT
    assert bucket.starts == [there]


def test_a_complete_file_needs_no_request(path: Path) -> None:
    path.write_bytes(CONTENT)
    bucket = FakeBucket()
    download(bucket, bucket.facts(), path)
    assert bucket.starts == []


def test_a_broken_connection_costs_no_byte_twice(path: Path, pauses: list[float]) -> None:
    bucket = FakeBucket(1500, 0, 2500, TimeoutError("timed out"))
    download(bucket, bucket.facts(), path)
    assert path.read_bytes() == CONTENT
    assert bucket.starts == [0, 1500, 1500, 4000, 4000]
    assert len(pauses) == 4


def test_a_response_that_ends_early_is_a_broken_connection(path: Path) -> None:
    bucket = FakeBucket(CONTENT[:3000], b"", CONTENT[:6000])
    download(bucket, bucket.facts(), path)
    assert path.read_bytes() == CONTENT
    assert bucket.starts == [0, 3000, 3000, 6000]


def test_connections_may_break_any_number_of_times_while_bytes_arrive(path: Path) -> None:
    bucket = FakeBucket(*[100] * 99)
    download(bucket, bucket.facts(), path)
    assert path.read_bytes() == CONTENT


def test_a_store_that_sends_nothing_more_is_given_up(path: Path, pauses: list[float]) -> None:
    bucket = FakeBucket(3000, *[0] * 100)
    with pytest.raises(BucketError, match=r"s3://footage/day 1/a\.mp4: .* 3000 of 10000 bytes: Connection reset"):
        download(bucket, bucket.facts(), path)
    assert len(bucket.starts) == 1 + 6
    assert pauses == sorted(pauses)
    assert pauses[-1] > 4 * pauses[0]
    bucket.responses.clear()
    download(bucket, bucket.facts(), path)  # another run
    assert path.read_bytes() == CONTENT
    assert bucket.starts[-1] == 3000


def test_what_a_connection_says_of_its_request_is_not_repeated(path: Path) -> None:
    bucket = FakeBucket(*[ConnectionError("GET https://store/a?signature=SECRET")] * 6)
    with pytest.raises(BucketError) as caught:
        download(bucket, bucket.facts(), path)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [FileNotFoundError("no such key"), ObjectChangedError("changed"), BucketError("refused")], ids=repr
)
@pytest.mark.parametrize("received", [0, 3000])
def test_a_refusal_is_final(path: Path, error: OSError, received: int, pauses: list[float]) -> None:
    bucket = FakeBucket(*([received] if received else []), error)
    with pytest.raises(type(error)) as caught:
        download(bucket, bucket.facts(), path)
    assert caught.value is error
    assert len(pauses) == bool(received)


def damaged(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def test_a_damaged_file_is_downloaded_once_more(path: Path) -> None:
    bucket = FakeBucket(damaged(CONTENT))
    download(bucket, bucket.facts(), path)
    assert path.read_bytes() == CONTENT
    assert bucket.starts == [0, 0]


def test_a_file_that_arrives_damaged_twice_does_not_stay(path: Path) -> None:
    bucket = FakeBucket(damaged(CONTENT), damaged(CONTENT))
    with pytest.raises(BucketError, match=r"s3://footage/day 1/a\.mp4: arrived damaged twice"):
        download(bucket, bucket.facts(), path)
    assert not path.exists()


def test_more_bytes_than_the_object_has_are_damage(path: Path) -> None:
    bucket = FakeBucket(CONTENT + b"x")
    download(bucket, bucket.facts(etag="abc-2", etag_is_md5=False), path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("there", [damaged(CONTENT), damaged(CONTENT)[:6000], CONTENT + b"x"])
def test_what_an_earlier_download_left_may_be_wrong(path: Path, there: bytes) -> None:
    path.write_bytes(there)
    bucket = FakeBucket()
    download(bucket, bucket.facts(), path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("etag", "is_md5"),
    [
        ("0123456789abcdef0123456789abcdef", False),  # as S3 says of an object encrypted with a key of KMS
        ("0123456789abcdef0123456789abcdef-7", False),
        ("0123456789abcdef0123456789abcdef-7", True),
    ],
)
def test_a_tag_that_is_no_md5_is_not_compared(path: Path, etag: str, is_md5: bool) -> None:
    bucket = FakeBucket()
    download(bucket, bucket.facts(etag=etag, etag_is_md5=is_md5), path)
    assert path.read_bytes() == CONTENT


def test_an_md5_may_be_in_upper_case(path: Path) -> None:
    bucket = FakeBucket()
    download(bucket, bucket.facts(etag=hashlib.md5(CONTENT).hexdigest().upper()), path)
    assert bucket.starts == [0]


def test_a_full_disk_is_named_and_not_tried_again() -> None:
    bucket = FakeBucket()
    with pytest.raises(OSError, match="/dev/full") as caught:
        download(bucket, bucket.facts(), Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC
    assert bucket.starts == [0]


def test_a_link_in_the_place_of_the_file_is_not_written_through(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    path.symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="a link is in the place") as caught:
        download(FakeBucket(), FakeBucket().facts(), path)
    assert caught.value.filename == str(path)
    assert (tmp_path / "mine").read_bytes() == b"mine"
