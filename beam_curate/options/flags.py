"""Groups of flags: frozen dataclasses whose fields have a type, bounds, a unit and a help text.

pydantic checks the values. The groups are plain dataclasses, and pydantic is imported when there is a value to check,
because importing it takes longer than all of `--help`. Every switch has a form that undoes it (``--verbose``,
``--no-verbose``), so that the command line can overrule a file.
"""

from __future__ import annotations

import dataclasses
import os.path
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from beam_curate.buckets.base import scheme_of, split_url

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DAY_S = 86_400
"""Seconds of a day: the longest footage and the longest wait that can be asked for."""

MOST_FRAMES = 10_000_000
"""Frames that can be asked for: a day at 115 frames/s."""

_KEYS = re.compile("://[^/]*[:@].*", re.DOTALL)  # perhaps, in a URL; no message repeats them

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag of a group, as its field declares it.

    Attributes:
        name: The field's name, with underscores.
        kind: bool, int, float or str.
        default: The field's default; None where a function makes it.
        help_text: What it is and when to change it.
        choices: The values it may have; empty for any.
        planned: Values that are known but not supported yet.
        unit: Unit of a number.
        metavar: Stands for the value in ``--help``; by default the choices or a letter.
        shown_default: The default in words, where its value says too little.
        ge: Smallest value.
        gt: The value must be larger than this.
        le: Largest value.
        lt: The value must be smaller than this.
    """

    name: str
    kind: type
    default: Any
    help_text: str
    choices: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    unit: str = ""
    metavar: str = ""
    shown_default: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

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
        """The help text with unit, bounds and default."""
        value = f"{self.default:g}" if isinstance(self.default, float) else self.default
        shown = self.shown_default or ("off" if self.is_switch else value)
        told = "; ".join(filter(None, [self.unit, self.bounds, "" if shown in (None, "") else f"default: {shown}"]))
        return f"{self.help_text} ({told})" if told else self.help_text

    @property
    def value_name(self) -> str:
        """What stands for the value in ``--help``."""
        choices = "{" + ",".join(self.choices) + "}" if self.choices else ""
        return self.metavar or choices or {int: "N", float: "X"}.get(self.kind, "TEXT")

    @property
    def bounds(self) -> str:
        """The values that a number may have, in words."""
        limits = {words: getattr(self, name) for name, words in _BOUNDS.items()}
        return " and ".join(f"{words} {limit:,}" for words, limit in limits.items() if limit is not None)

    def mistake(self, error: ErrorDetails) -> str:
        """Returns what is wrong with a value that pydantic refused, and what to give instead.

        >>> entry = Flag("limit", int, 0, "How many videos.", ge=0)
        >>> entry.mistake({"type": "int_parsing", "loc": ("limit",), "msg": "", "input": "many"})
        "--limit is 'many': give a whole number"
        """
        value, kind = short(_KEYS.sub("://...", str(error["input"]))), error["type"]
        if value in self.planned:
            return f"{self.option} {value} is not supported yet: use {' or '.join(self.choices)}"
        if kind == "literal_error":
            return f"{self.option} is {value!r}: choose {' or '.join(self.choices)}"
        if kind == "finite_number":
            return f"{self.option} is {value}: give a finite number"
        if kind == "value_error":
            return f"{self.option} is {value!r}: {error['ctx']['error']}"
        if "parsing" in kind:
            return f"{self.option} is {value!r}: give a {'whole ' if self.kind is int else ''}number"
        return f"{self.option} is {value}: it must be {self.bounds}" + (f" ({self.unit})" if self.unit else "")


def flag(default: Any, help_text: str, **facts: Any) -> Any:
    """Returns a dataclass field that is a flag.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Tea(Group):
    ...     boil_time: int = flag(3, "How long it boils.", unit="min", ge=1)
    >>> flags_of(Tea)[0].help
    'How long it boils. (min; at least 1; default: 3)'

    Args:
        default: Its default; a function is called each time the default is needed.
        help_text: What it is and when to change it; unit, bounds and default are added.
        **facts: Further attributes of :class:`Flag`. pydantic reads ``ge``, ``gt``, ``le`` and ``lt`` here.
    """
    metadata = {"help_text": help_text, **facts}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def same_flag(group: type[Group], name: str, help_text: str) -> Any:
    """Returns a field with the default, the unit and the bounds of a group's flag, and a help text of its own.

    >>> from beam_curate.options.sources import InputOptions
    >>> limit = same_flag(InputOptions, "limit", "How many of them.")
    >>> limit.default, limit.metadata["unit"]
    (0, 'videos')
    """
    (field,) = (field for field in dataclasses.fields(group) if field.name == name)
    return flag(field.default, **dict(field.metadata) | {"help_text": help_text})


@dataclasses.dataclass(frozen=True)
class Converted:
    """Annotates a type whose values a function makes from texts: pydantic's BeforeValidator without its import."""

    function: Callable[[str], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import BeforeValidator

        return BeforeValidator(self.function).__get_pydantic_core_schema__(source, handler)


def local_path(text: str) -> str:
    """Returns a path on this computer with the home sign resolved; raises ValueError for a URL.

    >>> local_path("footage/day1/")
    'footage/day1/'
    >>> local_path("s3://bucket/day1")
    Traceback (most recent call last):
        ...
    ValueError: give a path on this computer
    """
    if scheme_of(text) == "file":
        raise ValueError("give the path without file://")
    if scheme_of(text):
        raise ValueError("give a path on this computer")
    return os.path.expanduser(text)  # pathlib would drop a trailing slash and fail on ~nobody


def place(text: str) -> str:
    """Returns a path on this computer, or the URL of an object store; raises ValueError for another URL.

    >>> place("S3://bucket/day1")
    's3://bucket/day1'
    >>> place("https://host/day1")
    Traceback (most recent call last):
        ...
    ValueError: give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a path on this computer
    """
    if not scheme_of(text) or scheme_of(text) == "file":
        return local_path(text)
    scheme, bucket, key = split_url(text)
    return f"{scheme}://{bucket}/{key}" if "/" in text[len(scheme) + 3 :] else f"{scheme}://{bucket}"


LocalPath = Annotated[str, Converted(local_path)]
Place = Annotated[str, Converted(place)]


@dataclasses.dataclass(frozen=True)
class Group:
    """Base of the groups of flags. The first line of a group's docstring is its title in ``--help``."""

    __pydantic_config__ = {"allow_inf_nan": False}  # noqa: RUF012 - read by pydantic under this name

    def contradictions(self) -> Iterable[str]:
        """Yields which values contradict each other, one sentence each, with the names of the flags."""
        return ()


AnyGroup = TypeVar("AnyGroup", bound=Group)


def flags_of(group: type[Group]) -> tuple[Flag, ...]:
    """Returns the flags of a group, in the order of its fields.

    >>> from beam_curate.options.dataset import TextOptions
    >>> [known.name for known in flags_of(TextOptions)]
    ['text_encoder', 'text_encoder_dtype']
    """
    hints = typing.get_type_hints(group)
    return tuple(_flag_of(field, hints[field.name]) for field in dataclasses.fields(group))


def _flag_of(field: dataclasses.Field[Any], hint: Any) -> Flag:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):  # X | None
        hint = typing.get_args(hint)[0]
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    kind = hint if hint in (bool, int, float) else str
    default = None if field.default is dataclasses.MISSING else field.default
    return Flag(field.name, kind, default, choices=choices, **field.metadata)


def by_name(groups: Iterable[type[Group]]) -> dict[str, Flag]:
    """Returns every flag by its name with underscores; a switch also by ``no_`` and its name.

    >>> from beam_curate.options.run import RunOptions
    >>> known = by_name([RunOptions])
    >>> known["no_verbose"] is known["verbose"]
    True
    """
    known = {entry.name: entry for group in groups for entry in flags_of(group)}
    return known | {f"no_{entry.name}": entry for entry in known.values() if entry.is_switch}


def check_values(group: type[AnyGroup], values: Mapping[str, Any]) -> tuple[AnyGroup, dict[str, str]]:
    """Makes a group from texts and switches.

    >>> from beam_curate.options.run import RunOptions
    >>> options, mistakes = check_values(RunOptions, {"threads": "0", "dry_run": True})
    >>> options.dry_run, mistakes["threads"]
    (True, '--threads is 0: it must be at least 1 and at most 256 (threads)')

    Args:
        group: The class.
        values: Values by the flags' names; names of other groups are left alone.

    Returns:
        The group, with the default where a value is wrong, and the mistakes by the flags' names.
    """
    from pydantic import TypeAdapter, ValidationError

    known = by_name([group])
    adapter = TypeAdapter(group)
    given = {name: value for name, value in values.items() if name in known}
    try:
        return adapter.validate_python(given), {}
    except ValidationError as error:
        details = error.errors(include_url=False)
    mistakes = {str(detail["loc"][0]): known[str(detail["loc"][0])].mistake(detail) for detail in details}
    sound = {name: value for name, value in given.items() if name not in mistakes}
    return adapter.validate_python(sound), mistakes


def contradictions_without(sentences: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Yields the sentences that name none of some flags: what is wrong with those is told already.

    >>> list(contradictions_without(["--limit contradicts --most", "--crf is odd"], ["limit"]))
    ['--crf is odd']
    """
    options = [dashes(name) for name in names]
    yield from (sentence for sentence in sentences if not any(option in sentence for option in options))


def dashes(name: str) -> str:
    """Returns the dash form of a name with underscores: ``--boil-time`` for ``boil_time``.

    >>> dashes("boil_time")
    '--boil-time'
    """
    return "--" + name.replace("_", "-")


def short(text: str) -> str:
    """Returns a text as messages quote it: not more than 60 characters.

    >>> short("a word"), len(short("a word" * 100))
    ('a word', 60)
    """
    return text if len(text) <= 60 else f"{text[:57]}..."
