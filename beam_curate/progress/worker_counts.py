"""What workers in other processes have counted, left in the output folder for the driver to add up.

Runners tell late what their workers count: Flink when a stage has ended, its job server when the job has.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import uuid
from collections.abc import Iterator

from beam_curate import counters
from beam_curate.progress.periodic import every
from beam_curate.store import layout, readback
from beam_curate.store.base import Store

_INTERVAL_S = 1.0


class _Leaver:
    """Leaves this process's counts in a file whenever they have changed."""

    def __init__(self) -> None:
        self.output: Store | None = None
        self.out = False
        self._name = f"{uuid.uuid4().hex}.json"
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()

    def keep(self, output: Store) -> None:
        with self._lock:
            begun, self.output = self.output is not None, output
        if not begun and not self.out:
            threading.Thread(target=self._run, daemon=True).start()

    def flush(self) -> None:
        if self.output is None or self.out:
            return
        with self._lock, contextlib.suppress(OSError):  # counting must never break work
            counts = counters.counts()
            if counts != self._left:
                self.output.write_json(layout.WORKER_COUNTS / self._name, counts)
                self._left = counts

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_INTERVAL_S):
            self.flush()


_leaver = _Leaver()
keep = _leaver.keep
flush = _leaver.flush


def stay_out() -> None:
    """Says that this process is the driver, which needs no file to know what it counted."""
    _leaver.out = True


@contextlib.contextmanager
def gathered(output: Store) -> Iterator[None]:
    """Adds what workers left to this process's counts, every second while the block lasts and at its end.

    What is there at the beginning is of earlier runs and does not count. Of two runs at once on one output each also
    sees what the other's workers do.
    """
    before = _total(output)
    before.subtract(counters.counts())

    def gather() -> None:
        total = _total(output)
        total.subtract(before)
        counters.set_counts(total)

    try:
        with every(_INTERVAL_S, gather):
            yield
    finally:
        gather()


def _total(output: Store) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for key in output.list_files(layout.WORKER_COUNTS):
        counts: dict[str, int] | None = readback.read(output, key, readback.COUNTS)
        total.update(counts or {})
    return total
