"""The command `summarize`: the summary of a run whose driver did not write it."""

from __future__ import annotations

import argparse

from beam_curate.cli.command import Commands, add_command
from beam_curate.cli.output import OutputOptions, add_output, opened
from beam_curate.progress import terminal


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "summarize",
        _summarize,
        group=OutputOptions,
        summary="Write the summary of a run that was left to a cluster, or whose driver was killed.",
        description="Writes summary.json, failures.jsonl and v0/all_window_captions.json, and prints the table, of the "
        "last run of an output, from what its workers recorded; the input is not listed again. Videos that its job "
        "lost are recorded as failed, and the command of the run does them again. Exit status: that of the run; 2 for "
        "mistakes, and while the run is at work.",
    )
    add_output(parser)


def _summarize(parsed: argparse.Namespace) -> int:
    from beam_curate.summarize import summarize

    return summarize(opened(parsed), terminal.console())
