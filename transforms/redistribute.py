"""Dealing work out."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import apache_beam as beam


class Spread(beam.PTransform):
    """Deals elements out to the workers afresh; what follows begins when all of them are there.

    This is what Beam's own Reshuffle is for, but Flink does only the first one of a job: to its optimiser, what was
    dealt out evenly once stays so. All chunks of a video would stay in one slot, and one slot could begin a stage while
    another is at an earlier one, so that the worker they share would load the models of both in turns.
    """

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Returns the elements."""
        return (
            elements
            | "Any key" >> beam.Map(_with_any_key).with_output_types(tuple[int, Any])
            | "Deal out" >> beam.GroupByKey()
            | "Without key" >> beam.FlatMap(_values)
        )


def _with_any_key(element: Any) -> tuple[int, Any]:
    return random.getrandbits(32), element


def _values(group: tuple[int, Iterable[Any]]) -> Iterable[Any]:
    return group[1]
