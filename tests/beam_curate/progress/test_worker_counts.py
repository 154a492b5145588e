"""Counters of worker processes reach the driver while they work, and completely at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from beam_curate import counters
from beam_curate.progress import worker_counts
from beam_curate.store import layout, runs
from tests.support.output import Output
from tests.support.program import wait_for

RUN, EARLIER = layout.RUNS / "run", layout.RUNS / "earlier"
WORKER = """
import pathlib, sys
from beam_curate import counters
from beam_curate.progress import worker_counts
from beam_curate.store.local import LocalStore
worker_counts.write_to(LocalStore(pathlib.Path(sys.argv[1])), pathlib.PurePosixPath(sys.argv[2]))
counters.add("clips: done", 3)
counters.add("clips: frames to do", -2)
sys.stdin.readline()
counters.add("clips: done", 4)
worker_counts.flush()
"""


def worker(output: Output, run: PurePosixPath) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WORKER, str(output.root), str(run)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


def files(output: Output, run: PurePosixPath) -> list[Path]:
    return list((output.root / layout.worker_counts(run)).glob("*.json"))


@pytest.fixture
def own_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test makes of this process is undone."""
    writer = worker_counts._Writer()
    monkeypatch.setattr(worker_counts, "_writer", writer)
    monkeypatch.setattr(worker_counts, "write_to", writer.write_to)
    monkeypatch.setattr(worker_counts, "flush", writer.flush)
    counters.reset()
    yield
    counters.reset()


def test_the_driver_adds_up_what_the_workers_of_its_run_count(tmp_path: Path) -> None:
    output = Output(tmp_path)
    worker(output, EARLIER).communicate("\n")
    counters.reset()
    counters.add("videos to do", 5)
    with worker_counts.collected(output, RUN):
        workers = [worker(output, RUN) for _ in range(2)]
        deadline = time.monotonic() + 60
        while counters.counts().get("clips: done") != 6:
            assert time.monotonic() < deadline, counters.counts()
            time.sleep(0.05)
        for one in workers:
            one.communicate("\n")
    assert counters.counts() == {"videos to do": 5, "clips: done": 14, "clips: frames to do": -4}


@pytest.mark.usefixtures("own_writer")
def test_a_driver_whose_workers_are_elsewhere_leaves_no_counts_for_itself(tmp_path: Path) -> None:
    output = Output(tmp_path)
    with worker_counts.of_driver(output, RUN, works=False):
        worker_counts.write_to(output, RUN)  # as a worker would
        counters.add("clips: done")
        worker_counts.flush()
    assert files(output, RUN) == []


@pytest.mark.usefixtures("own_writer")
def test_a_driver_that_works_is_seen_until_its_run_ends(tmp_path: Path) -> None:
    output = Output(tmp_path)
    with worker_counts.of_driver(output, RUN, works=True):
        wait_for(lambda: files(output, RUN), within_s=10)
        counters.add("clips: done", 3)
        wait_for(lambda: json.loads(files(output, RUN)[0].read_bytes()) == {"clips: done": 3}, within_s=10)
    output.delete_folder(RUN)
    counters.add("clips: done", 1)
    time.sleep(1.5)
    assert files(output, RUN) == []


@pytest.mark.usefixtures("own_writer")
def test_a_worker_with_nothing_new_is_heard_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "HEARD_EVERY_S", 0.5)
    output = Output(tmp_path)
    worker_counts.write_to(output, RUN)
    wait_for(lambda: files(output, RUN), within_s=10)
    first = files(output, RUN)[0].stat().st_mtime_ns
    wait_for(lambda: files(output, RUN)[0].stat().st_mtime_ns > first, within_s=10)
