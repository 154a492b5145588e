"""The end of the flow: one outcome per video."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam

from beam_curate.elements import ClipChunk, Failure, Video
from beam_curate.records import missing
from beam_curate.records.recorder import record_video
from beam_curate.records.records import RecordContext
from transforms.worker_counters import CountingDoFn


@dataclasses.dataclass(eq=False)
class RecordVideos(beam.PTransform):
    """Records the outcome of each video, withdraws outdated results from the output, and marks the video done.

    Attributes:
        context: What all records have in common.
        recorded: Folder for a note of each video that was recorded; see `beam_curate.records.missing`.
    """

    context: RecordContext
    recorded: PurePosixPath

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
            | "Record" >> beam.ParDo(Record(self.context, self.recorded))
        )


class Record(CountingDoFn):
    """Records one video."""

    def __init__(self, context: RecordContext, recorded: PurePosixPath) -> None:
        super().__init__(context.output)
        self._context = context
        self._recorded = recorded

    def process(self, gathered: tuple[str, dict[str, Iterable[Any]]]) -> list[str]:
        """Records one video and passes its URI on.

        A video of which only failures arrived cannot be recorded here; the driver detects that it is missing.
        """
        uri, found = gathered
        chunks, failures = list(found["chunks"]), list(found["failures"])
        videos = [*found["videos"], *(chunk.video for chunk in chunks)]
        if not videos:
            return []
        missing.note(
            self._context.output, self._recorded, videos[0], record_video(self._context, videos[0], chunks, failures)
        )
        return [uri]


def _uri(element: Video | Failure) -> str:
    return element.uri


def _chunk_uri(chunk: ClipChunk) -> str:
    return chunk.video.uri
