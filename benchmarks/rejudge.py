"""Another threshold for 10,000 clips whose scores are stored: reading and judging them, nothing is computed."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from common import report, timed
from finished_output import plan_of

from beam_curate import counters
from beam_curate.elements import ClipChunk, Score
from beam_curate.filters.motion import MotionFilter
from tests.support.facts import make_chunk, make_clip, make_span
from tests.support.output import Output

CHUNKS, CLIPS = 400, 25
FLAGS = ("--input-video-path=in", "--motion-filter=enable", "--no-generate-captions")


def chunk_of(output: Output, number: int) -> ClipChunk:
    """Returns a chunk; all clips have the same file."""
    clip = make_clip(output, "clip", windows=())
    clips = [
        dataclasses.replace(clip, span=make_span(f"clip{number}-{place}", 96 * place, 96 * place + 96))
        for place in range(CLIPS)
    ]
    return dataclasses.replace(make_chunk(clips), index=number, num_chunks=CHUNKS)


def scored(chunk: ClipChunk) -> ClipChunk:
    """Returns the chunk as the filter stores it: a hundredth more motion from clip to clip."""
    return chunk.with_clips(
        tuple(
            dataclasses.replace(clip, scores=(Score("motion", {"global_mean": place / 100, "per_patch_min_256": 1.0}),))
            for place, clip in enumerate(chunk.clips)
        )
    )


def main() -> None:
    """Stores the scores, judges them by another threshold, and prints the line of the result."""
    with tempfile.TemporaryDirectory() as folder:
        output = Output(Path(folder) / "out")
        chunks = [chunk_of(output, number) for number in range(CHUNKS)]
        stored = _planned(output, "0.001")
        for chunk in chunks:
            stored.results.put(chunk, scored(chunk))
        planned = _planned(output, "0.1")
        judged: list[Any] = []
        seconds = timed(lambda: judged.extend(planned.process(chunk) for chunk in chunks))
    assert sum(len(chunk.rejected) for chunk in judged) == CHUNKS * 10, "ten of each chunk are below 0.1"
    assert counters.counts()["motion: cached"] == CHUNKS * CLIPS and "motion: begun" not in counters.counts()
    report("rejudge", seconds, "<=10 s", f"{CHUNKS * CLIPS} scores")


def _planned(output: Output, threshold: str) -> Any:
    flags = (*FLAGS, f"--output-clip-path={output.location()}", f"--motion-global-mean-threshold={threshold}")
    (planned,) = plan_of(*flags).after_clips
    assert isinstance(planned.stage, MotionFilter)
    return planned


if __name__ == "__main__":
    main()
