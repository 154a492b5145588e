"""How far a run is, as anybody can tell who reads its output: no driver is asked, and nothing is written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from rich.console import Console

from beam_curate.processes import holder
from beam_curate.progress.display import StageRates, format_duration, stage_table
from beam_curate.progress.stages import VIDEOS_TO_DO, StageProgress, progress_of, share_finished
from beam_curate.progress.worker_counts import total
from beam_curate.store import layout, runs
from beam_curate.store.base import Store
from beam_curate.store.runs import Run, Runs


@dataclasses.dataclass(frozen=True)
class Videos:
    """What became of the videos of a run.

    Attributes:
        listed: Of its input.
        done_before: Those that needed no work.
        selected: Those that it works on, duplicates included.
        done: Of these, those that need no more work and did not fail.
        failed: Those that failed in this run, for good or for now.
    """

    listed: int
    done_before: int
    selected: int
    done: int
    failed: int

    @property
    def to_do(self) -> int:
        """Those that are neither done nor failed."""
        return self.selected - self.done - self.failed


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a run is.

    Attributes:
        state: ``running``; ``starting``, while no worker was heard; ``finished``, when all videos are done or failed;
            ``ended``, when its driver or ``summarize`` noted it; ``stopped``, when its driver is gone and no job is
            left; ``silent``, when its workers were not heard for long; ``failed``, ``cancelled``: so the cluster says.
        run: What it was asked.
        driver: Whether its driver is there; None where that cannot be told.
        job_state: What the cluster says of its job; None where it does not.
        began_ago_s: How long ago it began, in s.
        heard_ago_s: How long ago one of its processes was heard, in s; None where none was.
        counts: What its processes counted.
        videos: What became of its videos.
        others: Names of earlier runs whose jobs may be at work, too.
    """

    state: str
    run: Run
    driver: bool | None
    job_state: str | None
    began_ago_s: float
    heard_ago_s: float | None
    counts: Mapping[str, int]
    videos: Videos
    others: tuple[str, ...] = ()

    @property
    def stages(self) -> list[StageProgress]:
        """The progress of its stages."""
        return progress_of(self.counts, self.run.stages)

    @property
    def seconds(self) -> float:
        """How long it has worked, in s, as far as that is known."""
        if self.run.ended is not None:
            return self.run.ended.seconds
        return max(1.0, self.began_ago_s - (0.0 if self.state == "running" else self.heard_ago_s or 0.0))

    def as_json(self) -> dict[str, Any]:
        """Returns it as JSON values, for scripts."""
        run = self.run
        videos = dataclasses.asdict(self.videos) | {"to_do": self.videos.to_do}
        stages = {
            stage.name: {"unit": stage.unit, "total": stage.total, "total_known": stage.total_known}
            | {"done": stage.finished, "cached": stage.cached, "failed": stage.failed}
            for stage in self.stages
        }
        return {
            "state": self.state,
            "run": run.name,
            "runner": run.runner,
            "detached": run.detached,
            "driver_is_alive": self.driver,
            "job": run.job and dataclasses.asdict(run.job) | {"state": self.job_state},
            "began_s_ago": round(self.began_ago_s, 1),
            "heard_s_ago": None if self.heard_ago_s is None else round(self.heard_ago_s, 1),
            "seconds": round(self.seconds, 1),
            "aborted": run.ended and run.ended.aborted,
            "videos": videos,
            "stages": stages,
            "others": list(self.others),
        }


def standing(output: Store, known: Runs, run: Run, job_state: str | None) -> Standing:
    """Returns how far a run is.

    Args:
        output: The output.
        known: All runs of the output.
        run: One of them.
        job_state: What the cluster says of its job; see `runners.base.Runner.state_of`.

    Raises:
        OSError: The output cannot be read.
        UsageError: The list of its videos cannot be read.
    """
    now_s = time.time()
    heard_s = known.heard_s(run)
    heard_ago_s = None if heard_s is None else max(0.0, now_s - heard_s)
    counts = dict(run.ended.counts) if run.ended else {**total(output, run.folder), **run.to_do}
    videos = _videos(output, run, known.began_s(run))
    driver = False if run.ended else driver_is_alive(output, run)
    return Standing(
        _state(run, videos, driver, job_state, heard_ago_s, known.may_go_on(run, now_s)),
        run,
        driver,
        job_state,
        max(0.0, now_s - known.began_s(run)),
        heard_ago_s,
        counts,
        videos,
        tuple(other.name for other in known.open_ones(now_s) if other != run),
    )


def driver_is_alive(output: Store, run: Run) -> bool | None:
    """Whether the driver of a run is at work; None where that cannot be told.

    Of a driver on another computer only the lock of the output tells, which any run may hold.
    """
    alive = holder.is_alive(run.driver)
    if alive is None or (alive and run.detached):  # a process that detached a run may still do something else
        return False if run.detached else output.is_locked()
    return alive and output.is_locked() is not False


def _state(
    run: Run, videos: Videos, driver: bool | None, job_state: str | None, heard_ago_s: float | None, may_go_on: bool
) -> str:
    """Returns the state of a run; what is sure comes first."""
    if run.ended is not None:
        return "ended"
    if driver:
        return "running"
    if job_state is not None:
        return job_state
    if not videos.to_do:
        return "finished"
    if run.job is None:
        is_heard = heard_ago_s is not None and heard_ago_s < runs.SILENT_S
        return "running" if driver is None and is_heard else "stopped"
    if not may_go_on:
        return "silent"
    return "starting" if heard_ago_s is None else "running"


def _videos(output: Store, run: Run, began_s: float) -> Videos:
    """Counts what became of the videos of a run, by the names and times of markers and records alone."""
    marked = _since(output, layout.DONE / run.fingerprint, began_s)
    erred = _since(output, layout.VIDEO_ERRORS, began_s)
    done = failed = 0
    chosen = runs.listed(output, run).chosen
    for video in chosen:
        is_marked = str(layout.done(run.fingerprint, video)) in marked
        has_error = str(layout.video_error(video.relative_path)) in erred  # perhaps of a clip
        if is_marked and not (has_error and not output.exists(layout.processed_video(video.relative_path))):
            done += 1
        elif has_error:
            failed += 1
    return Videos(run.num_listed, run.num_done_before, len(chosen), done, failed)


def _since(output: Store, folder: PurePosixPath, began_s: float) -> set[str]:
    """Returns the keys below a folder that were written in a run."""
    return {key for key, modified_s in output.list_modified(folder) if modified_s >= began_s}


def print_standing(console: Console, one: Standing, place: str) -> None:
    """Prints how far a run is, with the table of its stages, and what to do next.

    Args:
        console: Where to print.
        one: How far it is.
        place: The output, as a user names it in a command.
    """
    run, videos = one.run, one.videos
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(run.began_s))
    left = ", left to the cluster" if run.detached else ""
    console.print(f"run {run.name} on {run.runner}{left}; begun {began}, {format_duration(one.began_ago_s)} ago")
    if run.job is not None:
        where = f" on {run.job.page}" if run.job.page else ""
        console.print(f"job {run.job.name}{where}" + (f": {one.job_state}" if one.job_state else ""))
    console.print(_sentence(one))
    console.print(
        f"{videos.done:,} of {videos.selected:,} videos done, {videos.failed:,} failed, {videos.to_do:,} to do "
        f"({videos.listed:,} in the input, {videos.done_before:,} done before)"
    )
    if stages := one.stages if one.counts.get(VIDEOS_TO_DO) else []:
        console.print(stage_table(one.seconds, stages, _rates(one, stages), console.width))
    for other in one.others:
        console.print(f"the job of an earlier run, {other}, may be at work, too")
    if hint := _next(one, place):
        console.print(hint)


def _rates(one: Standing, stages: Sequence[StageProgress]) -> StageRates:
    """Returns the rates since the run began; none where it is over."""
    rates = StageRates()
    if one.state == "running":
        rates.update(
            0.0, [dataclasses.replace(stage, done=0, frames=stage.frames and 0, position=0.0) for stage in stages]
        )
        rates.update(one.seconds, stages, share_finished(one.counts))
    return rates


def _sentence(one: Standing) -> str:
    """Says what the run is doing."""
    heard = "" if one.heard_ago_s is None else f"; heard {format_duration(one.heard_ago_s)} ago"
    ended = one.run.ended
    if ended is not None:
        return f"ended after {format_duration(ended.seconds)}" + (f": {ended.aborted}" if ended.aborted else "")
    return {
        "running": f"running{' without a driver' if one.driver is False else ''}{heard}",
        "starting": "started; none of its workers was heard yet",
        "finished": _finished(one.videos),
        "silent": f"over, it seems: none of its workers was heard for long{heard}",
        "stopped": f"stopped before its end: its driver is gone{heard}",
        "cancelled": "over: the cluster says that the job was cancelled",
        "failed": "over: the cluster says that the job failed",
    }[one.state]


def _finished(videos: Videos) -> str:
    if videos.to_do:
        return f"over: its job has finished, and {videos.to_do:,} videos did not arrive at its end"
    return "finished: all of its videos are done or failed, and nobody has written the summary"


def _next(one: Standing, place: str) -> str:
    """Says what to do next; empty while there is nothing to do."""
    if one.state in ("running", "starting"):
        return "" if one.driver else f"when it has ended: beam-curate summarize {place}"
    if one.run.ended is None and one.state != "stopped":
        return f"next: beam-curate summarize {place} writes the summary; the command of the run does what is left"
    return "next: the command of the run, which does what is left" if one.videos.to_do or one.videos.failed else ""
