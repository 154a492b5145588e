"""`--help` of every command, made from its groups of flags, in one format."""

from __future__ import annotations

import argparse
import inspect
import textwrap
from typing import Any, NoReturn

from beam_curate import __version__
from beam_curate.errors import UsageError
from beam_curate.options.flags import Flag, Group, dashes, flags_of


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Puts each help text below its flag, at a width that reads well."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=8, width=100)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wraps a description of one line; others are laid out as they are to be shown."""
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return "\n".join(indent + line for line in _wrapped(text, width - len(indent)))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


class Parser(argparse.ArgumentParser):
    """An argument parser with our help format, which raises UsageError instead of leaving the program."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, add_help=False, **settings)
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")

    def error(self, message: str) -> NoReturn:
        """Raises argparse's complaint as UsageError.

        >>> Parser(prog="tea").parse_args(["green"])
        Traceback (most recent call last):
            ...
        beam_curate.errors.UsageError: unrecognized arguments: green; see tea --help
        """
        raise UsageError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def add_version(parser: argparse.ArgumentParser) -> None:
    """Adds ``--version``.

    >>> parser = Parser(prog="tea")
    >>> add_version(parser)
    >>> "--version" in parser.format_help()
    True
    """
    parser.add_argument(
        "--version", action="version", version=f"beam-curate {__version__}", help="Show the version and exit."
    )


def add_groups(parser: argparse.ArgumentParser, *groups: type[Group]) -> None:
    """Adds the flags of groups; the parsed namespace holds only those that were given, as texts and switches.

    >>> from beam_curate.options.dataset import TextOptions
    >>> parser = Parser(prog="curate")
    >>> add_groups(parser, TextOptions)
    >>> vars(parser.parse_args(["--text-encoder", "t5_random"]))
    {'text_encoder': 't5_random'}
    """
    for group in groups:
        title = (inspect.getdoc(group) or group.__name__).splitlines()[0].rstrip(".")
        section = parser.add_argument_group(title)
        for known in flags_of(group):
            _add(section, known)


def _add(section: argparse._ArgumentGroup, known: Flag) -> None:
    common: dict[str, Any] = {"dest": known.name, "default": argparse.SUPPRESS}
    text = known.help.replace("%", "%%")
    if known.is_switch:
        for value, option in ((True, dashes(known.name)), (False, dashes(f"no_{known.name}"))):
            shown = text if option == known.option else argparse.SUPPRESS
            section.add_argument(option, action="store_const", const=value, help=shown, **common)
    else:
        section.add_argument(known.option, metavar=known.value_name, help=text, **common)
