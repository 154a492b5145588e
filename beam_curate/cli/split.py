"""The command `split`, also as `python -m beam_curate.run`: curates videos.

Flags are parsed, and mistakes answered, before anything heavy is imported; so is the same command again on an input and
an output where nothing has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from beam_curate.cli import exit_status
from beam_curate.options.parse import Parsed, flag_lines, parse

if TYPE_CHECKING:
    from beam_curate.report.former import FormerReport, Seen


def main(argv: Sequence[str], prog: str = "beam-curate split") -> int:
    """Runs the command; returns its exit status."""
    return exit_status.run(lambda: _run(argv, prog), how_far)


def _run(argv: Sequence[str], prog: str) -> int:
    parsed = parse(argv, prog=prog)
    seen, report = _unchanged(parsed)
    if seen is not None and report is not None:
        return _say_again(parsed, seen, report)
    from beam_curate.curate import curate
    from beam_curate.plan.plan import make_plan

    return curate(make_plan(parsed), seen)


def _unchanged(parsed: Parsed) -> tuple[Seen | None, FormerReport | None]:
    """Returns the report of a former run with nothing to do, where this one has nothing to do either.

    Input and output are listed only where there is such a report; they are returned in any case.
    """
    from beam_curate.report import former
    from beam_curate.sources.listing import list_videos
    from beam_curate.store.open import open_store
    from beam_curate.store.recorded import Recorded

    given, flags = parsed.options.input, flag_lines(parsed.options)
    output = open_store(given.output_clip_path, given.output_s3_profile_name)
    try:
        output.check_reachable()
        report = former.read(output)
        if report is None or given.limit:  # with a limit, not all of a bucket is listed
            return None, None
        paths, extensions = (given.input_video_path, given.input_video_list_json_path), given.input_extensions
        listing = list_videos(*paths, frozenset(extensions), output.location(), given.input_s3_profile_name)
        seen = former.Seen(listing, Recorded(output))
    except OSError:  # it will fail again where it is told
        return None, None
    return seen, report if report.state == seen.state(flags) else None


def _say_again(parsed: Parsed, seen: Seen, report: FormerReport) -> int:
    from beam_curate.progress import terminal
    from beam_curate.report import former

    console = terminal.console()
    console.print(former.heading(parsed.notes, seen.listing, len(seen.listing.videos), 0))
    console.print(former.NOTHING_TO_DO)
    console.print(report.text, end="")
    return report.status


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
