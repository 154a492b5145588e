"""What only a store of local files does: hard links, copies where there are none, and no temporary file that stays."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from beam_curate.elements import StoredFile
from tests.support.facts import store
from tests.support.output import Output


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "out")


def _refuse(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")  # as exFAT, SMB and FUSE mounts of buckets do


def test_where_links_are_refused_files_are_copied_and_created_all_the_same(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store(output, "x.mp4", "pictures")
    monkeypatch.setattr(os, "link", _refuse)
    output.publish(file, "clips/x.mp4")
    assert output.clip("x").read_bytes() == b"pictures"
    assert not output.clip("x").samefile(output.stored(file))
    assert output.write_if_absent("record", b"one") == b"one"
    assert output.write_if_absent("record", b"two") == b"one"
    assert output.read("record") == b"one"
    assert not list(output.tmp.iterdir())


def test_a_link_shares_the_file_and_leaves_no_temporary_name(output: Output) -> None:
    output.write("s", b"new")
    for _ in range(2):
        output.link(StoredFile("s", 3, hashlib.sha256(b"new").hexdigest()), "t/t")
        assert (output.root / "t" / "t").samefile(output.root / "s")
        assert not list(output.tmp.iterdir())


def test_publishing_again_does_nothing(output: Output) -> None:
    file = store(output, "c.mp4", "abc")
    output.publish(file, "clips/c.mp4")
    assert output.clip("c").samefile(output.stored(file))
    inode = output.clip("c").stat().st_ino
    output.delete(file.path)
    output.stored(file).write_bytes(b"abc")
    output.publish(file, "clips/c.mp4")
    assert output.clip("c").stat().st_ino == inode


def test_a_failed_write_leaves_nothing_behind(output: Output) -> None:
    (output.root / "folder").mkdir(parents=True)
    for write in (output.write, output.write_if_absent):
        with pytest.raises(OSError, match="directory"):
            write("folder", b"x")
    assert not list(output.tmp.iterdir())


def test_a_link_to_nowhere_is_replaced(output: Output) -> None:
    output.root.mkdir()
    (output.root / "x").symlink_to("gone")
    assert output.exists("x")
    assert output.write_if_absent("x", b"one") == output.read("x") == b"one"


def test_a_circle_of_links_ends_a_listing(output: Output) -> None:
    output.write("f/a", b"")
    (output.root / "f" / "circle").symlink_to(output.root / "f")
    assert [str(key) for key in output.list_files("f", recursive=True)] == ["f/a"]
