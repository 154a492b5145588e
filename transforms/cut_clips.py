"""From shots to encoded clips."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from beam_curate.elements import ClipChunk, VideoShots
from beam_curate.video.stage import chunks_of
from transforms.chunk_stage import ChunkStage


@dataclasses.dataclass(eq=False)
class CutClips(ChunkStage):
    """Divides videos into chunks and cuts each chunk's clips in one decoding pass.

    Attributes:
        worker: See `beam_curate.video.stage`.
        store: Of its results.
        clips_per_chunk: Value of ``--clip-re-chunk-size``.
    """

    clips_per_chunk: int = 32

    def expand(self, shots: beam.PCollection[VideoShots]) -> beam.PCollection[ClipChunk]:
        """Returns chunks with their clips."""
        return super().expand(shots | "Chunks" >> beam.FlatMap(chunks_of, self.clips_per_chunk))
