"""Whether a model's files are all there and whole, without reading the weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from beam_curate.models.catalog import Model
from beam_curate.store.files import json_bytes, read_json, sha256_of
from beam_curate.weights.headers import read_header, shards_of

MARKER = ".beam_curate.json"
"""Written into a model's folder when its download is complete."""


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """What a file must be: its size in bytes and its hex SHA-256."""

    size: int
    sha256: str


def write_marker(folder: Path, model: Model, files: Mapping[str, FileFacts]) -> None:
    """Notes that a folder holds a model at its pinned revision, and what its files are."""
    facts = {name: dataclasses.asdict(file) for name, file in files.items()}
    temporary = folder / f"{MARKER}.tmp"
    temporary.write_bytes(json_bytes({"model_id": model.model_id, "revision": model.revision, "files": facts}))
    temporary.replace(folder / MARKER)


def check(model: Model, workspace: str, *, hashes: bool = False) -> list[str]:
    """Checks a model's folder in a workspace.

    Folders that were put there by hand or by cosmos-curate have no marker; their revision is not known.

    Args:
        model: The model.
        workspace: The workspace.
        hashes: Whether to read all files and compare their SHA-256, as far as the download noted it.

    Returns:
        What is wrong, a clause each, such as ``config.json is missing``; empty when nothing is.
    """
    return list(faults(model, model.folder(workspace), hashes=hashes))


def mend(model: Model, workspace: str) -> str:
    """Returns what to do about missing or broken files."""
    return (
        f"get it with: beam-curate models download --models {model.name} --workspace {workspace} (or copy the folder "
        f"{model.folder(workspace)} from a computer that has it)"
    )


def faults(model: Model, folder: Path, *, hashes: bool = False) -> Iterator[str]:
    """Yields what is wrong with a folder that should hold a model; see `check`."""
    if not folder.is_dir():
        yield f"the folder {folder} is missing"
        return
    noted = read_json(folder / MARKER) or {}
    if is_other_revision(model, folder):
        yield f"revision {noted['revision']} is there, and {model.revision} is wanted"
        return
    weights = weight_files(model, folder)
    if not weights:
        yield f"its weights are missing ({' or '.join(model.weights)})"
    facts = noted_files(folder)
    in_use = [name for name in facts if name in weights or name not in model.weights]
    for name in dict.fromkeys((*model.required, *weights, *in_use)):
        if fault := fault_of(folder / name, name in weights, facts.get(name), hashes=hashes):
            yield f"{name} {fault}"


def noted_files(folder: Path) -> dict[str, FileFacts]:
    """Returns what the download noted of its files; nothing where a folder was not made by one."""
    noted = read_json(folder / MARKER) or {}
    return {name: FileFacts(**file) for name, file in noted.get("files", {}).items()}


def is_other_revision(model: Model, folder: Path) -> bool:
    """Whether a folder is known to hold another revision of a model."""
    noted = read_json(folder / MARKER) or {}
    return bool(noted) and noted["revision"] != model.revision


def weight_files(model: Model, folder: Path) -> list[str]:
    """Returns the names of the files that hold a model's weights in a folder, there or not.

    Shards that an index names are listed after it. Empty when there is neither a file nor an index.
    """
    for name in model.weights:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return [name]
        if index.is_file():
            try:
                return [index.name, *shards_of(index)]
            except ValueError:
                return [index.name]
    return []


def fault_of(path: Path, is_weights: bool, facts: FileFacts | None, *, hashes: bool) -> str | None:
    """Returns what is wrong with a file, or None.

    Args:
        path: The file.
        is_weights: Whether it holds weights, whose header says how long it must be.
        facts: What its download noted.
        hashes: Whether to compare the SHA-256 with them.
    """
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if facts is not None and size != facts.size:
        return f"has {size:,} bytes and must have {facts.size:,}"
    try:
        if path.name.endswith(".index.json"):
            shards_of(path)
        elif is_weights:
            read_header(path)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
    except ValueError as error:
        return f"is broken: {error}" if is_weights else f"is broken: it is not JSON ({error})"
    if hashes and facts is not None and sha256_of(path) != facts.sha256:
        return "is broken: its SHA-256 is not what the hub says"
    return None
