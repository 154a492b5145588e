"""Files appear whole or not at all, and of several writers one wins."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from beam_curate.elements import StoredFile
from beam_curate.store import files
from beam_curate.store.layout import Layout
from tests.support.facts import store


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "out"))


def test_writing_makes_folders_and_replaces(tmp_path: Path) -> None:
    path, tmp = tmp_path / "a" / "b" / "c.txt", tmp_path / "tmp"
    files.write_bytes(path, b"one", tmp)
    files.write_bytes(path, b"two", tmp)
    assert path.read_bytes() == b"two"
    assert not list(tmp.iterdir())


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, tmp = tmp_path / "f", tmp_path / "tmp"
    contents = {bytes([letter]) * 500_000 for letter in b"ab"}
    files.write_bytes(path, min(contents), tmp)
    stop = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        for content in contents:
            pool.submit(lambda content=content: [files.write_bytes(path, content, tmp) for _ in range(100)])
        seen = {path.read_bytes() for _ in range(300)}
        stop.set()
    assert seen <= contents


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_bytes(tmp_path / "folder", b"x", tmp_path / "tmp")
    assert not list((tmp_path / "tmp").iterdir())


def test_json_is_one_form_of_a_value(tmp_path: Path) -> None:
    assert files.json_bytes({"b": 1, "a": "ü\n"}) == b'{\n    "a": "\xc3\xbc\\n",\n    "b": 1\n}\n'
    assert files.json_bytes({"a": 1, "b": 2}) == files.json_bytes({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"\xff\xfe\xfa", b"nonsense"], ids=["missing", "empty", "half", "bytes", "words"]
)
def test_json_that_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    assert files.read_json(path) is None
    assert files.read_json(path / "below" / "a file.json") is None


def test_one_of_many_threads_creates(tmp_path: Path) -> None:
    path, tmp = tmp_path / "f", tmp_path / "tmp"
    barrier = threading.Barrier(16)

    def create(number: int) -> bool:
        barrier.wait()
        return files.create(path, str(number).encode(), tmp)

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(create, range(16)))
    assert made.count(True) == 1
    assert path.read_bytes() == str(made.index(True)).encode()
    assert not list(tmp.iterdir())


def _create(folder: str, number: int) -> bool:
    return files.create(Path(folder) / "f", str(number).encode(), Path(folder) / "tmp")


def test_one_of_many_processes_creates(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = pool.starmap(_create, [(str(tmp_path), number) for number in range(9)])
    assert made.count(True) == 1
    assert (tmp_path / "f").read_bytes() == str(made.index(True)).encode()


def _refuse(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")  # as exFAT, SMB and FUSE mounts of buckets do


def test_where_links_are_refused_files_are_copied_and_created_all_the_same(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store(layout, "x.mp4", "pictures")
    monkeypatch.setattr(os, "link", _refuse)
    target = layout.clip("x")
    files.publish(layout, file, target)
    assert target.read_bytes() == b"pictures"
    assert not target.samefile(layout.stored(file))
    record = layout.root / "record"
    assert files.create(record, b"one", layout.tmp)
    assert not files.create(record, b"two", layout.tmp)
    assert record.read_bytes() == b"one"
    assert not list(layout.tmp.iterdir())


def test_a_link_replaces_what_was_there(layout: Layout) -> None:
    source, target = layout.root / "s", layout.root / "t" / "t"
    files.write_bytes(source, b"new", layout.tmp)
    files.write_bytes(target, b"old", layout.tmp)
    for _ in range(2):
        files.link(source, target, layout.tmp)
        assert target.read_bytes() == b"new"
        assert target.samefile(source)
        assert not list(layout.tmp.iterdir())


def test_linking_what_is_gone_leaves_the_target(layout: Layout) -> None:
    target = layout.root / "t"
    files.write_bytes(target, b"old", layout.tmp)
    with pytest.raises(FileNotFoundError):
        files.link(layout.root / "gone", target, layout.tmp)
    assert target.read_bytes() == b"old"


def test_scratch_is_gone_afterwards_also_after_an_error(layout: Layout) -> None:
    with pytest.raises(ZeroDivisionError), files.scratch(layout) as folder:
        (folder / "half.mp4").write_bytes(b"x")
        raise ZeroDivisionError
    assert not list(layout.tmp.iterdir())


def test_a_kept_file_is_named_by_its_content(layout: Layout) -> None:
    one, same, other = (store(layout, "c.mp4", content) for content in ("a", "a", "b"))
    assert one == same
    assert one.path != other.path
    assert one.path.endswith(f"c.{one.sha256[:16]}.mp4")
    assert (layout.root / one.path).read_bytes() == b"a"
    assert layout.stored(other).read_bytes() == b"b"
    assert one.size_bytes == 1


def test_what_counts_as_there(layout: Layout) -> None:
    file = store(layout, "c.mp4", "abc")
    assert files.is_there(layout, file)
    assert not files.is_there(layout, StoredFile(file.path, 4, file.sha256))
    layout.stored(file).unlink()
    assert not files.is_there(layout, file)


def test_what_counts_as_the_same_file(layout: Layout) -> None:
    file = store(layout, "c.mp4", "abc")
    path = layout.root / "copy"
    assert not files.same_file(layout, file, path)
    for content, same in ((b"abc", True), (b"abd", False), (b"abcd", False)):
        path.write_bytes(content)
        assert files.same_file(layout, file, path) is same
    files.publish(layout, file, path)
    assert path.samefile(layout.stored(file))


def test_publishing_again_does_nothing(layout: Layout) -> None:
    file, target = store(layout, "c.mp4", "abc"), layout.clip("c")
    files.publish(layout, file, target)
    inode = target.stat().st_ino
    layout.stored(file).unlink()
    target_copy = layout.stored(file)
    target_copy.write_bytes(b"abc")
    files.publish(layout, file, target)
    assert target.stat().st_ino == inode
