"""From videos to chunks of clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate import counters
from beam_curate.elements import ClipChunk, Failure, Video, VideoShots
from beam_curate.progress.stages import CLIPS_FOUND
from beam_curate.stage import PlannedStage
from beam_curate.store.base import Store
from transforms.inference import infer
from transforms.worker_counters import CountingDoFn


@dataclasses.dataclass(eq=False)
class DetectShots(beam.PTransform):
    """Detects the shots of each video, and divides the clips to be cut from it into chunks.

    A video that fails, or that is a duplicate, is one chunk without clips.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> chunks = beam.Pipeline() | beam.Create([]) | DetectShots(plan.shots, plan.chunks, PurePosixPath("run"))
    >>> isinstance(chunks, beam.PCollection)
    True

    Attributes:
        planned: The stage, with the store of its results; see `beam_curate.shots.stage`.
        chunks: Divides the shots of a video into chunks; see `beam_curate.video.stage.chunks_of`.
        run: The folder of the run.
    """

    planned: PlannedStage[Video, VideoShots]
    chunks: Callable[[VideoShots], Iterator[ClipChunk]]
    run: PurePosixPath

    def expand(self, videos: beam.PCollection[Video]) -> beam.PCollection[ClipChunk]:
        """Returns the chunks of all videos."""
        output = self.planned.results.output
        return videos | infer(self.planned) | "Chunks" >> beam.ParDo(Divide(output, self.run, self.chunks))


class Divide(CountingDoFn):
    """Divides the clips to be cut from a video into chunks."""

    def __init__(self, output: Store, run: PurePosixPath, chunks: Callable[[VideoShots], Iterator[ClipChunk]]) -> None:
        super().__init__(output, run)
        self._chunks = chunks

    def process(self, detected: tuple[Video, VideoShots | Failure | Video]) -> Iterator[ClipChunk]:
        """Yields the chunks of one video."""
        video, result = detected
        if isinstance(result, VideoShots):
            counters.add(CLIPS_FOUND, len(result.spans))
            yield from self._chunks(result)
        else:
            yield ClipChunk.without_clips(video, *([result] if isinstance(result, Failure) else []))
