"""The command `clean`: removes cached results that are not used any more."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from beam_curate.buckets.base import BucketError
from beam_curate.cli.command import Commands, add_command
from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_DONE
from beam_curate.options.flags import Group, place, same_flag
from beam_curate.options.sources import InputOptions
from beam_curate.progress.terminal import shown

if TYPE_CHECKING:
    from beam_curate.store.base import Store


@dataclasses.dataclass(frozen=True)
class CleanOptions(Group):
    """Access."""

    output_s3_profile_name: str = same_flag(
        InputOptions,
        "output_s3_profile_name",
        "The profile of ~/.aws/credentials (or of the file that COSMOS_S3_PROFILE_PATH names) for an output in s3://.",
    )


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "clean",
        _clean,
        group=CleanOptions,
        summary="Remove cached results of other options, and leftovers.",
        description="Removes cached results that the last run's options do not use, and temporary files and unfinished "
        "uploads left by killed runs. Clips, records and the dataset stay. Do not clean an output while a run is "
        "writing to it. Exit status: 0 done, 1 something could not be removed, 2 mistakes.",
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="An output folder, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."
    )


def _clean(parsed: argparse.Namespace) -> int:
    from beam_curate.store.clean import clean

    cleaned = clean(_opened(parsed.output, parsed.options.output_s3_profile_name))
    for note in cleaned.notes:
        print(f"note: {shown(note)}")
    leftovers = f"; {cleaned.leftovers} leftovers of killed runs removed" if cleaned.leftovers else ""
    print(f"{cleaned.files} files removed; {cleaned.size_bytes / 1e6:.1f} MB freed{leftovers}")
    return EXIT_DONE


def _opened(text: str, profile: str) -> Store:
    from beam_curate.store.open import open_store

    if not text.strip():
        raise UsageError("OUTPUT is empty: name the output to clean")
    try:
        output = open_store(place(text), profile)
        output.check_reachable()
        return output
    except ValueError as error:
        raise UsageError(f"OUTPUT is {text!r}: {error}") from error
    except BucketError as error:
        raise UsageError(str(error)) from error
