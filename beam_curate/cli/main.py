"""The command `beam-curate`, assembled from the modules of its commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from beam_curate.cli import clean, demo, exit_status, image, models, split, status, summarize, verify
from beam_curate.cli.command import show_help
from beam_curate.errors import UsageError
from beam_curate.options.command_line import unknown_flag
from beam_curate.options.flags import by_name, check_values
from beam_curate.options.help import Parser, add_version
from beam_curate.processes import signals


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["split"]:
        return split.main(arguments[1:])  # it also takes flags of Apache Beam, which argparse would refuse
    curates = arguments[:1] == ["demo"]
    return exit_status.run(lambda: _command(arguments), split.how_far if curates else None)


def _command(arguments: list[str]) -> int:
    parsed, unknown = _parser().parse_known_args(arguments)
    known = by_name([parsed.group])
    parsed.options, mistakes = check_values(parsed.group, vars(parsed))
    problems = [unknown_flag(token, known) for token in unknown if token.startswith("-")]
    if problems := [*problems, *mistakes.values()] or [f"{token!r} belongs to no flag" for token in unknown]:
        raise UsageError("\n".join(problems))
    command: Callable[[argparse.Namespace], int] = parsed.command
    return command(parsed)


def _parser() -> Parser:
    parser = Parser(
        prog="beam-curate",
        description="Source videos in, a Cosmos-Predict fine-tuning dataset out. beam-curate COMMAND --help says more. "
        "Without a command this help is shown, with exit status 0.",
    )
    add_version(parser)
    show_help(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("split", help="Curate videos; the same as python -m beam_curate.run.")
    for module in (demo, status, summarize, verify, models, image, clean):
        module.add(commands)
    return parser


def entry() -> NoReturn:
    """Is the console script."""
    signals.end(main())


if __name__ == "__main__":
    entry()
