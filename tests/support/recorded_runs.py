"""Runs as an output holds them, of any age."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from beam_curate.elements import Video
from beam_curate.processes import holder
from beam_curate.progress.stages import VIDEOS_TO_DO
from beam_curate.store import layout, runs
from beam_curate.store.base import Store
from beam_curate.store.runs import Job, Run

JOB = Job("PortableRunner", "curate")
GONE = holder.this_process() | {"started": "1"}  # a process of this computer that has ended
ELSEWHERE = {"computer": "another", "pid": 1, "started": "1"}
VIDEOS = [Video(f"/in/{name}.mp4", f"{name}.mp4", 900, "17") for name in "abc"]


def recorded(output: Store, name: str = "20261130T030000Z-one", **facts: Any) -> Run:
    """Records a run on three videos, all of them to do unless `facts` say otherwise; its driver is gone."""
    given = {"driver": GONE, "to_do": {VIDEOS_TO_DO: len(VIDEOS)}, "num_listed": len(VIDEOS)} | facts
    run = Run(name, 0.0, "PortableRunner", ("shots", "clips"), "A", None, 0.0, {"limit": 0}, **given)
    runs.begin(output, run, VIDEOS, VIDEOS)
    return run


def heard(output: Store, run: Run) -> None:
    """Leaves what a worker leaves."""
    output.write_json(layout.worker_counts(run.folder) / "worker.json", {"shots: begun": 2, "shots: done": 1})


def age(root: Path, seconds: float) -> None:
    """Makes all that is known of runs in an output folder older."""
    for path in (root / layout.RUNS).rglob("*"):
        if path.is_file():
            facts = path.stat()
            os.utime(path, (facts.st_atime - seconds, facts.st_mtime - seconds))
