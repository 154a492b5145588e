"""Progress of each stage, computed from the counters of `beam_curate.counters`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

VIDEOS_TO_DO = "videos to do"


@dataclasses.dataclass(frozen=True)
class StageProgress:
    """Progress of a stage.

    Attributes:
        name: Name of the stage.
        unit: The unit that it counts, in the plural.
        to_do: Units to compute, as far as they are known.
        total_known: Whether ``to_do`` is final, because the stages before are done.
        begun: Units that were begun.
        done: Units that were computed, with or without success.
        cached: Units with a stored result.
        failed: Number of failures.
        frames: Frames read, for stages that read frames; otherwise None.
        position: ``done``, with the finished part of the units in progress.
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
        """Formats how much is done, and of how much if that is known.

        >>> StageProgress("clips", "clips", to_do=60, total_known=False, done=41).fraction()
        '41/?'
        """
        # On a cluster a unit may be computed twice, and then counts twice.
        finished = self.cached + min(self.done, self.to_do)
        return f"{finished:,}/{self.cached + self.to_do:,}" if self.total_known else f"{finished:,}/?"


def progress_of(counts: Mapping[str, int], stages: Sequence[str]) -> list[StageProgress]:
    """Returns the progress of the stages, and last that of recording, which counts finished videos.

    Beam's batch runners work stage by stage, so the total of a stage is known when the stages before it are done.

    >>> counts = {"videos to do": 2, "shots: to do": 2, "shots: done": 1}
    >>> [f"{stage.name} {stage.fraction()}" for stage in progress_of(counts, ["shots", "clips"])]
    ['shots 1/2', 'clips 0/?', 'records 0/2']

    Args:
        counts: Counters of `beam_curate.counters`.
        stages: Names of the stages of the run, in order.
    """
    videos = counts.get(VIDEOS_TO_DO, 0)
    rows: list[StageProgress] = []
    finished, failed = counts.get("videos done", 0), counts.get("videos failed", 0)
    done = finished + failed
    for index, stage in enumerate(stages):
        to_do, cached = counts.get(f"{stage}: to do", 0), counts.get(f"{stage}: cached", 0)
        if index == 0:
            total_known = to_do + cached >= videos
        else:  # look-ups end before the stage begins, or, when all units are cached, before the next one does
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
    if frames and frames <= expected:  # more than expected when a source does not state its length
        position = max(position, begun - counts.get(f"{stage}: opened", 0) * (1 - frames / expected))
    return StageProgress(stage, unit, to_do, total_known, begun, done, cached, failed, frames, position)


def progress_sentence(counts: Mapping[str, int]) -> str:
    """Summarises the finished work in one line.

    >>> progress_sentence({"videos to do": 2, "videos done": 1, "shots: to do": 2, "shots: begun": 1, "shots: done": 1})
    '1 of 2 videos finished; shots 1/2 videos.'
    """
    names = dict.fromkeys(name.partition(": ")[0] for name in counts)
    *stages, videos = progress_of(counts, [name for name in names if _counted(counts, name)])
    if not videos.to_do:
        return "No video had been started."
    line = f"{videos.done:,} of {videos.to_do:,} videos finished"
    parts = [_part(stage) for stage in stages if stage.begun + stage.cached]
    return f"{line}; {', '.join(parts)}." if parts else f"{line}."


def _counted(counts: Mapping[str, int], stage: str) -> bool:
    return any(f"{stage}: {what}" in counts for what in ("to do", "cached"))


def _part(stage: StageProgress) -> str:
    notes = [f"{stage.cached:,} of them cached"] if stage.cached else []
    if stage.frames and not stage.complete:
        notes.append(f"{stage.frames:,} frames")
    return f"{stage.name} {stage.fraction()} {stage.unit}" + (f" ({', '.join(notes)})" if notes else "")
