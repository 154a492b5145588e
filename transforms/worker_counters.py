"""Publishes stage counters from worker processes to the driver and to Beam metrics."""

from __future__ import annotations

import functools
import socket
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_curate import counters
from beam_curate.errors import WorkerError
from beam_curate.progress import worker_counts
from beam_curate.store.base import Store
from beam_curate.versions import differences, versions


class CountingDoFn(beam.DoFn):
    """A DoFn whose counters, and those of the functions it calls, become Beam metrics and reach the driver.

    Args:
        output: The output, in which workers leave their counters.
        run: The folder of the run there.
    """

    def __init__(self, output: Store, run: PurePosixPath) -> None:
        self._output = output
        self._run = run
        self._versions = versions()  # of the program that submits the job

    def setup(self) -> None:
        """Begins to listen to the counters, once per process.

        Raises:
            WorkerError: This process has other versions than the program that submitted the job.
        """
        if different := differences(self._versions, versions()):
            raise WorkerError(
                f"the worker on {socket.gethostname()} has other versions ({'; '.join(different)}): install there what "
                "is installed here, or build its image anew"
            )
        counters.listen(_to_beam)
        worker_counts.write_to(self._output, self._run)

    def finish_bundle(self) -> None:
        """Writes the counters now: runners end a worker's process as soon as its stage is done."""
        worker_counts.flush()


def _to_beam(name: str, amount: int) -> None:
    """Adds to a metric of the step that runs in this thread; Beam ignores calls from other threads."""
    _counter(name).inc(amount)


@functools.cache
def _counter(name: str) -> Any:
    return Metrics.counter("beam_curate", name)
