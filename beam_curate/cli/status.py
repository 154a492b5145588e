"""The command `status`: how far a run is, from any terminal that sees its output."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex

from beam_curate.cli.command import Commands, add_command
from beam_curate.cli.output import OutputOptions, add_output, opened
from beam_curate.exit_codes import EXIT_DONE
from beam_curate.options.flags import flag
from beam_curate.progress import terminal


@dataclasses.dataclass(frozen=True)
class StatusOptions(OutputOptions):
    """Access and form."""

    json: bool = flag(False, "Print JSON, for scripts.")


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "status",
        _status,
        group=StatusOptions,
        summary="Show how far a run is, also one that was left to a cluster.",
        description="Shows how far the last run of an output is, on any runner and from any computer that can read the "
        "output: whether it is at work, how many of its videos are done, and its stages with rates since it began. "
        "Nothing is written. Exit status: 0 shown, 1 the output could not be read, 2 mistakes.",
    )
    add_output(parser)


def _status(parsed: argparse.Namespace) -> int:
    from beam_curate.follow import status
    from beam_curate.report.standing import print_standing

    options: StatusOptions = parsed.options
    found = status(opened(parsed))
    if options.json:
        print(json.dumps({"state": "none"} if found is None else found.as_json(), indent=4))
    elif found is None:
        print("no run is recorded here")
    else:
        print_standing(terminal.console(), found, shlex.quote(parsed.output))
    return EXIT_DONE
