"""Two runs on one output: both may work, and neither loses a file to the other."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_curate.store.base import LockState
from tests.support.output import Output


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "out")


def leave(output: Output) -> Path:
    path = output.tmp / "1-left" / "half.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_run_that_is_alone_clears_what_killed_runs_left(output: Output) -> None:
    left = leave(output)
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE
        assert not left.exists()
        own = leave(output)
    assert own.exists()


def test_a_second_run_is_told_and_clears_nothing(output: Output) -> None:
    with output.run_lock() as first:
        own = leave(output)
        with output.run_lock() as second:
            assert (first, second) == (LockState.EXCLUSIVE, LockState.SHARED)
            assert own.exists()
    with output.run_lock() as third:
        assert third is LockState.EXCLUSIVE


def test_the_files_of_a_second_run_are_safe_after_the_first_has_ended(output: Output) -> None:
    first, second = output.run_lock(), output.run_lock()
    first.__enter__()
    second.__enter__()
    own = leave(output)
    first.__exit__(None, None, None)
    with output.run_lock() as third:
        assert third is LockState.SHARED
        assert own.exists()
    second.__exit__(None, None, None)
    with output.run_lock() as fourth:
        assert fourth is LockState.EXCLUSIVE


def test_the_lock_of_a_killed_run_is_gone(output: Output) -> None:
    script = (
        "import pathlib, sys, time; from beam_curate.store.local import LocalStore\n"
        "with LocalStore(pathlib.Path(sys.argv[1])).run_lock() as state: print(state.name, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, output.root], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "EXCLUSIVE\n"
        with output.run_lock() as state:
            assert state is LockState.SHARED
        other.kill()
        other.wait()
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE


def test_an_error_in_a_run_frees_the_output(output: Output) -> None:
    with pytest.raises(ZeroDivisionError), output.run_lock():
        raise ZeroDivisionError
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE


def without_locks(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EPERM])
def test_a_file_system_without_locks_costs_the_warning_and_clears_nothing(
    output: Output, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    without_locks(monkeypatch, code)
    left = leave(output)
    with output.run_lock() as state:
        assert state is LockState.UNAVAILABLE
        assert left.exists()


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_run_holds(output: Output, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    without_locks(monkeypatch, code)
    with output.run_lock() as state:
        assert state is LockState.SHARED


def test_a_lock_that_cannot_be_opened_is_none(output: Output) -> None:
    (output.work / "lock").mkdir(parents=True)
    with output.run_lock() as state:
        assert state is LockState.UNAVAILABLE


def test_the_file_of_the_lock_is_never_emptied(output: Output, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    output.work.mkdir(parents=True)
    (output.work / "lock").symlink_to(precious)
    with output.run_lock():
        assert precious.read_text() == "mine"


@pytest.mark.parametrize("linked", ["work", "tmp"])
def test_nothing_is_cleared_through_a_link(output: Output, tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    precious = elsewhere / ("tmp/a" if linked == "work" else "a")
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    link = output.work if linked == "work" else output.tmp
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE
    assert precious.read_text() == "mine"
