"""From videos to chunks of clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import apache_beam as beam

from beam_curate import counters
from beam_curate.elements import ClipChunk, Failure, Video, VideoShots
from beam_curate.progress.stages import CLIPS_FOUND
from beam_curate.stage import PlannedStage
from transforms.inference import infer


@dataclasses.dataclass(eq=False)
class DetectShots(beam.PTransform):
    """Detects the shots of each video, and divides the clips to be cut from it into chunks.

    A video that fails, or that is a duplicate, is one chunk without clips.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> chunks = beam.Pipeline() | beam.Create([]) | DetectShots(plan.shots, plan.chunks)
    >>> isinstance(chunks, beam.PCollection)
    True

    Attributes:
        planned: The stage, with the store of its results; see `beam_curate.shots.stage`.
        chunks: Divides the shots of a video into chunks; see `beam_curate.video.stage.chunks_of`.
    """

    planned: PlannedStage[Video, VideoShots]
    chunks: Callable[[VideoShots], Iterator[ClipChunk]]

    def expand(self, videos: beam.PCollection[Video]) -> beam.PCollection[ClipChunk]:
        """Returns the chunks of all videos."""
        return videos | infer(self.planned) | "Chunks" >> beam.FlatMap(_chunks, self.chunks)


def _chunks(
    detected: tuple[Video, VideoShots | Failure | Video], divide: Callable[[VideoShots], Iterator[ClipChunk]]
) -> Iterator[ClipChunk]:
    video, result = detected
    if isinstance(result, VideoShots):
        counters.add(CLIPS_FOUND, len(result.spans))
        yield from divide(result)
    else:
        yield ClipChunk.without_clips(video, *([result] if isinstance(result, Failure) else []))
