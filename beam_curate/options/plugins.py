"""Flags of filters that are not part of this program: a class that ``--filter-plugin`` names, and its fields."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from beam_curate.errors import UsageError
from beam_curate.options.flags import Flag, Group, dashes, flag

ENTRY_POINTS = "beam_curate.filters"
"""The group of entry points by which an installed package names its filters."""

_MODES = Literal["enable", "score-only", "disable"]
_OWN = "rejects"  # the field that every filter has, and that the mode sets


@dataclasses.dataclass(frozen=True)
class PluginOptions(Group):
    """Flags of one such filter: its mode, and its fields under its name.

    Attributes:
        kind: The filter's class.
    """

    kind: ClassVar[type[Any]]

    def filter(self) -> Any | None:
        """Returns the filter with its fields set; None where it is disabled."""
        name = self.kind.name
        mode = getattr(self, f"{name}_filter")
        if mode == "disable":
            return None
        values = {field: getattr(self, f"{name}_{field}") for field in _fields(self.kind)}
        return self.kind(rejects=mode == "enable", **values)


def groups_of(names: str, known: Mapping[str, Flag]) -> tuple[type[PluginOptions], ...]:
    """Returns the flags of the filters that are named.

    Args:
        names: Value of ``--filter-plugin``: names with commas between them.
        known: The flags of this program.

    Raises:
        UsageError: A filter cannot be loaded, is none, or has a flag that is there already.
    """
    groups: list[type[PluginOptions]] = []
    taken = set(known)
    for name in filter(None, (part.strip() for part in names.split(","))):
        group = _group(_loaded(name), name)
        added = {field.name for field in dataclasses.fields(group)}
        if twice := sorted(added & taken):
            raise UsageError(f"--filter-plugin {name}: the flag {dashes(twice[0])} is there already: rename the filter")
        taken |= added
        groups.append(group)
    return tuple(groups)


def _loaded(name: str) -> type[Any]:
    """Returns the class that a name stands for: ``MODULE:CLASS``, or the name of an entry point."""
    module, colon, path = name.partition(":")
    try:
        if colon:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
            return _checked(found, name)
        from importlib.metadata import entry_points  # takes as long to import as all of the options

        points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        if name not in points:
            there = f" (installed are {', '.join(sorted(points))})" if points else ""
            raise UsageError(f"--filter-plugin {name}: no such filter is installed{there}; or name MODULE:CLASS")
        return _checked(points[name].load(), name)
    except UsageError:
        raise
    except Exception as error:  # it is somebody's module, which may raise anything
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"--filter-plugin {name} cannot be loaded ({why}): is it on PYTHONPATH?") from error


def _checked(kind: Any, name: str) -> type[Any]:
    is_filter = isinstance(kind, type) and dataclasses.is_dataclass(kind) and hasattr(kind, "judge")
    if not is_filter or not str(getattr(kind, "name", "")).isidentifier():
        raise UsageError(
            f"--filter-plugin {name}: a filter is a frozen dataclass derived from beam_curate.filters.base.ClipFilter, "
            "with a name of letters, digits and underscores (docs/adding-a-stage.md)"
        )
    return kind


def _fields(kind: type[Any]) -> Iterator[str]:
    """Yields the names of the fields that become flags."""
    return (field.name for field in dataclasses.fields(kind) if field.name != _OWN)


def _group(kind: type[Any], name: str) -> type[PluginOptions]:
    purpose = (kind.__doc__ or kind.name).strip().splitlines()[0].rstrip(".")
    made: list[tuple[str, Any, Any]] = [
        (f"{kind.name}_filter", _MODES, flag("enable", f"{purpose}. score-only keeps all and records the scores."))
    ]
    for field in dataclasses.fields(kind):
        if field.name == _OWN:
            continue
        if field.default is dataclasses.MISSING:
            raise UsageError(f"--filter-plugin {name}: its field {field.name} needs a default value")
        facts = {"help_text": f"{field.name} of the filter {kind.name}."} | dict(field.metadata)
        made.append((f"{kind.name}_{field.name}", _hint(kind, field.name), flag(field.default, **facts)))
    title = f"Filter {kind.name}: {purpose[0].lower()}{purpose[1:]}."
    namespace = {"kind": kind, "__doc__": title, "__module__": __name__}
    return dataclasses.make_dataclass("OfPlugin", made, bases=(PluginOptions,), namespace=namespace, frozen=True)


def _hint(kind: type[Any], name: str) -> Any:
    """Returns the type of a field; those of other annotations may be known to type checkers alone."""
    owner = next(one for one in kind.__mro__ if name in vars(one).get("__annotations__", {}))
    alone = type("Alone", (), {"__module__": owner.__module__, "__annotations__": {name: owner.__annotations__[name]}})
    return typing.get_type_hints(alone, include_extras=True)[name]
