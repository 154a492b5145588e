"""Permits for work that keeps a core busy: at most as many at once in this process as it has cores.

A worker has more threads than cores, so that some compute while others wait for a model, a server or a disk. A permit
is held while a core is needed, not while waiting, and memory for decoded frames is bounded by the permits.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import threading
from collections.abc import Iterator


class Permits:
    """A number of permits, which go to the most urgent of those that wait.

    >>> permits = Permits(1)
    >>> with permits.one():
    ...     print("at work")
    at work

    Args:
        number: How many may be held at once.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: list[tuple[int, int, threading.Event]] = []  # a heap, the next one first
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._urgency = threading.local()

    @contextlib.contextmanager
    def urgency(self, value: int) -> Iterator[None]:
        """Sets how urgent the requests of this thread are while the block runs; higher ones are served first.

        The later a stage, the more urgent it is: a video that was begun is finished before the next one is begun.
        """
        former = getattr(self._urgency, "value", 0)
        self._urgency.value = value
        try:
            yield
        finally:
            self._urgency.value = former

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Waits for a permit and holds it while the block runs."""
        turn = self._ask()
        if turn is not None:
            turn.wait()
        try:
            yield
        finally:
            self._give_back()

    def _ask(self) -> threading.Event | None:
        """Takes a permit and returns None, or returns the event of its turn."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return None
            turn = threading.Event()
            heapq.heappush(self._waiting, (-getattr(self._urgency, "value", 0), next(self._order), turn))
            return turn

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[2].set()  # it passes on
            else:
                self._free += 1

    def set_number(self, number: int) -> None:
        """Changes how many there are, before the first is taken."""
        with self._lock:
            self._free = number


CORES = Permits(len(os.sched_getaffinity(0)))
"""Those of this process."""
