"""Command line flags made from frozen dataclasses.

A group of flags is a frozen dataclass derived from :class:`Group`; its fields come from :func:`flag`, and the
first line of its docstring is its title in ``--help``. Every switch has a form that undoes it (``--verbose``,
``--no-verbose``), so that the command line can overrule a file.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import math
import operator
import os.path
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from beam_curate.errors import UsageError

DAY_S = 86_400
"""Seconds of a day: the longest length of footage and the longest wait that can be asked for."""

MOST_FRAMES = 10_000_000
"""Frames that can be asked for: a day at 115 frames/s."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag of a group.

    Attributes:
        help_text: What it is and when to change it.
        choices: The values it may have; empty for any.
        planned: Values that are known but not built yet.
        unit: Unit of a number.
        metavar: Stands for the value in ``--help``.
        shown_default: The default in words, where its value says too little.
        minimum: Smallest value.
        maximum: Largest value.
        above: The value must be larger than this.
        below: The value must be smaller than this.
        is_path: Whether the value is a path on this computer.
        convert: Makes the value from the text; raises ValueError with what to give instead.
        name: The field's name, with underscores.
        kind: bool, int, float or str.
        default: The field's default; None where a function makes it.
    """

    help_text: str
    choices: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    unit: str = ""
    metavar: str = ""
    shown_default: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    is_path: bool = False
    convert: Callable[[str], Any] | None = None
    name: str = ""
    kind: type = str
    default: Any = None

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return self.kind is bool

    @property
    def option(self) -> str:
        """The form in ``--help``: a switch that is on by default is shown by what turns it off."""
        return dashes(f"no_{self.name}" if self.default is True else self.name)

    @property
    def help(self) -> str:
        """The help text with unit and default."""
        value = "off" if self.is_switch else "none" if self.default is None else self.default
        default = f"default: {self.shown_default or (f'{value:g}' if isinstance(value, float) else value)}"
        facts = (self.unit, self.bounds if self.is_number else "", default)
        return f"{self.help_text} ({'; '.join(filter(None, facts))})"

    @property
    def is_number(self) -> bool:
        """Whether its value is a number."""
        return self.kind in (int, float)

    @property
    def bounds(self) -> str:
        """The values that a number may have, in words."""
        return " and ".join(f"{word} {limit:,}" for limit, word, _ in self._limits())

    def _limits(self) -> list[tuple[float, str, Callable[[Any, Any], bool]]]:
        limits = (
            (self.minimum, "at least", operator.ge),
            (self.above, "above", operator.gt),
            (self.maximum, "at most", operator.le),
            (self.below, "below", operator.lt),
        )
        return [(limit, word, holds) for limit, word, holds in limits if limit is not None]

    def read(self, text: str) -> Any:
        """Returns the value that a text on the command line means; raises UsageError."""
        try:
            if self.is_path:
                return _local_path(text)
            return self.convert(text) if self.convert else self.kind(text)
        except ValueError as error:
            wanted = {int: "give a whole number", float: "give a number"}.get(self.kind, str(error))
            raise UsageError(f"{self.option} is {short(text)!r}: {wanted}") from error

    def problem(self, value: Any) -> str | None:
        """Returns what is wrong with a value and how to mend it, or None."""
        if value is None:
            return None
        if value in self.planned:
            return f"{self.option} {value} is not supported yet: use {' or '.join(self.choices)}"
        if self.choices and value not in self.choices:
            return f"{self.option} is {value!r}: choose {' or '.join(self.choices)}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{self.option} is {value}: give a finite number"
        if all(holds(value, limit) for limit, _, holds in self._limits()):
            return None
        return f"{self.option} is {short(str(value))}: it must be {self.bounds}" + (
            f" ({self.unit})" if self.unit else ""
        )

    def checked(self, text: str) -> Any:
        """Returns the value that a text means, for a parser whose flags are no group; raises UsageError."""
        value = self.read(text)
        if problem := self.problem(value):
            raise UsageError(problem)
        return value


def flag(default: Any, help_text: str, **facts: Any) -> Any:
    """Returns a dataclass field that is a flag.

    Args:
        default: Its default; a function is called each time the default is needed.
        help_text: What it is and when to change it; unit and default are added.
        **facts: Further attributes of :class:`Flag`, such as ``choices`` or ``minimum``.
    """
    metadata = {"flag": Flag(help_text, **facts)}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def dashes(name: str) -> str:
    """Returns the dash form of a name with underscores: ``--boil-time`` for ``boil_time``."""
    return "--" + name.replace("_", "-")


def short(text: str) -> str:
    """Returns a text as messages quote it: not more than 60 characters."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _local_path(text: str) -> str:
    if re.match(r"(?i)file://", text):
        raise ValueError("give the path without file://")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise ValueError("remote paths are not supported yet: copy to a local folder or mount it")
    return os.path.expanduser(text)  # pathlib would drop a trailing slash and fail on ~nobody


@dataclasses.dataclass(frozen=True)
class Group:
    """Base of the groups of flags."""

    def contradictions(self) -> Iterable[str]:
        """Yields which values cannot be meant together, one sentence each."""
        return ()


def flags_of(group: type[Group]) -> tuple[Flag, ...]:
    """Returns the flags of a group, in the order of its fields."""
    hints = typing.get_type_hints(group)
    found = []
    for field in dataclasses.fields(group):
        hint = hints[field.name]
        if isinstance(hint, types.UnionType):
            hint = typing.get_args(hint)[0]
        default = None if field.default is dataclasses.MISSING else field.default
        kind = hint if hint in (bool, int, float) else str
        spec = field.metadata["flag"]
        found.append(dataclasses.replace(spec, name=field.name, kind=kind, default=default))
    return tuple(found)


def problems_of(group: Group) -> list[str]:
    """Returns what is wrong with the values of a group, one sentence each."""
    problems = (known.problem(getattr(group, known.name)) for known in flags_of(type(group)))
    return [*filter(None, problems), *group.contradictions()]


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError instead of leaving the program."""

    def error(self, message: str) -> NoReturn:
        """Raises argparse's complaint as UsageError."""
        raise UsageError(message.removeprefix("argument "))


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Puts each help text below its flag, at a width that reads well."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=8, width=100)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def add_group(parser: argparse.ArgumentParser, group: type[Group]) -> None:
    """Adds the flags of a group; the parsed namespace holds only those that were given."""
    title = (inspect.getdoc(group) or group.__name__).splitlines()[0].rstrip(".")
    section = parser.add_argument_group(title)
    for known in flags_of(group):
        common: dict[str, Any] = {"dest": known.name, "default": argparse.SUPPRESS}
        text = known.help.replace("%", "%%")
        if known.is_switch:
            for value, option in ((True, dashes(known.name)), (False, dashes(f"no_{known.name}"))):
                shown = text if option == known.option else argparse.SUPPRESS
                section.add_argument(option, action="store_const", const=value, help=shown, **common)
        else:
            letter = {int: "N", float: "X"}.get(known.kind, "PATH" if known.is_path else "TEXT")
            choices = "{" + ",".join(known.choices) + "}" if known.choices else ""
            metavar = known.metavar or choices or letter
            section.add_argument(known.option, type=known.read, metavar=metavar, help=text, **common)


def by_name(groups: Iterable[type[Group]]) -> dict[str, Flag]:
    """Returns every flag by its name with underscores; a switch also by ``no_`` and its name."""
    known = {entry.name: entry for group in groups for entry in flags_of(group)}
    return known | {f"no_{entry.name}": entry for entry in known.values() if entry.is_switch}
