"""Stages on chunks."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

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
    >>> isinstance(beam.Pipeline() | beam.Create([]) | ChunkStage(captions, PurePosixPath("run")), beam.PCollection)
    True

    In a pipeline: ``chunks | "Captions" >> ChunkStage(planned, run)``; see `beam_curate.pipeline`.

    Attributes:
        planned: The stage, with the store of its results.
        run: The folder of the run.
    """

    planned: PlannedStage[ClipChunk, ClipChunk]
    run: PurePosixPath

    def expand(self, chunks: beam.PCollection[ClipChunk]) -> beam.PCollection[ClipChunk]:
        """Returns the chunks with what the stage adds."""
        if self.planned.stage.model is None:
            return chunks | "Process" >> beam.ParDo(Process(self.planned, self.run))
        output = self.planned.results.output
        return chunks | infer(self.planned) | "Result" >> beam.ParDo(Result(output, self.run))


class Process(CountingDoFn):
    """Passes each chunk through a stage without a model."""

    def __init__(self, planned: PlannedStage[ClipChunk, ClipChunk], run: PurePosixPath) -> None:
        super().__init__(planned.results.output, run)
        self._planned = planned

    def process(self, chunk: ClipChunk) -> list[ClipChunk]:
        """Processes one chunk."""
        with permit():
            return [self._planned.process(chunk)]  # type: ignore[list-item]  # a chunk's failures are in its clips


class Result(CountingDoFn):
    """Takes the results of a stage from what Beam's RunInference returns."""

    def process(self, pair: tuple[ClipChunk, ClipChunk]) -> list[ClipChunk]:
        """Returns the result."""
        return [pair[1]]
