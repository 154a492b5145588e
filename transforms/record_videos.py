"""The end of the flow: one outcome a video."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import apache_beam as beam

from beam_curate.elements import ClipChunk, Failure, Video
from beam_curate.report.recorder import record_video
from beam_curate.report.records import RecordContext
from transforms.counting import CountingDoFn


@dataclasses.dataclass(eq=False)
class RecordVideos(beam.PTransform):
    """Gathers what became of each video, withdraws what no longer holds, records it, and marks it done.

    Attributes:
        context: Of the records.
    """

    context: RecordContext

    def expand(
        self,
        gathered: tuple[beam.PCollection[Video], beam.PCollection[ClipChunk], beam.PCollection[Failure]],
    ) -> beam.PCollection[str]:
        """Returns the URIs of the videos recorded."""
        videos, chunks, failures = gathered
        return (
            {
                "videos": videos | "Key videos" >> beam.WithKeys(_uri),
                "chunks": chunks | "Key chunks" >> beam.WithKeys(_chunk_uri),
                "failures": failures | "Key failures" >> beam.WithKeys(_uri),
            }
            | "By video" >> beam.CoGroupByKey()
            | "Record" >> beam.ParDo(Record(self.context))
        )


class Record(CountingDoFn):
    """Records one video."""

    def __init__(self, context: RecordContext) -> None:
        super().__init__(context.layout)
        self._context = context

    def process(self, gathered: tuple[str, dict[str, Iterable[object]]]) -> list[str]:
        """Records one video and passes its URI on."""
        uri, found = gathered
        (video,) = found["videos"]
        record_video(self._context, video, list(found["chunks"]), list(found["failures"]))  # type: ignore[arg-type]
        return [uri]


def _uri(element: Video | Failure) -> str:
    return element.uri


def _chunk_uri(chunk: ClipChunk) -> str:
    return chunk.video.uri
