"""Counters that live in the process: stages add to them, the driver reads them while the pipeline runs."""

from __future__ import annotations

import collections
import threading

_counts: collections.Counter[str] = collections.Counter()
_lock = threading.Lock()


def add(name: str, amount: int = 1) -> None:
    """Adds to a counter."""
    with _lock:
        _counts[name] += amount


def counts() -> dict[str, int]:
    """Returns all counters as they stand, in the order in which they first counted."""
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Sets all counters to nothing, at the start of a run."""
    with _lock:
        _counts.clear()
