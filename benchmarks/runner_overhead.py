"""What a runner costs: the whole job on each one, against a plain loop over the same functions with as many workers.

The local runner is started as its user does it, Prism with its server, Flink on a cluster with two
slots and a worker pool that are there already: the job server and the workers are started by the job. All sides use two
cores. What is not installed (`make engines`) is left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pipeline
from common import in_turn, report
from footage import make_footage

from tests.support.flink_cluster import SLOTS, flink_cluster
from tests.support.program import run
from tools import engines

TINY = "--tiny" in sys.argv[1:]
SECONDS = (10, 5) if TINY else (60, 45, 30, 20, 14, 10, 7, 5)  # the longest first: the best order for the loop
ROUNDS = 1 if TINY else 3
TARGETS = {"direct": "<=1.05", "prism": "<=1.15", "flink": "none"}


@contextlib.contextmanager
def runners(folder: Path) -> Iterator[dict[str, tuple[str, ...]]]:
    """Gives the flags of each runner that is there."""
    flags: dict[str, tuple[str, ...]] = {"direct": (f"--threads={SLOTS}",)}
    if engines.PRISM.exists():
        flags["prism"] = ("--runner=PrismRunner", f"--prism_location={engines.PRISM}", f"--threads={SLOTS}")
    parts = (engines.FLINK_LIB, engines.JOB_SERVER_JAR, engines.BOOT)
    if shutil.which("java") is None or not all(part.exists() for part in parts):
        yield flags
        return
    with flink_cluster(folder) as cluster:
        yield flags | {"flink": cluster.flags}


def side(source: Path, output: Path, flags: tuple[str, ...]) -> Callable[[], None]:
    """Returns what runs the job from the beginning."""

    def work() -> None:
        shutil.rmtree(output, ignore_errors=True)
        run(source, output, *pipeline.FLAGS, *flags)

    return work


def main() -> None:
    """Compares what all sides make, times them in turn, and prints a line for each runner."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:SLOTS])  # also of all that is started here
    with tempfile.TemporaryDirectory() as name:
        source, output, servers = (Path(name) / part for part in ("in", "out", "flink"))
        source.mkdir(), servers.mkdir()
        for number, seconds in enumerate(SECONDS):
            make_footage(source / f"{number}.mp4", size=(640, 360), seconds=seconds)

        def loop() -> None:
            shutil.rmtree(output, ignore_errors=True)
            subprocess.run([sys.executable, pipeline.__file__, source, output], check=True)

        with runners(servers) as flags:
            loop()
            expected = pipeline.made(output)
            sides = {name: side(source, output, of_runner) for name, of_runner in flags.items()}
            for name, work in sides.items():
                work()
                assert pipeline.made(output) == expected and expected, f"{name} made different files"
            of_loop, *times = in_turn(loop, *sides.values(), rounds=ROUNDS)
    videos = f"{len(SECONDS)} videos of 360p, {sum(SECONDS)} s of them"
    for name, taken in zip(sides, times, strict=True):
        note = f"{videos}: {taken:.2f} s, the loop {of_loop:.2f} s"
        report(f"runner_overhead_{name}", taken / of_loop, TARGETS[name], note)


if __name__ == "__main__":
    main()
