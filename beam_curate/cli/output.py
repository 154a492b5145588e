"""The output that a command works on, as its user names it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from beam_curate.buckets.base import BucketError
from beam_curate.errors import UsageError
from beam_curate.options.flags import Group, place, same_flag
from beam_curate.options.help import Parser
from beam_curate.options.sources import InputOptions

if TYPE_CHECKING:
    from beam_curate.store.base import Store


@dataclasses.dataclass(frozen=True)
class OutputOptions(Group):
    """Access."""

    output_s3_profile_name: str = same_flag(
        InputOptions,
        "output_s3_profile_name",
        "The profile of ~/.aws/credentials (or of the file that COSMOS_S3_PROFILE_PATH names) for an output in s3://.",
    )


def add_output(parser: Parser) -> None:
    """Adds the argument that names the output.

    >>> parser = Parser(prog="tea")
    >>> add_output(parser)
    >>> parser.parse_args(["curated/"]).output
    'curated/'
    """
    parser.add_argument(
        "output", metavar="OUTPUT", help="An output folder, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."
    )


def opened(parsed: argparse.Namespace) -> Store:
    """Returns the output that a command line names.

    >>> opened(argparse.Namespace(output="curated/", options=OutputOptions())).location().endswith("/curated")
    True

    Raises:
        UsageError: It names none, or the storage does not answer.
    """
    from beam_curate.store.open import open_store

    text: str = parsed.output
    options: OutputOptions = parsed.options
    if not text.strip():
        raise UsageError("OUTPUT is empty: name the output")
    try:
        output = open_store(place(text), options.output_s3_profile_name)
        output.check_reachable()
        return output
    except ValueError as error:
        raise UsageError(f"OUTPUT is {text!r}: {error}") from error
    except BucketError as error:
        raise UsageError(str(error)) from error
