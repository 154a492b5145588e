"""From shots to encoded clips."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from beam_curate.elements import ClipChunk, VideoShots
from beam_curate.stage import PlannedStage
from beam_curate.video.stage import ClipCutter
from transforms.chunk_stage import ChunkStage


@dataclasses.dataclass(eq=False)
class CutClips(beam.PTransform):
    """Divides videos into chunks and cuts each chunk's clips in one decoding pass.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> clips = beam.Pipeline() | beam.Create([]) | CutClips(plan.clips)
    >>> isinstance(clips, beam.PCollection)
    True

    Attributes:
        planned: The stage, with the store of its results.
    """

    planned: PlannedStage[ClipChunk, ClipChunk]

    def expand(self, shots: beam.PCollection[VideoShots]) -> beam.PCollection[ClipChunk]:
        """Returns chunks with their clips."""
        cutter = self.planned.stage
        assert isinstance(cutter, ClipCutter)
        return shots | "Chunks" >> beam.FlatMap(cutter.chunks) | "Cut" >> ChunkStage(self.planned)
