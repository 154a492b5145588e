"""The live display: a table on terminals of every kind, lines elsewhere, and a restored terminal."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from beam_curate import counters
from beam_curate.progress import display
from beam_curate.progress.display import Rate, StageRates, live, stage_table, status_line
from beam_curate.progress.stages import progress_of

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
CUTTING = {"videos to do": 12, "shots: begun": 12, "shots: done": 12}
CUTTING |= {"clips found": 4000, "clips: begun": 1100, "clips: done": 1000, "clips: failed": 2}

STAGES = ("shots", "clips", "captions", "text", "windows")


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    counters.reset()
    yield
    counters.reset()


def rates(seconds: float = 10.0) -> StageRates:
    """Rates after 1,000 clips in so many seconds."""
    made = StageRates()
    for now_s, done in ((0.0, 0), (seconds, 1000)):
        made.update(now_s, progress_of(CUTTING | {"clips: done": done}, STAGES))
    return made


def drawn(columns: int, **settings: object) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, force_terminal=True, **settings)  # type: ignore[arg-type]
    console.print(stage_table(10.0, progress_of(CUTTING, STAGES), rates(), columns))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate()
    for second in range(1000):
        rate.update(float(second), 10.0 * second)
    for second in range(1000, 1100):
        rate.update(float(second), 9990.0 + (second - 1000))
    assert rate.per_s(1099.0) == pytest.approx(1.0, rel=0.05)


def test_the_rate_falls_while_nothing_happens_and_is_not_lost() -> None:
    rate = Rate()
    rate.update(0.0, 0.0)
    assert rate.per_s(5.0) == 0.0
    rate.update(10.0, 1.0)
    rate.update(20.0, 2.0)
    for second in range(21, 520):
        rate.update(float(second), 2.0)
    assert rate.per_s(20.0) == pytest.approx(0.1)
    assert 0 < rate.per_s(510.0) < 0.01


def test_the_time_left_is_shown_when_the_total_is_known() -> None:
    cutting = rates()
    clips = progress_of(CUTTING, STAGES)[1]
    assert cutting.time_left(10.0, clips) == "0:00:30"
    assert cutting.rate(10.0, clips) == "100 clips/s"
    unknown = progress_of(CUTTING | {"shots: done": 11}, STAGES)[1]
    assert cutting.time_left(10.0, unknown) == ""
    assert cutting.rate(10.0, unknown) == "100 clips/s"


def test_the_time_left_of_the_run_follows_from_the_finished_share() -> None:
    made = StageRates()
    for now_s, share in ((0.0, 0.0), (30.0, 0.1), (60.0, 0.2)):
        made.update(now_s, (), share)
    assert made.run_left(60.0) == ", 0:04:00 left"
    assert StageRates().run_left(10.0) == ""


def test_a_slow_rate_is_per_minute() -> None:
    assert rates(20000.0).rate(20000.0, progress_of(CUTTING, STAGES)[1]) == "3.0 clips/min"


@pytest.mark.parametrize("columns", [60, 72, 80, 200])
def test_the_table_fits_the_terminal(columns: int) -> None:
    lines = drawn(columns, color_system=None)
    assert len(lines) == 2 + len(STAGES)
    assert max(len(one) for one in lines) <= columns
    (clips,) = [one for one in lines if one.startswith("clips")]
    words = clips.split()
    assert words[1] == "1,000/4,000" and words[-4:] == ["100", "clips/s", "0:00:30", "2"]
    assert any(one.split()[:2] == ["captions", "0/4,000"] for one in lines)


def test_the_variable_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = ("\x1b[3", "\x1b[9", "\x1b[38")
    assert any(colour in one for one in drawn(100, color_system="256") for colour in colours)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any(colour in one for one in drawn(100, color_system="256") for colour in colours)


def test_a_status_line_names_only_the_stages_at_work() -> None:
    said = status_line(10.0, progress_of(CUTTING, STAGES), rates())
    assert said == "0 of 12 videos finished; clips 1,000/4,000, 100 clips/s, 0:00:30 left, 2 failed"


@pytest.mark.parametrize("kind", ["file", "dumb"])
def test_status_lines_without_a_terminal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "PLAIN_INTERVAL_S", 0.0)
    environment = {"TERM": "dumb"} if kind == "dumb" else {}
    console = Console(file=io.StringIO(), width=200, force_terminal=kind == "dumb", _environ=environment)
    counters.set_counts(CUTTING)
    with live(console, STAGES):
        wait_for(console, "videos finished")
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in printed
    assert "0 of 12 videos finished; clips 1,000/4,000, 2 failed" in printed


def test_log_lines_are_printed_above_the_table_and_the_cursor_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    console = Console(file=io.StringIO(), width=80, force_terminal=True, _environ={"TERM": "xterm"})
    counters.set_counts(CUTTING)
    handlers, stderr = logging.getLogger().handlers[:], sys.stderr
    with live(console, STAGES):
        wait_for(console, "1,000/4,000")
        worker_log().warning("a worker has %s to say", "something")
        print("a library as well", file=sys.stderr)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a worker has something to say" in printed and "a library as well" in printed
    assert printed.rindex(SHOW_CURSOR) > printed.rindex(HIDE_CURSOR)
    assert logging.getLogger().handlers == handlers and sys.stderr is stderr
    display.stop()  # once more does no harm
    assert console.file.getvalue() == printed  # type: ignore[attr-defined]


def test_redirected_messages_stay_in_their_file(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, _environ={"TERM": "xterm"})
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        with live(console, STAGES):
            worker_log().warning("for the log")
            print("for the file", file=sys.stderr)
    finally:
        logging.getLogger().removeHandler(handler)
    assert {"for the log", "for the file"} <= set(capsys.readouterr().err.splitlines())


def worker_log() -> logging.Logger:
    """A logger that is enabled, whatever level earlier runs in this process set."""
    logger = logging.getLogger("worker")
    logger.setLevel(logging.INFO)
    return logger


def wait_for(console: Console, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in console.file.getvalue():  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, "nothing was printed"
        time.sleep(0.05)
