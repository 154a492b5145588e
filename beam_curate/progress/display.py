"""Live progress: a table on a terminal, a line every 30 seconds elsewhere."""

from __future__ import annotations

import collections
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.logging import RichHandler
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from beam_curate import counters
from beam_curate.progress.periodic import every
from beam_curate.progress.stages import StageProgress, progress_of, share_finished

REFRESHES_PER_S = 2
PLAIN_INTERVAL_S = 30.0
RATE_WINDOW_S = 60.0
_RUN_WINDOW_S = 600.0  # whole chunks are finished, minutes apart
_BAR_FROM_COLUMNS = 72  # a narrower terminal has no room for bars

_live: Live | None = None


class Rate:
    """The rate of a counter over the last seconds, or since its last change if that is longer ago.

    >>> rate = Rate()
    >>> rate.update(0.0, 0)
    >>> rate.update(10.0, 50)
    >>> rate.per_s(10.0)
    5.0

    Args:
        window_s: How far it looks back, in s.
    """

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._changes: collections.deque[tuple[float, float]] = collections.deque()

    def update(self, now_s: float, value: float) -> None:
        """Records the counter's value at a time."""
        if not self._changes or self._changes[-1][1] != value:
            self._changes.append((now_s, value))
        while len(self._changes) > 2 and self._changes[1][0] <= now_s - self._window_s:
            self._changes.popleft()

    def per_s(self, now_s: float) -> float:
        """Returns the rate per second; 0 while it is unknown."""
        if len(self._changes) < 2:
            return 0.0
        (since_s, before), (_, value) = self._changes[0], self._changes[-1]
        return max(0.0, value - before) / (now_s - since_s)


class StageRates:
    """The rate of each stage, and the time that it and the whole run still need.

    >>> rates = StageRates()
    >>> for now_s, done in ((0.0, 0), (10.0, 50)):
    ...     stage = StageProgress("clips", "clips", 100, True, begun=100, done=done, position=done)
    ...     rates.update(now_s, [stage])
    >>> rates.rate(10.0, stage), rates.time_left(10.0, stage)
    ('5.0 clips/s', '0:00:10')
    """

    def __init__(self) -> None:
        self._counted: dict[str, Rate] = collections.defaultdict(Rate)
        self._positions: dict[str, Rate] = collections.defaultdict(Rate)
        self._run = Rate(_RUN_WINDOW_S)
        self._share = 0.0

    def update(self, now_s: float, stages: Sequence[StageProgress], share: float = 0.0) -> None:
        """Records the progress of the stages and the finished share of the run; without a beginning, no rate."""
        self._share = share
        self._run.update(now_s, share)
        for stage in stages:
            if stage.begun:
                self._counted[stage.name].update(now_s, _counted(stage))
                self._positions[stage.name].update(now_s, stage.position)

    def rate(self, now_s: float, stage: StageProgress) -> str:
        """Formats a stage's rate per second, or per minute if that is below 0.1."""
        per_s = self._counted[stage.name].per_s(now_s)
        if stage.complete or not per_s:
            return ""
        unit = stage.unit if stage.frames is None else "frames"
        return f"{per_s:,.{per_s < 100:d}f} {unit}/s" if per_s >= 0.1 else f"{per_s * 60:.1f} {unit}/min"

    def time_left(self, now_s: float, stage: StageProgress) -> str:
        """Formats the time that a stage still needs; empty while that is unknown."""
        per_s = self._positions[stage.name].per_s(now_s)
        if stage.complete or not stage.total_known or not per_s:
            return ""
        return format_duration(max(0.0, stage.total - stage.cached - stage.position) / per_s)

    def run_left(self, now_s: float) -> str:
        """Formats the time that the run still needs; empty while that is unknown."""
        per_s = self._run.per_s(now_s)
        return f", {format_duration((1 - self._share) / per_s)} left" if per_s else ""


def _counted(stage: StageProgress) -> float:
    return stage.done if stage.frames is None else stage.frames


def format_duration(seconds: float) -> str:
    """Formats a duration as hours, minutes and seconds.

    >>> format_duration(3725.4)
    '1:02:05'
    """
    total = int(seconds)
    return f"{total // 3600}:{total // 60 % 60:02}:{total % 60:02}"


def stage_table(now_s: float, stages: Sequence[StageProgress], rates: StageRates, columns: int) -> Table:
    """Returns the live table, one row per stage.

    >>> stages = progress_of({"videos to do": 2}, ["shots", "clips"])
    >>> stage_table(0.0, stages, StageRates(), columns=80).row_count
    3
    """
    bars = columns >= _BAR_FROM_COLUMNS
    rows = Table(box=None, pad_edge=False, expand=bars)
    rows.add_column("stage")
    rows.add_column("done", justify="right")
    if bars:
        rows.add_column("", ratio=1)
    rows.add_column("rate", justify="right", min_width=13)
    rows.add_column("left", justify="right", min_width=7)
    rows.add_column("failed", justify="right")
    for stage in stages:
        bar: list[RenderableType] = [_bar(stage)] if bars else []
        left = "done" if stage.complete else rates.time_left(now_s, stage)
        failed = Text(f"{stage.failed:,}", style="red") if stage.failed else ""
        rows.add_row(stage.name, stage.fraction(), *bar, rates.rate(now_s, stage), left, failed)
    return rows


def _bar(stage: StageProgress) -> RenderableType:
    if not stage.total_known:
        return ""
    return ProgressBar(total=stage.total or 1, completed=stage.cached + stage.position if stage.total else 1)


def status_line(now_s: float, stages: Sequence[StageProgress], rates: StageRates) -> str:
    """Returns the progress of the stages at work as one line, for logs.

    >>> counts = {"videos to do": 2, "shots: begun": 1, "shots: done": 1}
    >>> status_line(0.0, progress_of(counts, ["shots"]), StageRates())
    '0 of 2 videos finished; shots 1/2'
    """
    *stages, records = stages
    parts = [f"{records.done:,} of {records.total:,} videos finished{rates.run_left(now_s)}"]
    for stage in stages:
        if stage.begun and not stage.complete:
            left = rates.time_left(now_s, stage)
            facts = (rates.rate(now_s, stage), left and f"{left} left", stage.failed and f"{stage.failed:,} failed")
            parts.append(", ".join((f"{stage.name} {stage.fraction()}", *(str(fact) for fact in facts if fact))))
    return "; ".join(parts)


@contextlib.contextmanager
def live(console: Console, stages: Sequence[str]) -> Iterator[None]:
    """Shows the progress of a run while the block runs.

    >>> import io
    >>> with live(Console(file=io.StringIO()), ["shots", "clips"]):
    ...     print("at work")
    at work

    Args:
        console: The console; a terminal gets a live table, anything else a line every 30 s.
        stages: Names of the stages of the run, in order.
    """
    global _live
    if not console.is_terminal or console.is_dumb_terminal:
        with _plain_lines(console, stages):
            yield
        return
    route_stderr = sys.stderr.isatty()  # otherwise the user has redirected messages and logs to a file
    _live = Live(
        get_renderable=_renderable(console, stages),
        console=console,
        refresh_per_second=REFRESHES_PER_S,
        transient=True,
        redirect_stderr=route_stderr,
    )
    with _logs_above(console) if route_stderr else contextlib.nullcontext(), _live:
        yield


def stop() -> None:
    """Removes the live table, if there is one, and restores the terminal."""
    if _live is not None:
        _live.stop()


@contextlib.contextmanager
def _plain_lines(console: Console, stages: Sequence[str]) -> Iterator[None]:
    start_s, rates = time.monotonic(), StageRates()
    next_s = start_s + PLAIN_INTERVAL_S

    def show() -> None:
        nonlocal next_s
        now_s, counts = time.monotonic(), counters.counts()
        rows = progress_of(counts, stages)
        rates.update(now_s, rows, share_finished(counts))
        if now_s >= next_s:
            console.print(f"{format_duration(now_s - start_s)}  {status_line(now_s, rows, rates)}")
            next_s += PLAIN_INTERVAL_S

    with every(1.0, show):
        yield


def _renderable(console: Console, stages: Sequence[str]) -> Callable[[], RenderableType]:
    start_s, rates = time.monotonic(), StageRates()

    def render() -> RenderableType:
        now_s, counts = time.monotonic(), counters.counts()
        rows = progress_of(counts, stages)
        rates.update(now_s, rows, share_finished(counts))
        finished = f"{rows[-1].done:,} of {rows[-1].total:,} videos finished{rates.run_left(now_s)}"
        head = f"{format_duration(now_s - start_s)}  {finished}"
        return Group(Text(head), stage_table(now_s, rows, rates, console.width))

    return render


@contextlib.contextmanager
def _logs_above(console: Console) -> Iterator[None]:
    """Routes log lines through the console, which prints them above the live table."""
    root = logging.getLogger()
    former = root.handlers[:]
    root.handlers[:] = [RichHandler(console=console, show_path=False, markup=False)]
    try:
        yield
    finally:
        root.handlers[:] = former
