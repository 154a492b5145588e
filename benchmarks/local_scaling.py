"""How much faster two workers of the local runner are than one, in a job of stages that compute on the processor.

A worker has a core: with --threads=1 on two cores, decoding and encoding would still overlap.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from common import in_turn, report
from footage import make_series
from program import DATASET, curate

TINY = "--tiny" in sys.argv[1:]
VIDEOS, SECONDS, ROUNDS = (2, 5, 1) if TINY else (8, 60, 3)
FLAGS = ("--splitting-algorithm", "fixed-stride", *DATASET)


def main() -> None:
    """Prints the line of the result; nothing on a machine with one core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("local_scaling wants two cores")
        return
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "in", Path(name) / "out"
        source.mkdir()
        make_series(source, VIDEOS, size=(640, 360), seconds=SECONDS)

        def side(workers: int) -> None:
            os.sched_setaffinity(0, cores[:workers])  # also of all that is started here
            curate(source, output, *FLAGS, f"--threads={workers}")

        one, two = in_turn(lambda: side(1), lambda: side(2), rounds=ROUNDS)
    note = f"{VIDEOS} videos of 360p, {SECONDS} s each: {one:.2f} s with one worker, {two:.2f} s with two"
    report("local_scaling", one / two, ">=1.8", note)


if __name__ == "__main__":
    main()
