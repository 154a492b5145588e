"""Redistribution of elements over the workers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import apache_beam as beam


class Redistribute(beam.PTransform):
    """Distributes elements evenly over the workers, and holds them back until all of them have arrived.

    Beam's own Reshuffle, which Flink and Prism execute without holding back, is better where that is not needed. But
    Flink executes only the first one of a job, since its optimiser assumes that elements stay evenly distributed: so
    videos are distributed by this one, and their chunks by Reshuffle.

    >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    >>> with beam.Pipeline(FnApiRunner()) as pipeline:
    ...     _ = pipeline | beam.Create([1, 2, 3]) | Redistribute() | beam.CombineGlobally(sum) | beam.Map(print)
    6
    """

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Returns the elements."""
        return (
            elements
            | "Any key" >> beam.Map(_with_any_key).with_output_types(tuple[int, Any])
            | "Distribute" >> beam.GroupByKey()
            | "Without key" >> beam.FlatMap(_values)
        )


def _with_any_key(element: Any) -> tuple[int, Any]:
    return random.getrandbits(32), element


def _values(group: tuple[int, Iterable[Any]]) -> Iterable[Any]:
    return group[1]
