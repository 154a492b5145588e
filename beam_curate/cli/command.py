"""How a module of this package adds its command to `beam-curate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

from beam_curate.exit_codes import EXIT_DONE
from beam_curate.options.flags import Group
from beam_curate.options.help import Parser, add_groups

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The commands of a parser."""


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str,
    group: type[Group] = Group,
) -> Parser:
    """Adds a command.

    >>> parser = Parser(prog="tea")
    >>> commands = parser.add_subparsers()
    >>> _ = add_command(commands, "boil", lambda _: EXIT_DONE, summary="Boil.", description="Boil water.")
    >>> arguments = parser.parse_args(["boil"])
    >>> arguments.command(arguments)
    0

    Args:
        commands: Where to add it.
        name: What its user types.
        run: Runs the command and returns its exit status. The parsed arguments' ``options`` are the group.
        summary: What it does, for the list of commands.
        description: What it does, for its own help.
        group: Its flags.

    Returns:
        The command's parser, for arguments that are not flags of the group.
    """
    parser = commands.add_parser(name, help=summary, description=description)
    parser.set_defaults(command=run, group=group)
    add_groups(parser, group)
    return parser


def show_help(parser: Parser) -> None:
    """Makes a parser with commands of its own print its help when it is given none of them.

    >>> parser = Parser(prog="tea")
    >>> show_help(parser)
    >>> arguments = parser.parse_args([])
    >>> arguments.command(arguments)
    usage: tea [-h]
    ...
    0
    """

    def run(_: argparse.Namespace) -> int:
        parser.print_help()
        return EXIT_DONE

    parser.set_defaults(command=run, group=Group)
