"""Publishes counters of the processes that work for a run, as files in the output: for the driver, and for others.

Runners report the metrics of workers late: Flink when a stage has ended, its job server when the job has. The files
are written again now and then even if nothing has changed, so that it is known that somebody is at work.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import PurePosixPath

from beam_curate import counters
from beam_curate.progress.periodic import every
from beam_curate.store import layout, runs
from beam_curate.store.base import Store


class _Writer:
    """Writes this process's counters to a file whenever they have changed, and else as a sign of life."""

    def __init__(self) -> None:
        self._where: tuple[Store, PurePosixPath] | None = None
        self._disabled = self._is_driver = False
        self._begun = False
        self._name = f"{uuid.uuid4().hex}.json"
        self._written: dict[str, int] | None = None
        self._written_s = 0.0
        self._lock = threading.Lock()

    def write_to(self, output: Store, run: PurePosixPath) -> None:
        """Begins to write for a run.

        Args:
            output: The output.
            run: The folder of the run.
        """
        with self._lock:
            if self._disabled:
                return
            self._where = (output, run)
            begun, self._begun = self._begun, True
        if not begun:
            threading.Thread(target=self._run, args=(output.counts_every_s,), daemon=True).start()

    def of_driver(self, disabled: bool) -> None:
        """Lets the driver write, or not."""
        with self._lock:
            self._is_driver, self._disabled, self._where, self._written = True, disabled, None, None

    def flush(self) -> None:
        """Writes now: the process of a worker may end at any time."""
        if not self._is_driver:
            self._write()

    def _write(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # a counter must never fail a unit of work
            if self._where is None:
                return
            output, run = self._where
            counts, now_s = counters.counts(), time.monotonic()
            if counts != self._written or now_s - self._written_s >= runs.HEARD_EVERY_S:
                output.write_json(layout.worker_counts(run) / self._name, counts)
                self._written, self._written_s = counts, now_s

    def _run(self, interval_s: float) -> None:
        pause = threading.Event()
        self._write()
        while not pause.wait(interval_s):
            self._write()


_writer = _Writer()
write_to = _writer.write_to
flush = _writer.flush


@contextlib.contextmanager
def of_driver(output: Store, run: PurePosixPath, *, works: bool) -> Iterator[None]:
    """Lets the driver write its counters while the block lasts if it does the work itself, and not otherwise.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder, of_driver(LocalStore(Path(folder)), layout.RUNS, works=False):
    ...     flush()

    Args:
        output: The output.
        run: The folder of the run.
        works: Whether stages run in this process.
    """
    _writer.of_driver(not works)
    _writer.write_to(output, run)
    try:
        yield
    finally:
        _writer.of_driver(True)


@contextlib.contextmanager
def collected(output: Store, run: PurePosixPath) -> Iterator[None]:
    """Adds the workers' counters to those of this process, now and then while the block runs and at its end.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> counters.reset()
    >>> run = layout.RUNS / "run"
    >>> with tempfile.TemporaryDirectory() as folder, collected(LocalStore(Path(folder)), run):
    ...     _ = LocalStore(Path(folder)).write_json(layout.worker_counts(run) / "worker.json", {"clips: done": 2})
    >>> counters.counts()
    {'clips: done': 2}
    >>> counters.reset()

    Args:
        output: The output.
        run: The folder of the run.
    """
    own = counters.counts()

    def collect() -> None:
        counts = total(output, run)
        counts.update(own)
        counters.set_counts(counts)

    try:
        with every(output.counts_every_s, collect):
            yield
    finally:
        collect()


def total(output: Store, run: PurePosixPath) -> collections.Counter[str]:
    """Returns what all processes that work for a run have counted.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     total(LocalStore(Path(folder)), layout.RUNS / "run")
    Counter()

    Args:
        output: The output.
        run: The folder of the run.
    """
    added: collections.Counter[str] = collections.Counter()
    for counts in runs.all_counts(output, run):
        added.update(counts)
    return added
