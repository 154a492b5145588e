"""Sorting of arguments, from the command line or a config file, into ours, Apache Beam's and unknown ones.

Our flags are understood as ``--dash-form`` and as ``--underscore_form``, Beam's only as Beam spells them.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

from beam_curate.options.beam_flags import beam_flags
from beam_curate.options.cosmos_curate import UNSUPPORTED
from beam_curate.options.flags import Flag, dashes

_SYNONYMS = {"workers": "threads", "num_workers": "threads", "jobs": "threads"}


@dataclasses.dataclass
class Arguments:
    """Arguments sorted by whose they are, and what is wrong with them.

    Attributes:
        values: Values of our flags by name: texts, and True or False for switches.
        beam: Flags of Apache Beam, unchanged, with their values.
        accepted: Names of unsupported flags that ask for what happens anyway.
        problems: Unknown flags, unsupported flags, missing values and stray words, a sentence each.
        doubtful: Names of our flags that the problems are about, or that unknown flags may mean.
    """

    values: dict[str, str | bool] = dataclasses.field(default_factory=dict)
    beam: list[str] = dataclasses.field(default_factory=list)
    accepted: set[str] = dataclasses.field(default_factory=set)
    problems: list[str] = dataclasses.field(default_factory=list)
    doubtful: set[str] = dataclasses.field(default_factory=set)


def sort_arguments(argv: Sequence[str], known: Mapping[str, Flag]) -> Arguments:
    """Sorts arguments into ours and Apache Beam's.

    >>> from beam_curate.options.flags import by_name
    >>> from beam_curate.options.run import RunOptions
    >>> found = sort_arguments(["--dry_run", "--threads", "4", "--region=eu"], by_name([RunOptions]))
    >>> found.values, found.beam
    ({'dry_run': True, 'threads': '4'}, ['--region=eu'])

    Args:
        argv: Arguments without the program's name. Those after a lone ``--`` are Beam's.
        known: Our flags, from :func:`beam_curate.options.flags.by_name`.
    """
    sorter = _Sorter(argv, known)
    sorter.run()
    return sorter.found


class _Sorter:
    """Walks through arguments once."""

    def __init__(self, argv: Sequence[str], known: Mapping[str, Flag]) -> None:
        self.rest = list(argv)
        self.known = known
        self.found = Arguments()

    def run(self) -> None:
        while self.rest:
            token = self.rest.pop(0)
            option, equals, text = token.partition("=")
            name = option[2:].replace("-", "_")
            value = text if equals else None
            if token == "--":
                self.after_lone_dashes()
            elif not token.startswith("--"):
                self.found.problems.append(_stray(token))
            elif name in self.known:
                self.take_own(option, name, value)
            elif option in beam_flags():
                self.take_beam(token, option, value)
            elif name in UNSUPPORTED:
                self.take_unsupported(name, value)
            else:
                self.take_unknown(option, name)

    def take_own(self, option: str, name: str, value: str | None) -> None:
        flag = self.known[name]
        if flag.is_switch:
            if value is not None:
                self.found.problems.append(_switch_with_value(option, value))
            self.found.values[flag.name] = name == flag.name
            return
        if value is None:
            value = self.next_value()
        if value:
            self.found.values[flag.name] = value
        else:
            empty = "" if value is None else " and got an empty text"
            self.found.problems.append(f"{option} needs a value{empty}: {option} {flag.value_name}")
            self.found.doubtful.add(flag.name)

    def take_beam(self, token: str, option: str, value: str | None) -> None:
        self.found.beam.append(token)
        if value is not None or beam_flags()[option] == "0":
            return
        following = self.next_value()
        if following is not None:
            self.found.beam.append(following)
        elif beam_flags()[option] == "1":
            self.found.problems.append(f"{option} (a flag of Apache Beam) needs a value: {option}=...")

    def take_unsupported(self, name: str, value: str | None) -> None:
        entry = UNSUPPORTED[name]
        if value is None and not entry.is_switch:
            value = " ".join(self.following_values())
        problem = entry.refusal(name, value or "")
        if entry.is_switch and value is not None and not problem:
            problem = _switch_with_value(dashes(name), value)
        if problem:
            self.found.problems.append(problem)
        else:
            self.found.accepted.add(name)

    def take_unknown(self, option: str, name: str) -> None:
        if near := nearest(name, self.known):
            self.found.doubtful.add(self.known[near].name)
        self.found.problems.append(f"unknown flag {option}{suggestion(name, dashes(near) if near else '')}")
        self.following_values()

    def after_lone_dashes(self) -> None:
        for token in self.rest:
            option = token.partition("=")[0]
            if option[2:].replace("-", "_") in self.known and option not in beam_flags():
                self.found.problems.append(
                    f"{option} stands after --, where only flags for Apache Beam belong: move it"
                )
        self.found.beam += self.rest
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


def nearest(name: str, known: Mapping[str, Flag]) -> str:
    """Returns our flag that an unknown name may mean, or an empty text; all names have underscores.

    >>> nearest("thread", {"threads": Flag("threads", int, None, "How many.")})
    'threads'
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    if near:
        return near[0]
    return _SYNONYMS[name] if _SYNONYMS.get(name) in known else ""


def unknown_flag(token: str, known: Mapping[str, Flag]) -> str:
    """Returns the message about an unknown flag of a command that takes none of Beam's.

    >>> unknown_flag("--thread=2", {"threads": Flag("threads", int, None, "How many.")})
    'unknown flag --thread; did you mean --threads?'
    """
    option = token.partition("=")[0]
    near = nearest(option.lstrip("-").replace("-", "_"), known)
    return f"unknown flag {option}" + (f"; did you mean {dashes(near)}?" if near else "; --help lists all flags")


def suggestion(name: str, near: str) -> str:
    """Returns the end of a message about an unknown name: the flag that it may mean, ours or Beam's, else ``--help``.

    >>> suggestion("thread", "--threads")
    '; did you mean --threads?'
    >>> suggestion("zzz", "")
    '; --help lists all flags'

    Args:
        name: The unknown name, with underscores.
        near: Our flag that it may mean, as it is written there; empty for none.
    """
    if near:
        return f"; did you mean {near}?"
    beam = difflib.get_close_matches(f"--{name}", list(beam_flags()), n=1, cutoff=0.8)
    return f"; did you mean Apache Beam's {beam[0]}?" if beam else "; --help lists all flags"
