"""From captioned clips to a dataset that a trainer can read."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate.elements import ClipChunk
from beam_curate.records.recorder import publish_chunk
from beam_curate.records.records import RecordContext
from transforms.worker_counters import CountingDoFn


@dataclasses.dataclass(eq=False)
class WriteCosmosDataset(beam.PTransform):
    """Publishes clips, their records and, where there are any, dataset items.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> published = beam.Pipeline() | beam.Create([]) | WriteCosmosDataset(plan.context, PurePosixPath("run"))
    >>> isinstance(published, beam.PCollection)
    True

    Publishing is never cached: it compares with what is there and changes only what differs.

    Attributes:
        context: What all records have in common.
        run: The folder of the run.
    """

    context: RecordContext
    run: PurePosixPath

    def expand(self, chunks: beam.PCollection[ClipChunk]) -> beam.PCollection[ClipChunk]:
        """Returns the chunks as published."""
        return chunks | "Publish" >> beam.ParDo(Publish(self.context, self.run))


class Publish(CountingDoFn):
    """Publishes one chunk."""

    def __init__(self, context: RecordContext, run: PurePosixPath) -> None:
        super().__init__(context.output, run)
        self._context = context

    def process(self, chunk: ClipChunk) -> list[ClipChunk]:
        """Publishes a chunk and passes it on."""
        return [publish_chunk(self._context, chunk)]
