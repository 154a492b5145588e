"""What every bucket does, whatever store it is in."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from beam_curate.buckets.base import Bucket, BucketError, ObjectChangedError, ObjectFacts
from beam_curate.buckets.gcs import GcsBucket
from beam_curate.buckets.s3 import S3Bucket
from tests.support.object_servers import Minio, ObjectServer

MIB = 1 << 20
MORE_THAN_A_PAGE = 1_003  # a page has 1,000 names
MISSING = "no-such-bucket-of-anyone"


def gs(server: ObjectServer, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[[str], Bucket]:
    """Returns what opens a bucket of Google Cloud Storage by its name."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    return GcsBucket


def s3(server: Minio, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[[str], Bucket]:
    """Returns what opens a bucket of S3 by its name."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.profile_file(folder / "credentials", "team")))
    return lambda name: S3Bucket(name, "team")


# Of each scheme: the fixture of its server, and what prepares the environment and returns how a bucket is opened.
BUCKETS = {"gs": ("gcs_server", gs), "s3": ("minio_server", s3)}
# MinIO is not here: it refuses names with empty parts, and hides what is below the name of an object. S3 does not.
FREE_NAMES = {"gs"}
SEVERAL_RESPONSES = {"gs"}  # to one stream


@pytest.fixture(params=BUCKETS)
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(request: pytest.FixtureRequest, scheme: str) -> ObjectServer:
    return request.getfixturevalue(BUCKETS[scheme][0])


@pytest.fixture
def open_bucket(
    scheme: str, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Bucket]:
    return BUCKETS[scheme][1](server, monkeypatch, tmp_path)


@pytest.fixture
def bucket(server: ObjectServer, open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket(server.make_bucket())


def content(size_bytes: int) -> bytes:
    """Bytes that differ at every place where a block could begin."""
    return b"".join(number.to_bytes(8, "big") for number in range(size_bytes // 8 + 1))[:size_bytes]


def keys(bucket: Bucket, prefix: str, *, folders: bool = False) -> list[str]:
    return [one if isinstance(one, str) else one.key for one in bucket.list(prefix, folders=folders)]


def facts_of(bucket: Bucket, key: str) -> ObjectFacts:
    facts = bucket.head(key)
    assert facts
    return facts


def test_returns_what_was_put(bucket: Bucket) -> None:
    bucket.put("day 1/a.json", b'{"a": 1}')
    bucket.put("empty", b"")

    assert bucket.get("day 1/a.json") == b'{"a": 1}'
    assert bucket.get("empty") == b""


def test_replaces_an_object(bucket: Bucket) -> None:
    bucket.put("a", b"before")
    bucket.put("a", b"after")

    assert bucket.get("a") == b"after"


@pytest.mark.parametrize("size_bytes", [0, 1, 8 * MIB, 20 * MIB + 3], ids=lambda size: f"{size}_bytes")
def test_puts_a_file_with_its_hash(bucket: Bucket, tmp_path: Path, size_bytes: int) -> None:
    data = content(size_bytes)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "clip").write_bytes(data)

    bucket.put("clips/a.mp4", tmp_path / "clip", digest)

    facts = facts_of(bucket, "clips/a.mp4")
    assert (facts.key, facts.size_bytes, facts.sha256) == ("clips/a.mp4", size_bytes, digest)
    assert b"".join(bucket.stream(facts)) == data


def test_says_that_a_file_to_be_put_is_missing(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        bucket.put("a", tmp_path / "nothing-here")


def test_knows_size_and_time_of_an_object(bucket: Bucket) -> None:
    before_s = time.time()
    bucket.put("a", b"12345")

    facts = facts_of(bucket, "a")

    assert (facts.size_bytes, facts.sha256) == (5, "")
    assert before_s - 2 <= facts.modified_s <= time.time() + 2


def test_etag_is_a_function_of_the_content(bucket: Bucket) -> None:
    bucket.put("a", b"same")
    bucket.put("b", b"same")
    bucket.put("c", b"other")

    a, b, c = (facts_of(bucket, key).etag for key in "abc")

    assert a == b != c


def test_a_listing_and_a_head_agree(bucket: Bucket) -> None:
    bucket.put("a", b"12345")

    (listed,) = bucket.list("")
    told = facts_of(bucket, "a")
    assert isinstance(listed, ObjectFacts)
    assert (listed.key, listed.size_bytes, listed.etag) == (told.key, told.size_bytes, told.etag) == ("a", 5, told.etag)
    assert abs(listed.modified_s - told.modified_s) < 1


@pytest.mark.parametrize("start", [0, 1, 8 * MIB - 1, 8 * MIB, 17 * MIB, 20 * MIB + 2, 20 * MIB + 3])
def test_streams_from_a_byte_on(bucket: Bucket, start: int) -> None:
    data = content(20 * MIB + 3)
    bucket.put("a", data)

    assert b"".join(bucket.stream(facts_of(bucket, "a"), start)) == data[start:]


def test_does_not_stream_another_object_than_was_listed(bucket: Bucket) -> None:
    bucket.put("a", b"before")
    facts = facts_of(bucket, "a")
    bucket.put("a", b"after.")  # as long

    with pytest.raises(ObjectChangedError, match=f"{bucket.url}/a"):
        list(bucket.stream(facts))


def test_never_streams_parts_of_two_objects(bucket: Bucket, scheme: str) -> None:
    if scheme not in SEVERAL_RESPONSES:
        pytest.skip("one response is of one object")
    old = bytes(20 * MIB)
    bucket.put("a", old)
    stream = bucket.stream(facts_of(bucket, "a"))
    parts = [next(stream)]
    bucket.put("a", b"\1" * len(old))

    try:
        parts += stream
    except ObjectChangedError:
        pass
    else:
        assert b"".join(parts) == old

    assert not any(part.strip(b"\0") for part in parts)


def test_creates_once(bucket: Bucket) -> None:
    assert bucket.create("a", b"first")
    assert not bucket.create("a", b"second")
    assert bucket.get("a") == b"first"


def test_one_of_many_creates(bucket: Bucket) -> None:
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: bucket.create("marker", b"%d" % number), range(16)))

    assert won.count(True) == 1
    assert bucket.get("marker") == b"%d" % won.index(True)


def test_creates_again_what_was_deleted(bucket: Bucket) -> None:
    bucket.create("a", b"first")
    bucket.delete(["a"])

    assert bucket.create("a", b"second")


def test_copies_content_and_hash(bucket: Bucket, tmp_path: Path) -> None:
    data = content(9 * MIB)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "clip").write_bytes(data)
    bucket.put("files/a b#.mp4", tmp_path / "clip", digest)
    bucket.put("clips/a.mp4", b"an older one")

    bucket.copy(facts_of(bucket, "files/a b#.mp4"), "clips/a.mp4")

    facts = facts_of(bucket, "clips/a.mp4")
    assert (facts.size_bytes, facts.sha256) == (len(data), digest)
    assert bucket.get("clips/a.mp4") == data
    assert bucket.get("files/a b#.mp4") == data


def test_copies_an_object_without_a_hash(bucket: Bucket) -> None:
    bucket.put("a", b"12345")

    bucket.copy(facts_of(bucket, "a"), "b")

    assert (bucket.get("b"), facts_of(bucket, "b").sha256) == (b"12345", "")


def test_does_not_copy_another_object_than_was_meant(bucket: Bucket) -> None:
    bucket.put("a", b"before")
    facts = facts_of(bucket, "a")
    bucket.put("a", b"after.")

    with pytest.raises(ObjectChangedError, match=f"{bucket.url}/a"):
        bucket.copy(facts, "b")
    assert bucket.head("b") is None


def test_deletes_what_is_there(bucket: Bucket) -> None:
    for key in ("a", "b", "c"):
        bucket.put(key, b"x")

    bucket.delete(["a", "missing", "c"])
    bucket.delete([])

    assert keys(bucket, "") == ["b"]


ODD = (
    *("with space", " leading", "trailing ", "a+b", "a&b=c", "what?", "a#b", "100%", "%2F", "%20", "line\nbreak"),
    *(
        "*[x]{y}",
        "~`'\"",
        "a\\b",
        "a:b@c,d;e$f!g^h|i<j>k",
        "ä/é",
        "e\u0301",
        "日本/動画.mp4",
        "😀.mp4",
        "\ufb00",
        "a.",
        "a/b.",
    ),
)
EMPTY_PARTS = ("a//b", "a///b", "/a", "a/", "//", "a/../b", "./a")


@pytest.mark.parametrize("key", [*ODD, *EMPTY_PARTS])
def test_names_stand_for_themselves(bucket: Bucket, scheme: str, key: str) -> None:
    if key in EMPTY_PARTS and scheme not in FREE_NAMES:
        pytest.skip("the server refuses such names")
    bucket.put(key, b"x")

    assert keys(bucket, "") == keys(bucket, key) == [key]
    facts = facts_of(bucket, key)
    assert (facts.key, bucket.get(key), b"".join(bucket.stream(facts))) == (key, b"x", b"x")
    assert not bucket.create(key, b"y")
    bucket.copy(facts, f"copy of {key}")
    bucket.delete([key])
    assert keys(bucket, "") == [f"copy of {key}"]


def test_lists_names_in_the_order_of_their_bytes(bucket: Bucket) -> None:
    put_many(bucket, ODD)

    assert keys(bucket, "") == sorted(ODD, key=str.encode)


def test_lists_what_is_below_a_prefix(bucket: Bucket) -> None:
    put_many(bucket, ["a.mp4", "a/b", "a/c/d", "ab/c", "b"])

    assert keys(bucket, "a/") == ["a/b", "a/c/d"]
    assert keys(bucket, "a") == ["a.mp4", "a/b", "a/c/d", "ab/c"]
    assert keys(bucket, "none/") == []


def test_lists_folders(bucket: Bucket) -> None:
    put_many(bucket, ["a.mp4", "a/1", "a/2/3", "a0", "b/1", "ä/1"])

    assert keys(bucket, "", folders=True) == ["a.mp4", "a/", "a0", "b/", "ä/"]
    assert keys(bucket, "a/", folders=True) == ["a/1", "a/2/"]
    kinds = [type(one) for one in bucket.list("a/", folders=True)]
    assert kinds == [ObjectFacts, str]


def test_lists_folders_beside_objects_of_their_name(bucket: Bucket, scheme: str) -> None:
    if scheme not in FREE_NAMES:
        pytest.skip("the server hides such names")
    put_many(bucket, ["a", "a/", "a/b", "a//c"])

    assert keys(bucket, "") == ["a", "a/", "a//c", "a/b"]
    assert keys(bucket, "", folders=True) == ["a", "a/"]
    assert keys(bucket, "a/", folders=True) == ["a/", "a//", "a/b"]


def test_lists_and_deletes_more_than_a_page(bucket: Bucket) -> None:
    names = ["a/0", "a/1", *(f"b/{number:04}" for number in range(MORE_THAN_A_PAGE))]
    put_many(bucket, names)

    assert keys(bucket, "") == names
    assert keys(bucket, "b/") == names[2:]
    assert keys(bucket, "", folders=True) == ["a/", "b/"]
    bucket.delete(keys(bucket, "b/"))
    assert keys(bucket, "") == names[:2]


def test_lists_more_folders_than_a_page(bucket: Bucket) -> None:
    folders = [f"{number:04}/" for number in range(MORE_THAN_A_PAGE)]
    put_many(bucket, [*(f"{folder}a" for folder in folders), *(f"{folder}b" for folder in folders[990:])])

    assert keys(bucket, "", folders=True) == folders


def test_works_in_another_process(bucket: Bucket) -> None:
    bucket.put("a", b"x")

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(bucket.get, "a").result() == b"x"


def test_a_copy_by_pickling_is_equal(bucket: Bucket) -> None:
    bucket.check()  # so that there is a connection

    again = pickle.loads(pickle.dumps(bucket))

    assert (again, again.url) == (bucket, bucket.url)


def test_says_which_key_is_missing(bucket: Bucket) -> None:
    gone = ObjectFacts("gone", 1, "00", 0.0)

    assert bucket.head("gone") is None
    for ask in (lambda: bucket.get("gone"), lambda: list(bucket.stream(gone)), lambda: bucket.copy(gone, "b")):
        with pytest.raises(FileNotFoundError, match=f"{bucket.url}/gone"):
            ask()


def test_a_bucket_that_answers_passes_the_check(bucket: Bucket) -> None:
    bucket.check()


def test_a_bucket_that_is_not_there_fails_the_check(open_bucket: Callable[[str], Bucket], scheme: str) -> None:
    with pytest.raises(BucketError, match=f"{scheme}://{MISSING}.*no such bucket"):
        open_bucket(MISSING).check()


def test_a_server_that_is_out_of_reach_fails_the_check_soon(bucket: Bucket, server: ObjectServer) -> None:
    server.stop()
    try:
        start_s = time.monotonic()
        with pytest.raises(BucketError, match=rf"{bucket.url}.*(no answer|is the store up)"):
            bucket.check()
        assert time.monotonic() - start_s < 40
    finally:
        server.start()


def test_waits_for_a_server_that_comes_back(bucket: Bucket, server: ObjectServer) -> None:
    bucket.put("a", b"x")
    server.stop()
    with ThreadPoolExecutor() as pool:
        try:
            asked = [pool.submit(bucket.get, "a"), pool.submit(keys, bucket, ""), pool.submit(bucket.create, "b", b"y")]
            time.sleep(1)
            assert not any(one.done() for one in asked)
        finally:
            server.start()
        content, listed, created = (one.result() for one in asked)
    assert (content, listed[0], created) == (b"x", "a", True)


def test_many_requests_at_once_wait_for_a_server_that_comes_back(bucket: Bucket, server: ObjectServer) -> None:
    bucket.put("a", b"x")
    server.stop()
    with ThreadPoolExecutor(48) as pool:
        try:
            asked = [pool.submit(bucket.get, "a") for _ in range(48)]
            time.sleep(3)
        finally:
            server.start()
        assert [one.result() for one in asked] == [b"x"] * 48


def test_nothing_is_left_of_uploads(bucket: Bucket) -> None:
    bucket.put("a", content(9 * MIB))

    assert bucket.abort_uploads("") == 0
    assert keys(bucket, "") == ["a"]


def put_many(bucket: Bucket, names: tuple[str, ...] | list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bucket.put(name, b"x"), names))
