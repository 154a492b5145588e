"""Publishes counters of worker processes to the driver, as files in the output folder.

Runners report the metrics of workers late: Flink when a stage has ended, its job server when the job has.
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


class _Writer:
    """Writes this process's counters to a file whenever they have changed."""

    def __init__(self) -> None:
        self.output: Store | None = None
        self.disabled = False
        self._name = f"{uuid.uuid4().hex}.json"
        self._written: dict[str, int] = {}
        self._lock = threading.Lock()

    def write_to(self, output: Store) -> None:
        with self._lock:
            begun, self.output = self.output is not None, output
        if not begun and not self.disabled:
            threading.Thread(target=self._run, args=(output.counts_every_s,), daemon=True).start()

    def flush(self) -> None:
        if self.output is None or self.disabled:
            return
        with self._lock, contextlib.suppress(OSError):  # a counter must never fail a unit of work
            counts = counters.counts()
            if counts != self._written:
                self.output.write_json(layout.WORKER_COUNTS / self._name, counts)
                self._written = counts

    def _run(self, interval_s: float) -> None:
        pause = threading.Event()
        while not pause.wait(interval_s):
            self.flush()


_writer = _Writer()
write_to = _writer.write_to
flush = _writer.flush


def disable() -> None:
    """Writes no file in this process: the driver knows its own counters."""
    _writer.disabled = True


@contextlib.contextmanager
def collected(output: Store) -> Iterator[None]:
    """Adds the workers' counters to those of this process, now and then while the block runs and at its end.

    Counts that are there at the beginning are of earlier runs and are ignored. Two runs at once on one output each see
    the other's workers too.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> counters.reset()
    >>> with tempfile.TemporaryDirectory() as folder, collected(LocalStore(Path(folder))):
    ...     _ = LocalStore(Path(folder)).write_json(layout.WORKER_COUNTS / "worker.json", {"clips: done": 2})
    >>> counters.counts()
    {'clips: done': 2}
    >>> counters.reset()
    """
    before = _total(output)
    before.subtract(counters.counts())

    def collect() -> None:
        total = _total(output)
        total.subtract(before)
        counters.set_counts(total)

    try:
        with every(output.counts_every_s, collect):
            yield
    finally:
        collect()


def _total(output: Store) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for key in output.list_files(layout.WORKER_COUNTS):
        counts: dict[str, int] | None = readback.read(output, key, readback.COUNTS)
        total.update(counts or {})
    return total
