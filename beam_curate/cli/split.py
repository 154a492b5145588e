"""The command `split`, also as `python -m beam_curate.run`: curates videos.

Flags are parsed, and mistakes answered, before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Sequence

from beam_curate.cli import exit_status
from beam_curate.options.parse import parse


def main(argv: Sequence[str], prog: str = "beam-curate split") -> int:
    """Runs the command; returns its exit status."""
    return exit_status.run(lambda: _run(argv, prog), how_far)


def _run(argv: Sequence[str], prog: str) -> int:
    parsed = parse(argv, prog=prog)
    from beam_curate.curate import curate
    from beam_curate.plan.plan import make_plan

    return curate(make_plan(parsed))


def how_far() -> str:
    """Takes the live table from the terminal; says in one line what this process has curated.

    >>> from beam_curate import counters
    >>> counters.reset()
    >>> how_far()
    'No video had been started.'
    """
    from beam_curate import counters
    from beam_curate.progress import display, stages

    display.stop()
    return stages.progress_sentence(counters.counts())
