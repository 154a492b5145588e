"""What every `Store` must do. A new implementation is one more of `KINDS`."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.elements import StoredFile
from beam_curate.store import layout
from beam_curate.store.base import Freed, LockState, Store
from beam_curate.store.objects import ObjectStore
from beam_curate.store.open import open_store
from tests.support.stores import KINDS, PROFILE, new_place


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An output that does not exist yet."""
    place = new_place(request.param, tmp_path, request)
    return open_store(place, PROFILE, FileCache(str(tmp_path / "cache"), 1 << 30))


ODD_NAMES = [
    "plain.json",
    "a b  c.json",
    "Ein Hündchen.json",
    "e\u0301 (decomposed).json",
    "#1 of 2?&=%20.json",
    "*[x]{y}.json",
    "back\\slash.json",
    "line\nbreak",
    "quote'\".json",
    "-dash",
    ".hidden",
    "日本語",
    "x" * layout.NAME_MAX_BYTES,
    "deep/er/and deeper/x.json",
]

# Single values.


@pytest.mark.parametrize("name", ODD_NAMES)
def test_what_is_written_comes_back_under_any_name(store: Store, name: str) -> None:
    key = PurePosixPath("folder") / name
    store.write(key, b"\0content\n")
    assert store.exists(key)
    assert store.read(key) == store.read(str(key)) == b"\0content\n"
    assert store.list_files("folder", recursive=True) == [key]
    store.delete(key)
    assert not store.exists(key)
    assert store.list_files("folder", recursive=True) == []


def test_a_write_replaces(store: Store) -> None:
    for data in (b"one", b"", b"two"):
        store.write("a/b", data)
        assert store.read("a/b") == data


@pytest.mark.parametrize("key", ["missing", "in/a/missing/folder"])
def test_what_is_not_there(store: Store, key: str) -> None:
    for _ in range(2):
        assert not store.exists(key)
        with pytest.raises(FileNotFoundError):
            store.read(key)
        store.delete(key)
        assert store.list_files(key) == store.list_files(key, recursive=True) == store.list_folders(key) == []
        store.delete_folder(key)
        assert store.delete_empty_folder(key)
        store.write("else", b"x")


@pytest.mark.parametrize("key", ["/etc/passwd", "../outside", "a/../../outside"])
def test_no_key_leads_out_of_the_output(store: Store, tmp_path: Path, key: str) -> None:
    (tmp_path / "outside").write_text("mine")
    for call in (store.read, store.delete, store.exists, lambda key: store.write(key, b""), store.list_files):
        with pytest.raises(ValueError, match="leads out"):
            call(key)
    assert (tmp_path / "outside").read_text() == "mine"


def test_a_reader_sees_the_old_content_or_the_new(store: Store) -> None:
    contents = {bytes([letter]) * 500_000 for letter in b"ab"}
    store.write("x", min(contents))
    with ThreadPoolExecutor(2) as pool:
        for content in contents:
            pool.submit(lambda content=content: [store.write("x", content) for _ in range(100)])
        assert {store.read("x") for _ in range(300)} <= contents


def test_json_is_written_in_its_one_form(store: Store) -> None:
    store.write_json("x.json", {"b": 1, "a": "ü"})
    assert store.read("x.json") == '{\n    "a": "ü",\n    "b": 1\n}\n'.encode()


# Races.


def test_one_of_many_threads_creates_and_all_get_its_content(store: Store) -> None:
    barrier = threading.Barrier(8)

    def create(number: int) -> bytes:
        barrier.wait()
        return store.write_if_absent("a/x", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        agreed = set(pool.map(create, range(8)))
    assert agreed == {store.read("a/x")}
    assert store.write_if_absent("a/x", b"later") == store.read("a/x") != b"later"


def _create(store: Store, number: int) -> bytes:
    return store.write_if_absent("a/x", b"%d" % number * 1000)


def test_one_of_many_processes_creates_and_all_get_its_content(store: Store) -> None:
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        agreed = set(pool.starmap(_create, [(store, number) for number in range(8)], chunksize=1))
    assert agreed == {store.read("a/x")}


def test_creating_while_others_delete_gives_one_of_the_contents(store: Store) -> None:
    contents = [b"%d" % number for number in range(4)]

    def churn(content: bytes) -> list[bytes]:
        seen = []
        for _ in range(100):
            seen.append(store.write_if_absent("x", content))
            store.delete("x")
        return seen

    with ThreadPoolExecutor(4) as pool:
        assert {one for seen in pool.map(churn, contents) for one in seen} <= set(contents)


# Folders.


def test_listing(store: Store) -> None:
    for key in ("f/b", "f/a", "f/sub/c", "f/sub/deeper/d", "f-other/e", "f.json"):
        store.write(key, b"")
    assert set(store.list_files("f")) == {PurePosixPath("f/a"), PurePosixPath("f/b")}
    assert store.list_folders("f") == [PurePosixPath("f/sub")]
    everything = store.list_files("f", recursive=True)
    assert {str(key) for key in everything} == {"f/a", "f/b", "f/sub/c", "f/sub/deeper/d"}
    assert len(everything) == 4
    assert everything == store.list_files(PurePosixPath("f"), recursive=True)
    assert store.list_files("f/a") == []


def test_tags_change_with_the_content(store: Store) -> None:
    tags = {key: store.write(key, b"one") for key in ("f/a", "f/sub/b", "f/sub/deeper/c", "f-other/d")}
    del tags["f-other/d"]
    for _ in range(2):
        assert dict(store.list_tags("f")) == dict(store.list_tags(PurePosixPath("f"))) == tags
    assert store.write("f/a", b"another") != tags["f/a"]
    assert {key for key, tag in store.list_tags("f") if tags[key] != tag} == {"f/a"}
    store.delete("f/sub/b")
    assert [key for key, _ in store.list_tags("f/sub")] == ["f/sub/deeper/c"]
    assert list(store.list_tags("nowhere")) == []


def test_deleting_folders(store: Store) -> None:
    for key in ("f/a", "f/sub/b", "g/c"):
        store.write(key, b"")
    assert not store.delete_empty_folder("f")
    assert store.exists("f/a")
    store.delete_folder("f")
    assert not store.exists("f/sub/b")
    store.write("f/a", b"")
    store.delete_folder("f", ["f/a"])
    assert not store.exists("f/a")
    assert store.exists("g/c")
    store.delete("g/c")
    assert store.delete_empty_folder("g")
    assert store.list_folders("") in ([], [layout.WORK])


def test_reclaiming_a_folder_says_what_it_freed(store: Store) -> None:
    contents = {"f/a": b"123", "f/sub/b": b"4567", "f-other/c": b"8"}
    for key, content in contents.items():
        store.write(key, content)
    freed = store.reclaim("f")
    assert (freed.files, freed.size_bytes) == (2, 7)
    assert not store.list_files("f", recursive=True)
    assert store.read("f-other/c") == b"8"
    assert store.reclaim("f") == store.reclaim("nowhere") == Freed(0, 0)


def test_a_new_output_has_neither_links_nor_leftovers(store: Store) -> None:
    assert store.links("") == []
    store.write("f/a", b"")
    assert store.links("") == store.links("f") == store.links("nowhere") == []
    assert store.remove_leftovers() == 0


# Files.


def test_scratch_is_gone_afterwards_also_after_an_error(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.scratch() as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "half.mp4").write_bytes(b"x")
        with store.scratch() as other:
            assert other != folder
        raise ZeroDivisionError
    assert not folder.exists()
    assert not other.exists()
    assert store.list_files("", recursive=True) == []


def test_times_of_keys_are_those_of_writing(store: Store) -> None:
    begun_s = time.time()
    store.write("folder/b", b"x")
    store.write("folder/deep/a", b"y")
    first = dict(store.list_modified("folder"))
    assert set(first) == {"folder/b", "folder/deep/a"}
    assert all(begun_s - 2 < modified_s < time.time() + 2 for modified_s in first.values())
    time.sleep(1.1)  # object stores tell whole seconds
    store.write("folder/b", b"x")
    again = dict(store.list_modified("folder"))
    assert again["folder/b"] > first["folder/b"]
    assert again["folder/deep/a"] == first["folder/deep/a"]
    assert list(store.list_modified("elsewhere")) == []


def test_a_folder_that_is_shared_is_in_the_output(store: Store) -> None:
    folder = store.shared_folder("folder/deep")
    assert store.shared_folder("folder/deep") == folder
    if folder is not None:
        (folder / "a").write_bytes(b"x")
        assert store.read("folder/deep/a") == b"x"
        store.delete_folder("folder")
        assert not folder.exists()


def test_a_finished_file_moves_in_and_replaces(store: Store) -> None:
    for content in (b"one", b"two"):
        with store.scratch() as folder:
            (folder / "x").write_bytes(content)
            store.put_file(folder / "x", "a/x.mp4")
            assert not (folder / "x").exists()
        assert store.read("a/x.mp4") == content


def test_a_link_replaces_what_was_there(store: Store) -> None:
    file = keep(store, b"new")
    store.write("t/t", b"old")
    for _ in range(2):
        store.link(file, "t/t")
        assert store.read(file.path) == store.read("t/t") == b"new"
    store.write(file.path, b"newer")  # a write never changes what a link shares
    assert store.read("t/t") == b"new"
    store.delete(file.path)
    assert store.read("t/t") == b"new"


def test_linking_what_is_not_there_leaves_the_target(store: Store) -> None:
    store.write("t", b"old")
    with pytest.raises(FileNotFoundError):
        store.link(StoredFile("gone", 3, "0" * 64), "t")
    assert store.read("t") == b"old"


# Stored files.


def keep(store: Store, content: bytes) -> StoredFile:
    with store.scratch() as folder:
        (folder / "made.mp4").write_bytes(content)
        return store.keep(folder / "made.mp4", layout.stage_files("clips", "f"), "c")


def test_a_kept_file_is_named_by_its_content(store: Store) -> None:
    one, same, other = keep(store, b"a"), keep(store, b"a"), keep(store, b"b")
    assert one == same
    digest = hashlib.sha256(b"a").hexdigest()
    assert one == StoredFile(f".work/files/clips/f/c.{digest[:16]}.mp4", 1, digest)
    assert store.read(one.path) == b"a"
    assert store.read(other.path) == b"b"


def test_a_file_that_will_be_published_comes_to_its_public_name(store: Store) -> None:
    with store.scratch() as folder:
        (folder / "made.mp4").write_bytes(b"abc")
        file = store.keep(folder / "made.mp4", layout.stage_files("clips", "f"), "c", layout.clip("c"))
    assert store.has(file, content=True)
    for _ in range(2):
        store.publish(file, layout.clip("c"))
        assert store.read(layout.clip("c")) == b"abc"
        assert store.has(file, content=True)


def test_a_stored_file_can_be_read_as_a_file_by_several_at_once(store: Store) -> None:
    file, other = keep(store, b"abc"), keep(store, b"other")
    with store.reading(file) as path, store.reading(file) as again, store.reading(other) as third:
        assert (path.read_bytes(), again.read_bytes(), third.read_bytes()) == (b"abc", b"abc", b"other")
        assert path.suffix == ".mp4"
    with pytest.raises(ZeroDivisionError), store.reading(file):
        raise ZeroDivisionError
    with store.reading(file) as path:
        assert path.read_bytes() == b"abc"


def test_a_stored_file_that_is_gone_is_not_found(store: Store, tmp_path: Path) -> None:
    file = keep(store, b"abc")
    store.delete(file.path)
    if isinstance(store, ObjectStore):  # on another computer: this one has it in its cache
        store = dataclasses.replace(store, cache=FileCache(str(tmp_path / "other"), 1 << 30))
    with pytest.raises(FileNotFoundError), store.reading(file) as path:
        path.read_bytes()


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "a/../../outside"])
def test_no_stored_file_leads_out_of_the_output(store: Store, path: str) -> None:
    with pytest.raises(ValueError, match="leads out"), store.reading(StoredFile(path, 1, "0" * 64)):
        pass


def test_which_stored_files_count_as_there(store: Store) -> None:
    file = keep(store, b"abc")
    assert store.has(file)
    assert store.has(file, content=True)
    assert not store.has(dataclasses.replace(file, size_bytes=4))
    assert not store.has(dataclasses.replace(file, sha256="0" * 64), content=True)
    store.write(file.path, b"abd")
    assert not store.has(file, content=True)
    store.write("clips/c.mp4", b"abc")
    for path in ("clips/c.mp4", "../out/clips/c.mp4", "/etc/passwd", "", ".work/files", "a\0b", "x" * 5000):
        assert not store.has(dataclasses.replace(file, path=path))
    store.delete(file.path)
    assert not store.has(file)
    assert not store.has(keep(store, b""))


def test_what_has_the_content_of_a_stored_file(store: Store) -> None:
    file = keep(store, b"abc")
    assert not store.has_content_of(file, "copy")
    for content, same in ((b"abc", True), (b"abd", False), (b"abcd", False)):
        store.write("copy", content)
        assert store.has_content_of(file, "copy") is same
    store.publish(file, "copy")
    assert store.read("copy") == b"abc"
    assert store.has_content_of(file, "copy")


def test_what_is_not_there_is_durable(store: Store) -> None:
    store.make_durable([])
    store.write("a/b/c", b"x")
    store.make_durable(["a/b/c", PurePosixPath("a/b/gone"), "gone/too"])
    assert store.read("a/b/c") == b"x"


# The output as a whole.


def test_a_store_is_the_same_after_a_journey(store: Store) -> None:
    store.write("x", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.read("x") == b"1"
    assert again.location("x") == store.location("x")


def test_locations_are_absolute(store: Store) -> None:
    assert store.location("a/b") == f"{store.location()}/a/b"
    assert store.location().startswith("/") or "://" in store.location()


def test_checking_leaves_nothing_behind(store: Store) -> None:
    store.check_writable()
    store.check_writable()
    assert store.list_files("", recursive=True) == []
    free = store.free_bytes()
    assert free is None or free > 0


def test_runs_know_of_each_other(store: Store) -> None:
    with store.run_lock() as first, store.run_lock() as second:
        assert (first, second) in (
            (LockState.EXCLUSIVE, LockState.SHARED),
            (LockState.UNAVAILABLE, LockState.UNAVAILABLE),
        )
        assert store.is_locked() is (None if first is LockState.UNAVAILABLE else True)
    with store.run_lock() as third:
        assert third is first
    assert not store.is_locked()
