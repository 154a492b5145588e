"""Two runs on one output: both may work, and neither loses a file to the other."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_curate.store.layout import Layout
from beam_curate.store.run_lock import Alone, sole_run


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "out"))


def leave(layout: Layout) -> Path:
    path = layout.tmp / "1-left" / "half.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_run_that_is_alone_clears_what_killed_runs_left(layout: Layout) -> None:
    left = leave(layout)
    with sole_run(layout) as alone:
        assert alone is Alone.YES
        assert not left.exists()
        own = leave(layout)
    assert own.exists()


def test_a_second_run_is_told_and_clears_nothing(layout: Layout) -> None:
    with sole_run(layout) as first:
        own = leave(layout)
        with sole_run(layout) as second:
            assert (first, second) == (Alone.YES, Alone.NO)
            assert own.exists()
    with sole_run(layout) as third:
        assert third is Alone.YES


def test_the_files_of_a_second_run_are_safe_after_the_first_has_ended(layout: Layout) -> None:
    first, second = sole_run(layout), sole_run(layout)
    first.__enter__()
    second.__enter__()
    own = leave(layout)
    first.__exit__(None, None, None)
    with sole_run(layout) as third:
        assert third is Alone.NO
        assert own.exists()
    second.__exit__(None, None, None)
    with sole_run(layout) as fourth:
        assert fourth is Alone.YES


def test_the_lock_of_a_killed_run_is_gone(layout: Layout) -> None:
    script = (
        "import sys, time; from beam_curate.store.layout import Layout\n"
        "from beam_curate.store.run_lock import sole_run\n"
        "with sole_run(Layout(sys.argv[1])) as alone: print(alone.name, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, layout.output], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "YES\n"
        with sole_run(layout) as alone:
            assert alone is Alone.NO
        other.kill()
        other.wait()
    with sole_run(layout) as alone:
        assert alone is Alone.YES


def test_an_error_in_a_run_frees_the_output(layout: Layout) -> None:
    with pytest.raises(ZeroDivisionError), sole_run(layout):
        raise ZeroDivisionError
    with sole_run(layout) as alone:
        assert alone is Alone.YES


def without_locks(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EPERM])
def test_a_file_system_without_locks_costs_the_warning_and_clears_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    without_locks(monkeypatch, code)
    left = leave(layout)
    with sole_run(layout) as alone:
        assert alone is Alone.UNKNOWN
        assert left.exists()


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_run_holds(layout: Layout, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    without_locks(monkeypatch, code)
    with sole_run(layout) as alone:
        assert alone is Alone.NO


def test_a_lock_that_cannot_be_opened_is_none(layout: Layout) -> None:
    (layout.work / "lock").mkdir(parents=True)
    with sole_run(layout) as alone:
        assert alone is Alone.UNKNOWN


def test_the_file_of_the_lock_is_never_emptied(layout: Layout, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    layout.work.mkdir(parents=True)
    (layout.work / "lock").symlink_to(precious)
    with sole_run(layout):
        assert precious.read_text() == "mine"


@pytest.mark.parametrize("linked", ["work", "tmp"])
def test_nothing_is_cleared_through_a_link(layout: Layout, tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    precious = elsewhere / ("tmp/a" if linked == "work" else "a")
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    link = layout.work if linked == "work" else layout.tmp
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with sole_run(layout) as alone:
        assert alone is Alone.YES
    assert precious.read_text() == "mine"
