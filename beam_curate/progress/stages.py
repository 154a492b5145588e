"""Progress of each stage, computed from the counters of `beam_curate.counters`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

SHOTS = "shots"
"""The stage that counts videos; those after it count clips."""
VIDEOS_TO_DO = "videos to do"
CLIPS_FOUND = "clips found"
"""By shot detection: each stage after it has as many to do."""
BYTES_TO_DO = "bytes to do"
BYTES_FINISHED = "bytes finished"
"""Of source files, a chunk's share when it is published: what the time left is estimated from."""


@dataclasses.dataclass(frozen=True)
class StageProgress:
    """Progress of a stage.

    Attributes:
        name: Name of the stage.
        unit: The unit that it counts, in the plural.
        total: Units of the run, those with a stored result included, as far as they are known.
        total_known: Whether ``total`` is final, because all shots are known.
        begun: Units that were begun.
        done: Units that were computed, with or without success.
        cached: Units with a stored result.
        failed: Number of failures.
        frames: Frames read, for stages that read frames; otherwise None.
        position: ``done``, with the finished part of the units in progress.
    """

    name: str
    unit: str
    total: int
    total_known: bool
    begun: int = 0
    done: int = 0
    cached: int = 0
    failed: int = 0
    frames: int | None = None
    position: float = 0.0

    @property
    def finished(self) -> int:
        """Units that were computed or found stored; one that a cluster computes twice counts twice, up to the total."""
        return min(self.cached + self.done, self.total)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.total_known and self.finished >= self.total

    def fraction(self) -> str:
        """Formats how much is done, and of how much if that is known.

        >>> StageProgress("clips", "clips", total=60, total_known=False, done=41).fraction()
        '41/60+'
        """
        return f"{self.finished:,}/{self.total:,}{'' if self.total_known else '+'}"


def progress_of(counts: Mapping[str, int], stages: Sequence[str]) -> list[StageProgress]:
    """Returns the progress of the stages, and last that of recording, which counts finished videos.

    >>> counts = {"videos to do": 2, "shots: done": 1, "clips found": 5, "clips: done": 3}
    >>> [f"{stage.name} {stage.fraction()}" for stage in progress_of(counts, ["shots", "clips"])]
    ['shots 1/2', 'clips 3/5+', 'records 0/2']

    Args:
        counts: Counters of `beam_curate.counters`.
        stages: Names of the stages of the run, in order.
    """
    videos = counts.get(VIDEOS_TO_DO, 0)
    shots = _stage(counts, SHOTS, "videos", videos, total_known=True)
    clips = counts.get(CLIPS_FOUND, 0)
    rows = [
        shots if stage == SHOTS else _stage(counts, stage, "clips", clips, total_known=shots.complete)
        for stage in stages
    ]
    finished, failed = counts.get("videos done", 0), counts.get("videos failed", 0)
    done = finished + failed
    return [*rows, StageProgress("records", "videos", videos, True, done, done, 0, failed, position=done)]


def share_finished(counts: Mapping[str, int]) -> float:
    """Returns how much of the run is done, 0 to 1, by the bytes of the sources.

    >>> share_finished({"bytes to do": 1000, "bytes finished": 250})
    0.25
    """
    to_do = counts.get(BYTES_TO_DO, 0)
    return min(1.0, counts.get(BYTES_FINISHED, 0) / to_do) if to_do else 0.0


def _stage(counts: Mapping[str, int], stage: str, unit: str, total: int, *, total_known: bool) -> StageProgress:
    begun, done, cached, failed = (counts.get(f"{stage}: {what}", 0) for what in ("begun", "done", "cached", "failed"))
    frames = counts.get(f"{stage}: frames done")
    expected = counts.get(f"{stage}: frames to do", 0)
    position = float(done)
    if frames and frames <= expected:  # more than expected when a source does not state its length
        position = max(position, begun - counts.get(f"{stage}: opened", 0) * (1 - frames / expected))
    return StageProgress(stage, unit, total, total_known, begun, done, cached, failed, frames, position)


def progress_sentence(counts: Mapping[str, int]) -> str:
    """Summarises the finished work in one line.

    >>> progress_sentence({"videos to do": 2, "videos done": 1, "shots: begun": 1, "shots: done": 1})
    '1 of 2 videos finished; shots 1/2 videos.'
    """
    names = dict.fromkeys(name.partition(": ")[0] for name in counts)
    *stages, videos = progress_of(counts, [name for name in names if _counted(counts, name)])
    if not videos.total:
        return "No video had been started."
    line = f"{videos.done:,} of {videos.total:,} videos finished"
    parts = [_part(stage) for stage in stages if stage.begun + stage.cached]
    return f"{line}; {', '.join(parts)}." if parts else f"{line}."


def _counted(counts: Mapping[str, int], stage: str) -> bool:
    return any(f"{stage}: {what}" in counts for what in ("begun", "cached"))


def _part(stage: StageProgress) -> str:
    notes = [f"{stage.cached:,} of them cached"] if stage.cached else []
    if stage.frames and not stage.complete:
        notes.append(f"{stage.frames:,} frames")
    return f"{stage.name} {stage.fraction()} {stage.unit}" + (f" ({', '.join(notes)})" if notes else "")
