"""What workers in other processes count reaches the driver while they work, and all of it in the end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from beam_curate import counters
from beam_curate.progress import worker_counts
from beam_curate.store.layout import Layout

WORKER = """
import sys, time
from beam_curate import progress
from beam_curate.store.layout import Layout
from beam_curate.storage import tally
tally.keep(Layout(sys.argv[1]))
progress.add("clips: done", 3)
progress.add("clips: frames to do", -2)
sys.stdin.readline()
progress.add("clips: done", 4)
tally.flush()
"""


def worker(layout: Layout) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, layout.output], stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )


def test_the_driver_adds_up_what_workers_count(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    worker(layout).communicate("\n")  # of an earlier run: not to be counted
    counters.reset()
    counters.add("videos to do", 5)
    with worker_counts.gathered(layout):
        workers = [worker(layout) for _ in range(2)]
        deadline = time.monotonic() + 60
        while counters.counts().get("clips: done") != 6:
            assert time.monotonic() < deadline, counters.counts()
            time.sleep(0.05)
        for one in workers:
            one.communicate("\n")
    assert counters.counts() == {"videos to do": 5, "clips: done": 14, "clips: frames to do": -4}


def test_the_driver_leaves_no_counts_for_itself(tmp_path: Path) -> None:
    body = WORKER.replace("tally.keep", "tally.stay_out(); tally.keep")
    subprocess.run([sys.executable, "-c", body, str(tmp_path)], input="\n", text=True, check=True, cwd=Path.cwd())
    assert not list(tmp_path.rglob("*.json"))
