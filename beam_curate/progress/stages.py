"""How far each stage is, read from the counters of `beam_curate.counters`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

VIDEOS_TO_DO = "videos to do"


@dataclasses.dataclass(frozen=True)
class StageProgress:
    """How far a stage is.

    Attributes:
        name: Of the stage.
        unit: What it counts, in the plural.
        to_do: Units to be worked on, as far as they are known.
        total_known: Whether there will be no more of them: the stages before are done.
        begun: Units that were begun.
        done: Units that were worked on, with or without success.
        cached: Units whose result was there already.
        failed: Failures.
        frames: Frames read, where the stage reads frames; None elsewhere.
        position: ``done``, with the part of it that is done of the units in hand.
    """

    name: str
    unit: str
    to_do: int
    total_known: bool
    begun: int = 0
    done: int = 0
    cached: int = 0
    failed: int = 0
    frames: int | None = None
    position: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.total_known and self.done >= self.to_do

    def fraction(self) -> str:
        """Says how much is done, of how much where that is known: ``41/60`` or ``41/?``."""
        # On a cluster a unit may be worked on twice, and then counts twice.
        finished = self.cached + min(self.done, self.to_do)
        return f"{finished:,}/{self.cached + self.to_do:,}" if self.total_known else f"{finished:,}/?"


def progress_of(counts: Mapping[str, int], stages: Sequence[str]) -> list[StageProgress]:
    """Reads how far the stages are; the last one, recording, says how many videos are finished.

    Beam's batch runners work stage by stage, so how much a stage has to do is known when those before it are done.

    Args:
        counts: Of `beam_curate.counters`.
        stages: The stages of the run, in order.
    """
    videos = counts.get(VIDEOS_TO_DO, 0)
    rows: list[StageProgress] = []
    finished, failed = counts.get("videos done", 0), counts.get("videos failed", 0)
    done = finished + failed
    for index, stage in enumerate(stages):
        to_do, cached = counts.get(f"{stage}: to do", 0), counts.get(f"{stage}: cached", 0)
        if index == 0:
            total_known = to_do + cached >= videos
        else:  # all is looked up before work begins, or, where all is remembered, before the next stage does
            under_way = f"{stage}: begun" in counts or done or any(_counted(counts, one) for one in stages[index + 1 :])
            total_known = rows[-1].complete and bool(under_way)
        unit = "clips" if index else "videos"
        rows.append(_stage(counts, stage, unit, to_do, cached, total_known))
    rows.append(StageProgress("records", "videos", videos, True, done, done, 0, failed, position=done))
    return rows


def _stage(
    counts: Mapping[str, int], stage: str, unit: str, to_do: int, cached: int, total_known: bool
) -> StageProgress:
    begun, done, failed = (counts.get(f"{stage}: {what}", 0) for what in ("begun", "done", "failed"))
    frames = counts.get(f"{stage}: frames done")
    expected = counts.get(f"{stage}: frames to do", 0)
    position = float(done)
    if frames and frames <= expected:  # not so when a source does not say how long it is
        position = max(position, begun - counts.get(f"{stage}: opened", 0) * (1 - frames / expected))
    return StageProgress(stage, unit, to_do, total_known, begun, done, cached, failed, frames, position)


def how_far(counts: Mapping[str, int]) -> str:
    """Says in one line what has been done."""
    names = dict.fromkeys(name.partition(": ")[0] for name in counts)
    *stages, videos = progress_of(counts, [name for name in names if _counted(counts, name)])
    if not videos.to_do:
        return "No video had been begun."
    line = f"{videos.done:,} of {videos.to_do:,} videos finished"
    parts = [_part(stage) for stage in stages if stage.begun + stage.cached]
    return f"{line}; {', '.join(parts)}." if parts else f"{line}."


def _counted(counts: Mapping[str, int], stage: str) -> bool:
    return any(f"{stage}: {what}" in counts for what in ("to do", "cached"))


def _part(stage: StageProgress) -> str:
    notes = [f"{stage.cached:,} of them before"] if stage.cached else []
    if stage.frames and not stage.complete:
        notes.append(f"{stage.frames:,} frames")
    return f"{stage.name} {stage.fraction()} {stage.unit}" + (f" ({', '.join(notes)})" if notes else "")
