"""Downloads of models from the Hugging Face hub, at pinned revisions, into the workspace.

Files come one after another, each into a partial file from which a later download goes on: `snapshot_download` of
huggingface_hub begins a file anew, and T5-11B is one file of 45 GB. Each file's hash is compared with the hub's; of a
mirror that lists none, files are taken as they come, which is said.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from beam_curate.errors import ModelFilesError
from beam_curate.models.catalog import ENCODER_COPY, Model
from beam_curate.store.files import sha256_of
from beam_curate.weights import hub
from beam_curate.weights.check import (
    FileFacts,
    check,
    fault_of,
    faults,
    is_other_revision,
    noted_files,
    weight_files,
    write_marker,
)
from beam_curate.weights.hub import HubFile
from beam_curate.weights.t5_encoder import copy_encoder

_ORIGINAL = ".original"  # in a model's folder: weights from which a copy is made
_WEIGHTS = (".safetensors", ".bin")
_REDUCED = "pytorch_model.bin.reduced"  # cosmos-curate's encoder-only copy of T5-11B

Say = Callable[[str], None]


@contextlib.contextmanager
def filling(folder: Path, say: Say) -> Iterator[None]:
    """Lets one process at a time fill a model's folder, by a lock beside it.

    Raises:
        OSError: The lock cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        say(f"{folder}: another process is filling it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def download(model: Model, workspace: str, *, keep_original: bool = False, say: Say = print) -> None:
    """Downloads what is missing of a model and checks it.

    Of T5-11B it makes the copy of the encoder (`beam_curate.weights.t5_encoder`). The original is removed unless it was
    there before.

    Args:
        model: Which.
        workspace: Into ``{workspace}/models/{model_id}``.
        keep_original: Whether to keep T5-11B's original file as well, which cosmos-curate reads.
        say: Takes lines that tell what happens.

    Raises:
        ModelFilesError: Says what went wrong, with what, and what to do.
    """
    folder = model.folder(workspace)
    with hub.asking(model, folder), filling(folder, say):
        if not check(model, workspace) and (ENCODER_COPY not in model.weights or (folder / ENCODER_COPY).is_file()):
            say(f"{model.name}: {folder} is complete")
            return
        folder.mkdir(parents=True, exist_ok=True)
        if ENCODER_COPY in model.weights:
            _download_with_copy(model, folder, keep_original, say)
        else:
            files = hub.listed(model)
            write_marker(folder, model, _fetch(model, files, folder, say))
        _verify(model, folder)
        for partial in folder.glob(".*.partial"):  # of another revision
            partial.unlink()
        say(f"{model.name}: {folder} is complete")


def _download_with_copy(model: Model, folder: Path, keep_original: bool, say: Say) -> None:
    """Fetches T5 and makes its copy; weights that a user or another program put there are used and stay."""
    present = _local_weights(model, folder)
    if present and not [name for name in model.required if not (folder / name).is_file()]:
        _copy(present, folder, say)
        return
    files = hub.listed(model)
    is_weights = {name for name in model.files if name in model.weights}
    facts = _fetch(model, [file for file in files if file.name not in is_weights], folder, say)
    original = folder / _ORIGINAL
    if present:
        _copy(present, folder, say)
        return
    share = model.disk_gb / model.download_gb  # of the copy
    kept = _fetch(model, [file for file in files if file.name in is_weights], original, say, share=share)
    facts[ENCODER_COPY] = _copy([original / name for name in kept], folder, say)
    if keep_original:
        for name in kept:
            (original / name).replace(folder / name)
        facts |= kept
    shutil.rmtree(original)
    write_marker(folder, model, facts)


def _local_weights(model: Model, folder: Path) -> list[Path]:
    """Returns whole weight files, other than the copy, that lie in a folder already."""
    names = weight_files(dataclasses.replace(model, weights=(*model.weights[1:], _REDUCED)), folder)
    if is_other_revision(model, folder) or any(not (folder / name).is_file() for name in names):
        return []
    return [folder / name for name in names if not name.endswith(".index.json")]


def _copy(sources: Sequence[Path], folder: Path, say: Say) -> FileFacts:
    target = folder / ENCODER_COPY
    say(f"  making {target}, the part that is used")
    num_layers: int = json.loads((folder / "config.json").read_bytes())["num_layers"]
    sha256 = copy_encoder(sources, target, num_layers)
    return FileFacts(target.stat().st_size, sha256)


def _fetch(
    model: Model, files: Sequence[HubFile], folder: Path, say: Say, *, share: float = 0.0
) -> dict[str, FileFacts]:
    """Downloads files, or takes those that are there and right; returns what they are.

    Args:
        model: Whose files.
        files: Which.
        folder: Where to.
        say: Takes lines that tell what happens.
        share: Room for copies that are made after it, as a share of the files' size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noted = noted_files(folder)
    missing = [file for file in files if not _is_there(file, folder, noted.get(file.name))]
    _check_room(model, missing, folder, share * sum(file.size or 0 for file in files))
    for number, file in enumerate(missing, start=1):
        say(f"  {model.name}: {file.name}, {_size(file.size)} ({number} of {len(missing)})")
        hub.fetch(model, file, folder)
    if unchecked := [file.name for file in missing if not file.has_hash]:
        say(
            f"  {model.name}: {hub.endpoint()} lists no hashes, so that these files are unchecked: "
            f"{', '.join(unchecked)}"
        )
    return {file.name: _facts(folder / file.name, file.sha256) for file in files}


def _is_there(file: HubFile, folder: Path, noted: FileFacts | None) -> bool:
    """Whether a file is there and right: by the hub's hash, else by what an earlier download noted and by its form."""
    path = folder / file.name
    if not path.is_file() or not file.is_right(path):
        return False
    return file.has_hash or fault_of(path, path.suffix in _WEIGHTS, noted, hashes=True) is None


def _facts(path: Path, sha256: str | None) -> FileFacts:
    return FileFacts(path.stat().st_size, sha256 or sha256_of(path))


def _size(num_bytes: int | None) -> str:
    if num_bytes is None:
        return "of a size that is not listed"
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"


def _check_room(model: Model, files: Sequence[HubFile], folder: Path, more: float) -> None:
    partials = (folder / file.partial for file in files)
    there = sum(partial.stat().st_size for partial in partials if partial.is_file())
    needed = sum(file.size or 0 for file in files) - there + more
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelFilesError(
            f"{model.name} needs {needed / 1e9:,.1f} GB on the disk of {folder} and {free / 1e9:,.1f} GB are free: "
            "free some, or name another disk with --workspace"
        )


def _verify(model: Model, folder: Path) -> None:
    if wrong := list(faults(model, folder)):
        raise ModelFilesError(f"{model.name} is not complete in {folder} after its download: {'; '.join(wrong)}")
