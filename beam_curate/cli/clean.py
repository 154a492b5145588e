"""The command `clean`: removes cached results that are not used any more."""

from __future__ import annotations

import argparse

from beam_curate.cli.command import Commands, add_command
from beam_curate.cli.output import OutputOptions, add_output, opened
from beam_curate.exit_codes import EXIT_DONE
from beam_curate.progress.terminal import shown


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "clean",
        _clean,
        group=OutputOptions,
        summary="Remove cached results of other options, and leftovers.",
        description="Removes cached results that the last run's options do not use, and temporary files and unfinished "
        "uploads left by killed runs. Clips, records and the dataset stay. Do not clean an output while a run is "
        "writing to it. Exit status: 0 done, 1 something could not be removed, 2 mistakes.",
    )
    add_output(parser)


def _clean(parsed: argparse.Namespace) -> int:
    from beam_curate.store.clean import clean

    cleaned = clean(opened(parsed))
    for note in cleaned.notes:
        print(f"note: {shown(note)}")
    leftovers = f"; {cleaned.leftovers} leftovers of killed runs removed" if cleaned.leftovers else ""
    print(f"{cleaned.files} files removed; {cleaned.size_bytes / 1e6:.1f} MB freed{leftovers}")
    return EXIT_DONE
