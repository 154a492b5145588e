"""Counters of worker processes reach the driver while they work, and completely at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from beam_curate import counters
from beam_curate.progress import worker_counts
from tests.support.output import Output

WORKER = """
import pathlib, sys
from beam_curate import counters
from beam_curate.progress import worker_counts
from beam_curate.store.local import LocalStore
worker_counts.write_to(LocalStore(pathlib.Path(sys.argv[1])))
counters.add("clips: done", 3)
counters.add("clips: frames to do", -2)
sys.stdin.readline()
counters.add("clips: done", 4)
worker_counts.flush()
"""


def worker(layout: Output) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, layout.root], stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )


def test_the_driver_adds_up_what_workers_count(tmp_path: Path) -> None:
    layout = Output(tmp_path)
    worker(layout).communicate("\n")  # of an earlier run: not to be counted
    counters.reset()
    counters.add("videos to do", 5)
    with worker_counts.collected(layout):
        workers = [worker(layout) for _ in range(2)]
        deadline = time.monotonic() + 60
        while counters.counts().get("clips: done") != 6:
            assert time.monotonic() < deadline, counters.counts()
            time.sleep(0.05)
        for one in workers:
            one.communicate("\n")
    assert counters.counts() == {"videos to do": 5, "clips: done": 14, "clips: frames to do": -4}


def test_the_driver_leaves_no_counts_for_itself(tmp_path: Path) -> None:
    body = WORKER.replace("worker_counts.write_to", "worker_counts.disable(); worker_counts.write_to")
    subprocess.run([sys.executable, "-c", body, str(tmp_path)], input="\n", text=True, check=True, cwd=Path.cwd())
    assert not list(tmp_path.rglob("*.json"))
