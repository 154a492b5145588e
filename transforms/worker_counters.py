"""What stages count reaches people also when it is counted in another process than the driver's."""

from __future__ import annotations

import functools
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_curate import counters
from beam_curate.progress import worker_counts
from beam_curate.store.base import Store


class CountingDoFn(beam.DoFn):
    """A DoFn whose counts, and those of what it calls, become Beam's metrics and are left for the driver.

    Args:
        output: Where counts are left.
    """

    def __init__(self, output: Store) -> None:
        self._output = output

    def setup(self) -> None:
        """Begins to listen, once a process."""
        counters.listen(_to_beam)
        worker_counts.write_to(self._output)

    def finish_bundle(self) -> None:
        """Leaves the counts as they are now: runners end a worker's process as soon as its stage is done."""
        worker_counts.flush()


def _to_beam(name: str, amount: int) -> None:
    """Adds to a metric of the step that runs in this thread; elsewhere Beam ignores it."""
    _counter(name).inc(amount)


@functools.cache
def _counter(name: str) -> Any:
    return Metrics.counter("beam_curate", name)
