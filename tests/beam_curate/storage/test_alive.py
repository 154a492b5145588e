"""Two runs on one output: both may work, and neither loses a file to the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from beam_curate.layout import Layout
from beam_curate.storage.alive import sole_run


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
        assert alone
        assert not left.exists()
        own = leave(layout)
    assert own.exists()


def test_a_second_run_is_told_and_clears_nothing(layout: Layout) -> None:
    with sole_run(layout) as first:
        own = leave(layout)
        with sole_run(layout) as second:
            assert (first, second) == (True, False)
            assert own.exists()
    with sole_run(layout) as third:
        assert third


def test_the_files_of_a_second_run_are_safe_after_the_first_has_ended(layout: Layout) -> None:
    first, second = sole_run(layout), sole_run(layout)
    first.__enter__()
    second.__enter__()
    own = leave(layout)
    first.__exit__(None, None, None)
    with sole_run(layout) as third:
        assert not third
        assert own.exists()
    second.__exit__(None, None, None)
    with sole_run(layout) as fourth:
        assert fourth


def test_the_lock_of_a_killed_run_is_gone(layout: Layout) -> None:
    script = (
        "import sys, time; from beam_curate.layout import Layout; from beam_curate.storage.alive import sole_run\n"
        "with sole_run(Layout(sys.argv[1])) as alone: print(alone, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, layout.output], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with sole_run(layout) as alone:
            assert not alone
        other.kill()
        other.wait()
    with sole_run(layout) as alone:
        assert alone


def test_an_error_in_a_run_frees_the_output(layout: Layout) -> None:
    with pytest.raises(ZeroDivisionError), sole_run(layout):
        raise ZeroDivisionError
    with sole_run(layout) as alone:
        assert alone
