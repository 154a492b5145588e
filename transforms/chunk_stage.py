"""Stages on chunks."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from beam_curate.elements import ClipChunk
from beam_curate.stage import PlannedStage
from transforms.concurrency import permit
from transforms.inference import infer
from transforms.worker_counters import CountingDoFn


@dataclasses.dataclass(eq=False)
class ChunkStage(beam.PTransform):
    """Passes chunks through a stage; one with a model stands behind Beam's RunInference.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> (captions,) = plan.after_clips
    >>> isinstance(beam.Pipeline() | beam.Create([]) | ChunkStage(captions), beam.PCollection)
    True

    In a pipeline: ``chunks | "Captions" >> ChunkStage(planned)``; see `beam_curate.pipeline`.

    Attributes:
        planned: The stage, with the store of its results.
    """

    planned: PlannedStage[ClipChunk, ClipChunk]

    def expand(self, chunks: beam.PCollection[ClipChunk]) -> beam.PCollection[ClipChunk]:
        """Returns the chunks with what the stage adds."""
        if self.planned.stage.model is None:
            return chunks | "Process" >> beam.ParDo(Process(self.planned))
        return chunks | infer(self.planned) | "Result" >> beam.Map(_second)


class Process(CountingDoFn):
    """Passes each chunk through a stage without a model."""

    def __init__(self, planned: PlannedStage[ClipChunk, ClipChunk]) -> None:
        super().__init__(planned.results.output)
        self._planned = planned

    def process(self, chunk: ClipChunk) -> list[ClipChunk]:
        """Processes one chunk."""
        with permit():
            return [self._planned.process(chunk)]  # type: ignore[list-item]  # a chunk's failures are in its clips


def _second(pair: tuple[Any, Any]) -> Any:
    return pair[1]
