"""An hour among nine videos of a minute: how long it takes, against the cores' work shared out evenly.

The work is the processor time of the whole process tree. Each video alone on one core would be another measure, but
each of these ten runs starts the program again, and a core beside an idle one is faster than a core beside a busy one:
it says less about what matters here, whether the cores have something to do to the end.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path

from common import report, timed
from footage import loop, make_series
from program import DATASET, curate

CORES = len(os.sched_getaffinity(0))
MINUTES = int(sys.argv[1]) if len(sys.argv) > 1 else 60
OTHERS = 9
RATE = 10  # frames/s: enough for the shortest item of the dataset in a clip of ten seconds
FLAGS = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "10", *DATASET)
ROUNDS = 2


def processor_s() -> float:
    """Returns the processor time of all ended processes that this one, or one below it, started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Prints the line of the result."""
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "in", Path(name) / "out"
        source.mkdir()
        first, *_ = make_series(source, 1 + OTHERS, size=(320, 180), rate=RATE)
        loop(first, source / "long.mp4", MINUTES)
        first.unlink()

        def run() -> tuple[float, float]:
            """Returns the seconds of a run, and those of all cores that its work takes."""
            before = processor_s()
            return timed(lambda: curate(source, output, *FLAGS)), (processor_s() - before) / CORES

        seconds, work_s = min(run() for _ in range(ROUNDS))
    note = f"{MINUTES} min and {OTHERS} times 1 min: {seconds:.1f} s, work {work_s:.1f} s of {CORES} cores"
    report("one_long", seconds / work_s, "<=1.2", note)


if __name__ == "__main__":
    main()
