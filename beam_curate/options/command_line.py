"""Sorting of arguments, from the command line or a config file, into ours, Apache Beam's and unknown ones.

Our flags are understood as ``--dash-form`` and as ``--underscore_form``, Beam's only as Beam spells them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from beam_curate.errors import UsageError
from beam_curate.options.cosmos_curate import UNSUPPORTED, beam_flags, nearest, opposite
from beam_curate.options.flags import Flag, dashes, short


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Arguments sorted by whose they are.

    Attributes:
        own: Our flags in dash form, each one string: ``--limit=3``, ``--verbose``.
        beam: Flags of Apache Beam, unchanged, with their values.
        accepted: Names of flags that are not built but ask for what happens anyway.
    """

    own: tuple[str, ...] = ()
    beam: tuple[str, ...] = ()
    accepted: frozenset[str] = frozenset()


def sort_arguments(argv: Sequence[str], known: Mapping[str, Flag]) -> Arguments:
    """Sorts arguments into ours and Apache Beam's.

    Args:
        argv: Arguments without the program's name. What follows a lone ``--`` is Beam's.
        known: Our flags, from :func:`beam_curate.options.flags.by_name`.

    Raises:
        UsageError: For unknown flags, flags that are not built and stray words, all in one message.
    """
    return _Sorter(argv, known).result()


class _Sorter:
    """Walks through arguments once, collecting all that is wrong."""

    def __init__(self, argv: Sequence[str], known: Mapping[str, Flag]) -> None:
        self.rest = list(argv)
        self.known = known
        self.own: list[str] = []
        self.beam: list[str] = []
        self.accepted: set[str] = set()
        self.problems: list[str] = []

    def result(self, prefix: str = "") -> Arguments:
        self.run()
        if self.problems:
            raise UsageError("\n".join(prefix + problem for problem in self.problems))
        return Arguments(tuple(self.own), tuple(self.beam), frozenset(self.accepted))

    def run(self) -> None:
        while self.rest:
            token = self.rest.pop(0)
            option, equals, text = token.partition("=")
            name = option[2:].replace("-", "_")
            value = text if equals else None
            if token == "--":
                self.after_lone_dashes()
            elif not token.startswith("--"):
                self.problems.append(_stray(token))
            elif name in self.known:
                self.take_own(option, name, value)
            elif option in beam_flags():
                self.take_beam(token, option, value)
            elif name in UNSUPPORTED:
                self.take_unsupported(name, value)
            else:
                self.problems.append(f"unknown flag {option}{nearest(name, self.known)}")
                self.following_values()

    def take_own(self, option: str, name: str, value: str | None) -> None:
        known = self.known[name]
        if known.is_switch:
            if value is not None:
                self.problems.append(_switch_with_value(option, value))
            self.own.append(dashes(name))
            return
        if value is None:
            value = self.next_value()
        if not value:
            self.problems.append(f"{option} needs a value: {option} {known.metavar or '...'}")
        else:
            self.own.append(f"{dashes(name)}={value}")

    def take_beam(self, token: str, option: str, value: str | None) -> None:
        self.beam.append(token)
        if value is not None or beam_flags()[option] == "0":
            return
        following = self.next_value()
        if following is not None:
            self.beam.append(following)
        elif beam_flags()[option] == "1":
            self.problems.append(f"{option} (a flag of Apache Beam) needs a value: {option}=...")

    def take_unsupported(self, name: str, value: str | None) -> None:
        entry = UNSUPPORTED[name]
        if value is None and not entry.is_switch:
            value = " ".join(self.following_values())
        problem = entry.refusal(name, value or "")
        if entry.is_switch and value is not None and not problem:
            problem = _switch_with_value(dashes(name), value)
        if problem:
            self.problems.append(problem)
        else:
            self.accepted.add(name)

    def after_lone_dashes(self) -> None:
        for token in self.rest:
            option = token.partition("=")[0]
            if option[2:].replace("-", "_") in self.known and option not in beam_flags():
                self.problems.append(f"{option} stands after --, where only flags for Apache Beam belong: move it")
        self.beam += self.rest
        self.rest = []

    def next_value(self) -> str | None:
        return self.rest.pop(0) if self.rest and not self.rest[0].startswith("--") else None

    def following_values(self) -> list[str]:
        return list(iter(self.next_value, None))


def _switch_with_value(option: str, value: str) -> str:
    return f"{option} is a switch and takes no value: leave out ={value}"


def _stray(token: str) -> str:
    if token.startswith("-"):
        return f"unknown flag {token}: flags begin with two dashes, see --help"
    return f"{token!r} belongs to no flag: quote patterns and paths with spaces, as in 'footage/*.mp4'"


def read_config(path: str, known: Mapping[str, Flag]) -> Arguments:
    """Returns the arguments that a YAML or JSON file stands for.

    The file holds a mapping from names of our flags (dashes or underscores) to values, or, as cosmos-curate
    has it, ``pipeline: split`` and that mapping under ``args``.

    Args:
        path: The file.
        known: Our flags, from :func:`beam_curate.options.flags.by_name`.

    Raises:
        UsageError: If it cannot be read, or for keys and values that are no flags, all in one message.
    """
    sorter = _Sorter([], known)
    spellings: dict[str, str] = {}
    for key, value in _config_entries(path).items():
        name = str(key).replace("-", "_")
        first = spellings.setdefault(known[name].name if name in known else name, str(key))
        if first != str(key):
            sorter.problems.append(f"{first} and {key} are the same flag: leave one out")
        try:
            sorter.rest += _config_tokens(name, value, known)
        except ValueError as error:
            sorter.problems.append(str(error))
    return sorter.result(prefix=f"{path}: ")


def _config_entries(path: str) -> dict[Any, Any]:
    """Reads the file and returns the mapping from names to values."""
    from beam_curate.options import config_file  # here, because most command lines have no file

    content = config_file.read(path)
    if isinstance(content, dict):
        pipeline = content.pop("pipeline", "split")
        if pipeline != "split":
            raise UsageError(f"{path}: pipeline is {short(repr(pipeline))}: only split is supported")
        if "args" in content and len(content) > 1:
            extra = ", ".join(sorted(str(key) for key in content if key != "args"))
            raise UsageError(f"{path}: {extra} beside args: move it below args")
        content = content.get("args", content)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a mapping from flag names to values is expected, such as limit: 10")
    return content


def _config_tokens(name: str, value: Any, known: Mapping[str, Flag]) -> list[str]:
    """Returns the argument that an entry stands for, none where it says nothing; raises ValueError."""
    entry = known.get(name) or UNSUPPORTED.get(name)
    if entry is None and f"--{name}" in beam_flags():
        raise ValueError(f"{name} is a flag of Apache Beam: give it on the command line")
    if entry is None:
        raise ValueError(f"unknown key {short(name)}{nearest(name, known, dashes='')}")
    if value is None:
        if isinstance(entry, Flag) and entry.default is not None:
            raise ValueError(f"{name} has no value: give one or leave it out")
        return []
    if name == "config":
        raise ValueError("config cannot stand in a config file: leave it out")
    if entry.is_switch:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {short(repr(value))}: give true or false")
        return [dashes(name if value else opposite(name))]
    if not isinstance(value, str):
        raise ValueError(f"{name} is {short(repr(value))}: give one value, in quotes")
    return [f"{dashes(name)}={value}"]
