"""Caching of a stage's results: only units without a stored result are computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from beam_curate import counters
from beam_curate.stage import size
from beam_curate.store.results import ResultStore
from transforms.redistribute import Redistribute
from transforms.worker_counters import CountingDoFn


@dataclasses.dataclass(eq=False)
class Cached(beam.PTransform):
    """Returns the stored results of units, after computing those that are missing.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> work = beam.ParDo(lambda unit: [(unit, plan.shots.attempt(unit))])
    >>> isinstance(beam.Pipeline() | beam.Create([]) | Cached(plan.shots.results, work), beam.PCollection)
    True

    Attributes:
        store: The store of the results; see `beam_curate.store.results`.
        work: PCollection[unit] -> PCollection[(unit, result)].
    """

    store: ResultStore[Any]
    work: beam.PTransform

    def expand(self, units: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Looks up all units, computes and stores the missing results, and returns all."""
        looked_up = units | "Look up" >> beam.ParDo(LookUp(self.store)).with_outputs("missing", main="stored")
        made = (
            looked_up.missing
            | "Redistribute" >> Redistribute()
            | "Work" >> self.work
            | "Store" >> beam.ParDo(Store(self.store))
        )
        return (looked_up.stored, made) | beam.Flatten()


class LookUp(CountingDoFn):
    """Yields the stored result of a unit, or the unit itself to the output ``missing``."""

    def __init__(self, store: ResultStore[Any]) -> None:
        super().__init__(store.output)
        self._store = store

    def process(self, unit: Any) -> Iterator[Any]:
        """Looks one unit up."""
        result = self._store.get(unit)
        if result is None:
            counters.add(f"{self._store.stage}: to do", size(unit))
            yield beam.pvalue.TaggedOutput("missing", unit)
        else:
            counters.add(f"{self._store.stage}: cached", size(unit))
            yield result


class Store(CountingDoFn):
    """Stores the result of a unit and yields the stored one, which is an earlier writer's if there was one."""

    def __init__(self, store: ResultStore[Any]) -> None:
        super().__init__(store.output)
        self._store = store

    def process(self, made: tuple[Any, Any]) -> Iterator[Any]:
        """Stores one result."""
        yield self._store.put(*made)
