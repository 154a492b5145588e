"""What the stages that work on chunks have in common."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from beam_curate.elements import ClipChunk
from beam_curate.stage import Worker, attempt_chunk
from beam_curate.store.results import ResultStore
from transforms.cached import Remembered
from transforms.concurrency import turn
from transforms.inference import infer


class Attempt(beam.DoFn):
    """Runs a worker that needs no model on each chunk: yields (chunk, result)."""

    def __init__(self, worker: Worker[ClipChunk, ClipChunk], stage: str) -> None:
        self._worker = worker
        self._stage = stage

    def process(self, chunk: ClipChunk) -> Any:
        """Works on one chunk."""
        with turn():
            result = attempt_chunk(self._worker, self._stage, chunk)
        yield chunk, result


@dataclasses.dataclass(eq=False)
class ChunkStage(beam.PTransform):
    """A remembered stage from chunks to chunks.

    Attributes:
        worker: What is done to a chunk.
        store: Of its results.
    """

    worker: Worker[ClipChunk, ClipChunk]
    store: ResultStore[ClipChunk]

    def expand(self, chunks: beam.PCollection[ClipChunk]) -> beam.PCollection[ClipChunk]:
        """Returns the chunks with what the worker adds."""
        return chunks | Remembered(self.store, self.work())

    def work(self) -> beam.PTransform:
        """Returns the work itself."""
        return beam.ParDo(Attempt(self.worker, self.store.stage))


class InferenceStage(ChunkStage):
    """A remembered stage whose worker is a model handler's."""

    def work(self) -> beam.PTransform:
        """Returns the work behind RunInference."""
        return infer(self.worker, attempt_chunk, self.store.stage)
