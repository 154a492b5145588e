"""Checks that a model's files are complete and intact, without reading the weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from beam_curate.models.catalog import Model
from beam_curate.store.files import json_bytes, read_json, sha256_of
from beam_curate.weights.headers import read_header, shards_of

MARKER = ".beam_curate.json"
"""Name of the file that a completed download leaves in a model's folder."""


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """The expected size in bytes and hex SHA-256 of a file."""

    size: int
    sha256: str


def write_marker(folder: Path, model: Model, files: Mapping[str, FileFacts]) -> None:
    """Records in a folder that it holds a model at its pinned revision, with the size and hash of each file.

    >>> import tempfile
    >>> from beam_curate.models.catalog import T5_XXL
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_marker(folder, T5_XXL, {"config.json": FileFacts(size=2, sha256="")})
    >>> recorded_files(folder)
    {'config.json': FileFacts(size=2, sha256='')}
    """
    facts = {name: dataclasses.asdict(file) for name, file in files.items()}
    temporary = folder / f"{MARKER}.tmp"
    temporary.write_bytes(json_bytes({"model_id": model.model_id, "revision": model.revision, "files": facts}))
    temporary.replace(folder / MARKER)


def check(model: Model, workspace: str, *, hashes: bool = False) -> list[str]:
    """Checks a model's folder in a workspace.

    Folders put there by hand or by cosmos-curate have no marker, so that their revision is unknown.

    >>> from beam_curate.models.catalog import T5_XXL
    >>> check(T5_XXL, "/nowhere")
    ['the folder /nowhere/models/google-t5/t5-11b is missing']

    Args:
        model: The model.
        workspace: The workspace.
        hashes: Whether to read all files and compare their SHA-256 with those that the download recorded.

    Returns:
        The problems, one clause each, such as ``config.json is missing``; empty for an intact model.
    """
    return list(problems(model, model.folder(workspace), hashes=hashes))


def how_to_fix(model: Model, workspace: str) -> str:
    """Returns what to do about missing or corrupt files.

    >>> from beam_curate.models.catalog import T5_XXL
    >>> how_to_fix(T5_XXL, "/workspace")
    'get it with: beam-curate models download --models t5_xxl --workspace /workspace (or copy the folder ...'
    """
    return (
        f"get it with: beam-curate models download --models {model.name} --workspace {workspace} (or copy the folder "
        f"{model.folder(workspace)} from a computer that has it)"
    )


def problems(model: Model, folder: Path, *, hashes: bool = False) -> Iterator[str]:
    """Yields the problems of a folder that should hold a model; see `check`.

    >>> from beam_curate.models.catalog import T5_XXL
    >>> list(problems(T5_XXL, Path("/nowhere")))
    ['the folder /nowhere is missing']
    """
    if not folder.is_dir():
        yield f"the folder {folder} is missing"
        return
    recorded = read_json(folder / MARKER) or {}
    if is_other_revision(model, folder):
        yield f"it holds revision {recorded['revision']}; {model.revision} is required"
        return
    weights = weight_files(model, folder)
    if not weights:
        yield f"its weights are missing ({' or '.join(model.weights)})"
    facts = recorded_files(folder)
    in_use = [name for name in facts if name in weights or name not in model.weights]
    for name in dict.fromkeys((*model.required, *weights, *in_use)):
        if problem := problem_of(folder / name, name in weights, facts.get(name), hashes=hashes):
            yield f"{name} {problem}"


def recorded_files(folder: Path) -> dict[str, FileFacts]:
    """Returns the files that the download recorded in a folder; empty for a folder that no download made.

    >>> recorded_files(Path("/nowhere"))
    {}
    """
    recorded = read_json(folder / MARKER) or {}
    return {name: FileFacts(**file) for name, file in recorded.get("files", {}).items()}


def is_other_revision(model: Model, folder: Path) -> bool:
    """Whether a folder is recorded as holding another revision of a model.

    >>> import tempfile
    >>> from beam_curate.models.catalog import T5_XXL
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_marker(folder, dataclasses.replace(T5_XXL, revision="main"), {})
    >>> is_other_revision(T5_XXL, folder)
    True
    """
    recorded = read_json(folder / MARKER) or {}
    return bool(recorded) and recorded["revision"] != model.revision


def weight_files(model: Model, folder: Path) -> list[str]:
    """Returns the names of the weight files that a folder holds or should hold.

    An index comes before the shards that it lists. Empty when there is neither a weight file nor an index.

    >>> import tempfile
    >>> from beam_curate.models.catalog import T5_XXL
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "pytorch_model.bin").touch()
    >>> weight_files(T5_XXL, folder)
    ['pytorch_model.bin']
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


def problem_of(path: Path, is_weights: bool, facts: FileFacts | None, *, hashes: bool) -> str | None:
    """Returns the problem of a file, or None.

    >>> problem_of(Path("/nowhere/config.json"), is_weights=False, facts=None, hashes=False)
    'is missing'

    Args:
        path: The file.
        is_weights: Whether it holds weights, whose header determines how long it must be.
        facts: What its download recorded.
        hashes: Whether to compare its SHA-256 with the recorded one.
    """
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if facts is not None and size != facts.size:
        return f"has {size:,} bytes instead of {facts.size:,}"
    try:
        if path.name.endswith(".index.json"):
            shards_of(path)
        elif is_weights:
            read_header(path)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
    except ValueError as error:
        return f"is corrupt: {error}" if is_weights else f"is corrupt: it is not JSON ({error})"
    if hashes and facts is not None and sha256_of(path) != facts.sha256:
        return "is corrupt: its SHA-256 differs from the hub's"
    return None
