"""The file of `--config`: YAML, read by the rules of YAML 1.2 as people expect, or JSON.

Numbers stay texts, which their flags read as they do on the command line: ``010`` is ten and ``1:30`` is not a number,
whereas YAML 1.1 makes 8 and 90 of them. What a flat file of flags never needs is refused with its line: a name given
twice, tags, and aliases, by which a file of a few lines can expand until memory is full.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from beam_curate.buckets.base import DEFAULT_PROFILE
from beam_curate.buckets.open import read_place
from beam_curate.errors import UsageError
from beam_curate.options.beam_flags import beam_flags
from beam_curate.options.command_line import Arguments, nearest, sort_arguments, suggestion
from beam_curate.options.cosmos_curate import UNSUPPORTED, opposite
from beam_curate.options.flags import Flag, dashes, short

LARGEST = 1 << 20
"""Most bytes of a file that are read; one with every flag has a few thousand."""


def read_config(path: str, known: Mapping[str, Flag], profile: str = DEFAULT_PROFILE) -> Arguments:
    """Returns the arguments that a YAML or JSON file stands for, with what is wrong with them.

    The file holds a mapping from names of our flags (dashes or underscores) to values, or, as cosmos-curate
    has it, ``pipeline: split`` and that mapping under ``args``.

    >>> import tempfile
    >>> from beam_curate.options.flags import by_name
    >>> from beam_curate.options.run import RunOptions
    >>> with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    ...     print("{threads: 4, dry-run: true}", file=file, flush=True)
    ...     read_config(file.name, by_name([RunOptions])).values
    {'threads': '4', 'dry_run': True}

    Args:
        path: The file: a path, or the URL of an object.
        known: Our flags, from :func:`beam_curate.options.flags.by_name`.
        profile: Of the user's AWS files, for one on S3.

    Raises:
        UsageError: If it cannot be read or is not such a file.
    """
    tokens: list[str] = []
    problems: list[str] = []
    doubtful: set[str] = set()
    spellings: dict[str, str] = {}
    for key, value in _entries(path, _text(path, profile)).items():
        name = str(key).replace("-", "_")
        first = spellings.setdefault(known[name].name if name in known else name, str(key))
        if first != str(key):
            problems.append(f"{first} and {key} are the same flag: leave one out")
        try:
            tokens += _tokens(name, value, known)
        except ValueError as error:
            problems.append(str(error))
            if near := name if name in known else nearest(name, known):
                doubtful.add(known[near].name)
    found = sort_arguments(tokens, known)
    found.problems = [f"{path}: {problem}" for problem in (*problems, *found.problems)]
    found.doubtful |= doubtful
    return found


def _entries(path: str, text: str) -> dict[Any, Any]:
    """Returns the mapping from names to values that a file holds."""
    content = _read(path, text)
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


def _tokens(name: str, value: Any, known: Mapping[str, Flag]) -> Iterator[str]:
    """Yields the argument that an entry stands for, if it says anything; raises ValueError."""
    entry = known.get(name) or UNSUPPORTED.get(name)
    if entry is None and f"--{name}" in beam_flags():
        raise ValueError(f"{name} is a flag of Apache Beam: give it on the command line")
    if entry is None:
        raise ValueError(f"unknown key {short(name)}{suggestion(name, nearest(name, known))}")
    if value is None:
        if isinstance(entry, Flag) and entry.default is not None:
            raise ValueError(f"{name} has no value: give one or leave it out")
    elif name == "config":
        raise ValueError("config cannot be given in a config file: leave it out")
    elif entry.is_switch:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {short(repr(value))}: give true or false")
        yield dashes(name if value else opposite(name))
    elif isinstance(value, str):
        yield f"{dashes(name)}={value}"
    else:
        raise ValueError(f"{name} is {short(repr(value))}: give one value, in quotes")


def _read(path: str, text: str) -> Any:
    """Returns what a file holds: mappings, lists, booleans, None and, for all else, texts."""
    try:
        return _json(text) if path.lower().endswith(".json") else yaml.load(text, _Loader)
    except _RefusedError as error:
        raise UsageError(f"{path}{error}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply: names of flags and their values are expected") from error


def _text(path: str, profile: str) -> str:
    try:
        data = read_place(path, profile, LARGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is neither YAML nor JSON: {error}") from error
    if len(data) > LARGEST:
        raise UsageError(f"--config {path} has more than {LARGEST:,} bytes: name a file with flags")
    return text


class _RefusedError(Exception):
    """The problem with a file, to be printed after its name."""


def _json(text: str) -> Any:
    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise _RefusedError(f": {key} is there twice: leave one out")
            found[key] = value
        return found

    return json.loads(text, object_pairs_hook=mapping, parse_int=str, parse_float=str, parse_constant=str)


class _Loader(yaml.SafeLoader):
    """Reads plain words as booleans and None, and everything else as texts."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - of the library, which copies it where one is added

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        where = f", line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise _RefusedError(f"{where}: aliases such as *{event.anchor} are not taken: write the value out")
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(f"{where}: tags such as {event.tag} are not taken: write the value alone")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _RefusedError(f", line {key.start_mark.line + 1}: {key.value} is there twice: leave one out")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
