"""What the benchmarks share: timing sides in turn, and the line that each result is."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the media of the tests serve here too
os.environ["PYTHONPATH"] = str(ROOT)  # what is started here runs this tree, wherever the environment was made


def timed(work: Callable[[], object]) -> float:
    """Returns the seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(*sides: Callable[[], object], rounds: int = 3) -> tuple[float, ...]:
    """Times sides in turn and returns the shortest seconds of each: noise only ever adds."""
    times = [[timed(side) for side in sides] for _ in range(rounds)]
    return tuple(min(column) for column in zip(*times, strict=True))


def in_fresh_folder(folder: Path, work: Callable[..., object]) -> None:
    """Calls `work` with an empty folder, so that no round finds what another one left."""
    shutil.rmtree(folder, ignore_errors=True)
    work(folder=folder)


def report(name: str, ratio: float, target: str, note: str = "") -> None:
    """Prints the line of a result; where the target has a unit, `ratio` is no ratio but in that unit."""
    print(f"{name} ratio {ratio:.2f} target {target}{f'  ({note})' if note else ''}", flush=True)
