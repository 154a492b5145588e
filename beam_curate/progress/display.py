"""What a person sees while it runs: a live table on a terminal, a line now and then elsewhere."""

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
from beam_curate.progress.stages import StageProgress, progress_of

REFRESHES_PER_S = 2
PLAIN_INTERVAL_S = 30.0
RATE_WINDOW_S = 60.0
_BAR_FROM_COLUMNS = 72  # on a narrower terminal there is no room for bars

_shown: Live | None = None


class Pace:
    """The rate of a counter over the last minute; of its last change where that is longer ago."""

    def __init__(self) -> None:
        self._changes: collections.deque[tuple[float, float]] = collections.deque()

    def update(self, now_s: float, value: float) -> None:
        """Takes note of the counter at a time."""
        if not self._changes or self._changes[-1][1] != value:
            self._changes.append((now_s, value))
        while len(self._changes) > 2 and self._changes[1][0] <= now_s - RATE_WINDOW_S:
            self._changes.popleft()

    def per_s(self, now_s: float) -> float:
        """Returns the rate per second; 0 while it is not known."""
        if len(self._changes) < 2:
            return 0.0
        (since_s, before), (_, value) = self._changes[0], self._changes[-1]
        return max(0.0, value - before) / (now_s - since_s)


class Paces:
    """How fast each stage is, and how long it will take."""

    def __init__(self) -> None:
        self._counted: dict[str, Pace] = collections.defaultdict(Pace)
        self._positions: dict[str, Pace] = collections.defaultdict(Pace)

    def update(self, now_s: float, stages: Sequence[StageProgress]) -> None:
        """Takes note of the stages at a time; one that has not begun yet has no pace."""
        for stage in stages:
            if stage.begun:
                self._counted[stage.name].update(now_s, _counted(stage))
                self._positions[stage.name].update(now_s, stage.position)

    def rate(self, now_s: float, stage: StageProgress) -> str:
        """Returns what a stage does per second, or per minute where that is little."""
        per_s = self._counted[stage.name].per_s(now_s)
        if stage.complete or not per_s:
            return ""
        unit = stage.unit if stage.frames is None else "frames"
        return f"{per_s:,.{per_s < 100:d}f} {unit}/s" if per_s >= 0.1 else f"{per_s * 60:.1f} {unit}/min"

    def left(self, now_s: float, stage: StageProgress) -> str:
        """Returns the time that a stage still needs, where it can be told."""
        per_s = self._positions[stage.name].per_s(now_s)
        if stage.complete or not stage.total_known or not per_s:
            return ""
        return clock((stage.to_do - stage.position) / per_s)


def _counted(stage: StageProgress) -> float:
    return stage.done if stage.frames is None else stage.frames


def clock(seconds: float) -> str:
    """Formats a time as hours, minutes and seconds."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def table(now_s: float, stages: Sequence[StageProgress], paces: Paces, columns: int) -> Table:
    """Returns the live table: a row a stage."""
    bars = columns >= _BAR_FROM_COLUMNS
    made = Table(box=None, pad_edge=False, expand=bars)
    made.add_column("stage")
    made.add_column("done", justify="right")
    if bars:
        made.add_column("", ratio=1)
    made.add_column("rate", justify="right", min_width=13)
    made.add_column("left", justify="right", min_width=7)
    made.add_column("failed", justify="right")
    for stage in stages:
        bar: list[RenderableType] = [_bar(stage)] if bars else []
        left = "done" if stage.complete else paces.left(now_s, stage)
        failed = Text(f"{stage.failed:,}", style="red") if stage.failed else ""
        made.add_row(stage.name, stage.fraction(), *bar, paces.rate(now_s, stage), left, failed)
    return made


def _bar(stage: StageProgress) -> RenderableType:
    if not stage.total_known:
        return ""
    total = stage.remembered + stage.to_do
    return ProgressBar(total=total or 1, completed=stage.remembered + stage.position if total else 1)


def line(now_s: float, stages: Sequence[StageProgress], paces: Paces) -> str:
    """Returns how far the stages are that are being worked on, for a log."""
    *stages, records = stages
    parts = [f"{records.done:,} of {records.to_do:,} videos finished"]
    for stage in stages:
        if stage.begun and not stage.complete:
            left = paces.left(now_s, stage)
            facts = (paces.rate(now_s, stage), left and f"{left} left", stage.failed and f"{stage.failed:,} failed")
            parts.append(", ".join((f"{stage.name} {stage.fraction()}", *(str(fact) for fact in facts if fact))))
    return "; ".join(parts)


@contextlib.contextmanager
def live(console: Console, stages: Sequence[str]) -> Iterator[None]:
    """Shows how far the run has come while the block lasts.

    Args:
        console: Where; a terminal gets a table that changes, anything else a line every 30 s.
        stages: The stages of the run, in order.
    """
    global _shown
    if not console.is_terminal or console.is_dumb_terminal:
        with _lines(console, stages):
            yield
        return
    above = sys.stderr.isatty()  # else messages and logs go to a file, which is where the user wants them
    _shown = Live(
        get_renderable=_picture(console, stages),
        console=console,
        refresh_per_second=REFRESHES_PER_S,
        transient=True,
        redirect_stderr=above,
    )
    with _logs_above(console) if above else contextlib.nullcontext(), _shown:
        yield


def stop() -> None:
    """Ends the live table, if there is one, and leaves the terminal as it was."""
    if _shown is not None:
        _shown.stop()


@contextlib.contextmanager
def _lines(console: Console, stages: Sequence[str]) -> Iterator[None]:
    start_s, paces = time.monotonic(), Paces()
    next_s = start_s + PLAIN_INTERVAL_S

    def show() -> None:
        nonlocal next_s
        now_s, rows = time.monotonic(), progress_of(counters.counts(), stages)
        paces.update(now_s, rows)
        if now_s >= next_s:
            console.print(f"{clock(now_s - start_s)}  {line(now_s, rows, paces)}")
            next_s += PLAIN_INTERVAL_S

    with every(1.0, show):
        yield


def _picture(console: Console, stages: Sequence[str]) -> Callable[[], RenderableType]:
    start_s, paces = time.monotonic(), Paces()

    def draw() -> RenderableType:
        now_s, rows = time.monotonic(), progress_of(counters.counts(), stages)
        paces.update(now_s, rows)
        head = f"{clock(now_s - start_s)}  {rows[-1].done:,} of {rows[-1].to_do:,} videos finished"
        return Group(Text(head), table(now_s, rows, paces, console.width))

    return draw


@contextlib.contextmanager
def _logs_above(console: Console) -> Iterator[None]:
    """Sends log lines through the console, which puts them above what is live."""
    root = logging.getLogger()
    former = root.handlers[:]
    root.handlers[:] = [RichHandler(console=console, show_path=False, markup=False)]
    try:
        yield
    finally:
        root.handlers[:] = former
