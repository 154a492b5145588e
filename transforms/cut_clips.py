"""From spans to encoded clips."""

from __future__ import annotations

from transforms.chunk_stage import ChunkStage


class CutClips(ChunkStage):
    """Cuts the clips of each chunk in one decoding pass.

    >>> from pathlib import PurePosixPath
    >>> import apache_beam as beam
    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> isinstance(beam.Pipeline() | beam.Create([]) | CutClips(plan.clips, PurePosixPath("run")), beam.PCollection)
    True
    """
