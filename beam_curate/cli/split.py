"""The command `split`, also as `python -m beam_curate.run`: options, checks, pipeline, runner, report.

Flags are parsed, and mistakes answered, before anything heavy is imported.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from beam_curate.cli import exit_status
from beam_curate.options.parse import parse
from beam_curate.processes import signals


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit status."""
    _drop_working_directory()
    with signals.answered(_farewell):
        return exit_status.status_of(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(arguments: list[str]) -> int:
    parsed = parse(arguments)
    from beam_curate.cli.demo import run_demo
    from beam_curate.curate import curate

    return run_demo(parsed) if parsed.options.input.is_demo else curate(parsed)


def _farewell(number: signal.Signals) -> None:
    from beam_curate import counters
    from beam_curate.progress import display
    from beam_curate.progress.stages import how_far

    display.stop()
    word = "Interrupted" if number == signal.SIGINT else f"Stopped by {number.name}"
    print(f"\n{word}. {how_far(counters.counts())}")
    print("What is finished is kept; the same command goes on from there.", flush=True)


def _drop_working_directory() -> None:
    """`python -m` looks for modules in the working directory first, where a user may have own `transforms`."""
    ours = Path(__file__).resolve().parents[2]
    if sys.path and sys.path[0] in ("", str(Path.cwd())) and Path.cwd().resolve() != ours:
        del sys.path[0]
