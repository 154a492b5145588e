"""Stages on chunks."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from beam_curate.elements import ClipChunk
from beam_curate.stage import PlannedStage
from transforms.cached import Cached
from transforms.concurrency import permit
from transforms.inference import infer


@dataclasses.dataclass(eq=False)
class ChunkStage(beam.PTransform):
    """Runs a stage on the chunks that it has no cached result for; one with a model behind Beam's RunInference.

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
        work = beam.ParDo(Attempt(self.planned)) if self.planned.stage.model is None else infer(self.planned)
        return chunks | Cached(self.planned.results, work)


class Attempt(beam.DoFn):
    """Runs a stage without a model on each chunk: yields (chunk, result)."""

    def __init__(self, planned: PlannedStage[ClipChunk, ClipChunk]) -> None:
        self._planned = planned

    def process(self, chunk: ClipChunk) -> Any:
        """Processes one chunk."""
        with permit():
            result = self._planned.attempt(chunk)
        yield chunk, result
