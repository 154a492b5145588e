"""From captioned clips to a dataset that a trainer can read."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from beam_curate.elements import ClipChunk
from beam_curate.records.recorder import publish_chunk
from beam_curate.records.records import RecordContext
from beam_curate.stage import Worker
from beam_curate.store.results import ResultStore
from transforms.chunk_stage import ChunkStage
from transforms.worker_counters import CountingDoFn


@dataclasses.dataclass(eq=False)
class CutWindows(ChunkStage):
    """Decides which windows reach the dataset and cuts the video of each; see `beam_curate.dataset.stage`."""


@dataclasses.dataclass(eq=False)
class WriteCosmosDataset(beam.PTransform):
    """Publishes clips, their records and, where there are any, dataset items.

    It is not remembered: publishing looks at what is there and changes only what differs.

    Attributes:
        context: Of the records.
        windows: What cuts windows; None without a dataset.
        store: Of the results of that.
    """

    context: RecordContext
    windows: Worker[ClipChunk, ClipChunk] | None
    store: ResultStore[ClipChunk]

    def expand(self, chunks: beam.PCollection[ClipChunk]) -> beam.PCollection[ClipChunk]:
        """Returns the chunks as published."""
        if self.windows is not None:
            chunks = chunks | "CutWindows" >> CutWindows(self.windows, self.store)
        return chunks | "Publish" >> beam.ParDo(Publish(self.context))


class Publish(CountingDoFn):
    """Publishes one chunk."""

    def __init__(self, context: RecordContext) -> None:
        super().__init__(context.output)
        self._context = context

    def process(self, chunk: ClipChunk) -> list[ClipChunk]:
        """Publishes, and passes the chunk on."""
        return [publish_chunk(self._context, chunk)]
