"""The end of the flow: one outcome per video."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate import counters
from beam_curate.elements import ClipChunk, Video
from beam_curate.progress.stages import BYTES_FINISHED
from beam_curate.records import arrivals
from beam_curate.records.recorder import record_video
from beam_curate.records.records import RecordContext
from beam_curate.store import disk_errors
from beam_curate.store.ledger import LedgerWriter, of_run
from transforms.worker_counters import CountingDoFn

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class RecordVideos(beam.PTransform):
    """Records each video with its last chunk: withdraws outdated results from the output, and marks it done.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> recorded = beam.Pipeline() | beam.Create([]) | RecordVideos(plan.context, PurePosixPath("run"))
    >>> isinstance(recorded, beam.PCollection)
    True

    Attributes:
        context: What all records have in common.
        run: The folder of the run.
        captions: Whether the ledger holds captions.
    """

    context: RecordContext
    run: PurePosixPath
    captions: bool = True

    def expand(self, chunks: beam.PCollection[ClipChunk]) -> beam.PCollection[str]:
        """Returns the URIs of the videos recorded."""
        return chunks | "Record" >> beam.ParDo(Record(self.context, self.run, self.captions))


class Record(CountingDoFn):
    """Records a video when its last chunk arrives."""

    def __init__(self, context: RecordContext, run: PurePosixPath, captions: bool = True) -> None:
        super().__init__(context.output, run)
        self._context = context
        self._captions = captions

    def start_bundle(self) -> None:
        """Begins a part of the ledger."""
        folder = of_run(self._context.fingerprint, self._run)
        self._ledger = LedgerWriter(self._context.output, folder, self._forget_marks, captions=self._captions)
        self._marked: set[str] = set()  # URIs of videos of several chunks

    def process(self, chunk: ClipChunk) -> list[str]:
        """Yields the URI of the video that it recorded."""
        video = chunk.video
        clips = len(chunk.all_clips)
        counters.add(BYTES_FINISHED, round(video.size_bytes * (clips / chunk.num_total_clips if clips else 1)))
        try:
            recorded = self._record_if_last(chunk)
        except OSError as error:
            _refused(video.uri, error)
            return []
        return [video.uri] if recorded else []

    def finish_bundle(self) -> None:
        """Writes the rest of the ledger, and the counters."""
        try:
            self._ledger.flush()
        except OSError as error:
            _refused("the last videos", error)
        super().finish_bundle()

    def _forget_marks(self, video: Video) -> None:
        """Deletes the marks of a video: not before, since this worker may be lost, and a part of it come again."""
        if video.uri in self._marked:
            arrivals.forget(self._context.output, self._run, video)

    def _record_if_last(self, chunk: ClipChunk) -> bool:
        output, video = self._context.output, chunk.video
        if chunk.num_chunks > 1:
            self._marked.add(video.uri)
        chunks = arrivals.arrive(output, self._run, chunk)
        if chunks is None:
            return False
        made = [one for one in chunks if one.info is not None]
        failures = [failure for one in chunks if one.info is None for failure in one.failures]
        self._ledger.add(record_video(self._context, video, made, failures))
        return True


def _refused(what: str, error: OSError) -> None:
    """Logs that the state of videos cannot be written. The driver finds them without an entry, and reports them."""
    _logger.warning("%s: what became of them cannot be written to the output: %s", what, disk_errors.explained(error))
