"""The file of `--config`: YAML, read as the rules of YAML 1.2 and its reader would have it, or JSON.

Numbers stay texts, which their flags read as they do on the command line: ``010`` is ten and ``1:30`` no number,
whereas YAML 1.1 makes 8 and 90 of them. What a flat file of flags never needs is refused by its line: a name given
twice, tags, and aliases, by which a file of a few lines can stand for one that fills the memory.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from beam_curate.errors import UsageError

LARGEST = 1 << 20
"""Bytes of a file that is read; one with every flag has some thousands."""


def read(path: str) -> Any:
    """Returns what a file holds: mappings, lists, booleans, None and, for all else, texts.

    Raises:
        UsageError: It cannot be read, or is not written as it must be; with the line where there is one.
    """
    text = _text(path)
    try:
        return _json(text) if path.lower().endswith(".json") else yaml.load(text, _Loader)
    except _RefusedError as error:
        raise UsageError(f"{path}{error}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply: names of flags and their values are expected") from error


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is neither YAML nor JSON: {error}") from error
    if len(data) > LARGEST:
        raise UsageError(f"--config {path} has more than {LARGEST:,} bytes: name a file with flags")
    return text


class _RefusedError(Exception):
    """What is wrong with a file, after its name."""


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
    """Makes booleans and None of plain words, and texts of all else."""

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
