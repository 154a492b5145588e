"""What the benchmarks share: timing two sides in turn, and the line that each result is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the media of the tests serve here too


def timed(work: Callable[[], object]) -> float:
    """Returns the seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternating(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 3) -> tuple[float, float]:
    """Times two sides in turn and returns the shortest seconds of each: noise only ever adds."""
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def report(name: str, ratio: float, target: str, note: str = "") -> None:
    """Prints the line of a result."""
    print(f"{name} ratio {ratio:.2f} target {target}{f'  ({note})' if note else ''}", flush=True)
