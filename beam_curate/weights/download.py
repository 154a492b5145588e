"""Downloads of models from the Hugging Face hub, at pinned revisions, into the workspace.

Files are downloaded one after another, each into a partial file from which a later download resumes:
`snapshot_download` of huggingface_hub starts a file over, and T5-11B is one file of 45 GB. Each file's hash is compared
with the hub's; files of a mirror that lists no hashes are accepted unchecked, with a message.
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
    is_other_revision,
    problem_of,
    problems,
    recorded_files,
    weight_files,
    write_marker,
)
from beam_curate.weights.hub import HubFile
from beam_curate.weights.t5_encoder import copy_encoder

_ORIGINAL = ".original"  # in a model's folder: weights from which a copy is made
_WEIGHT_SUFFIXES = (".safetensors", ".bin")
_REDUCED = "pytorch_model.bin.reduced"  # cosmos-curate's encoder-only copy of T5-11B

Say = Callable[[str], None]


@contextlib.contextmanager
def locked(folder: Path, say: Say) -> Iterator[None]:
    """Lets only one process at a time write to a model's folder, with a lock file beside it.

    >>> import tempfile
    >>> with locked(Path(tempfile.mkdtemp(), "t5-11b"), say=print):
    ...     print("no other process writes now")
    no other process writes now

    Raises:
        OSError: The lock file cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        say(f"{folder}: waiting for another process that writes to it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def download(model: Model, workspace: str, *, keep_original: bool = False, say: Say = print) -> None:
    """Downloads the missing files of a model and checks them.

    For T5-11B, it also extracts the encoder (`beam_curate.weights.t5_encoder`) and then removes the original, unless
    that was there before.

    Args:
        model: The model.
        workspace: The workspace; files go to ``{workspace}/models/{model_id}``.
        keep_original: Whether to keep T5-11B's original file, which cosmos-curate reads.
        say: Called with each line of progress.

    Raises:
        ModelFilesError: The download failed; the message says why and what to do.
    """
    folder = model.folder(workspace)
    with hub.errors_explained(model, folder), locked(folder, say):
        if not check(model, workspace) and (ENCODER_COPY not in model.weights or (folder / ENCODER_COPY).is_file()):
            say(f"{model.name}: {folder} is complete")
            return
        folder.mkdir(parents=True, exist_ok=True)
        if ENCODER_COPY in model.weights:
            _download_with_copy(model, folder, keep_original, say)
        else:
            files = hub.list_files(model)
            write_marker(folder, model, _fetch(model, files, folder, say))
        _verify(model, folder)
        for partial in folder.glob(".*.partial"):  # of another revision
            partial.unlink()
        say(f"{model.name}: {folder} is complete")


def _download_with_copy(model: Model, folder: Path, keep_original: bool, say: Say) -> None:
    """Downloads T5 and extracts its encoder; weights that a user or another program put there are used and kept."""
    present = _local_weights(model, folder)
    if present and not [name for name in model.required if not (folder / name).is_file()]:
        _copy(present, folder, say)
        return
    files = hub.list_files(model)
    is_weights = {name for name in model.files if name in model.weights}
    facts = _fetch(model, [file for file in files if file.name not in is_weights], folder, say)
    original = folder / _ORIGINAL
    if present:
        _copy(present, folder, say)
        return
    share = model.disk_gb / model.download_gb  # of the extracted encoder
    kept = _fetch(model, [file for file in files if file.name in is_weights], original, say, share=share)
    facts[ENCODER_COPY] = _copy([original / name for name in kept], folder, say)
    if keep_original:
        for name in kept:
            (original / name).replace(folder / name)
        facts |= kept
    shutil.rmtree(original)
    write_marker(folder, model, facts)


def _local_weights(model: Model, folder: Path) -> list[Path]:
    """Returns the complete weight files, other than the extracted encoder, that a folder already holds."""
    names = weight_files(dataclasses.replace(model, weights=(*model.weights[1:], _REDUCED)), folder)
    if is_other_revision(model, folder) or any(not (folder / name).is_file() for name in names):
        return []
    return [folder / name for name in names if not name.endswith(".index.json")]


def _copy(sources: Sequence[Path], folder: Path, say: Say) -> FileFacts:
    target = folder / ENCODER_COPY
    say(f"  extracting {target}, the part that is used")
    num_layers: int = json.loads((folder / "config.json").read_bytes())["num_layers"]
    sha256 = copy_encoder(sources, target, num_layers)
    return FileFacts(target.stat().st_size, sha256)


def _fetch(
    model: Model, files: Sequence[HubFile], folder: Path, say: Say, *, share: float = 0.0
) -> dict[str, FileFacts]:
    """Downloads the files that are missing or do not match; returns the size and hash of all.

    Args:
        model: The model that the files belong to.
        files: Its files as the hub lists them.
        folder: The model's folder.
        say: Called with each line of progress.
        share: Disk space needed afterwards, as a share of the files' size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recorded = recorded_files(folder)
    missing = [file for file in files if not _is_intact(file, folder, recorded.get(file.name))]
    _check_free_space(model, missing, folder, share * sum(file.size or 0 for file in files))
    for number, file in enumerate(missing, start=1):
        say(f"  {model.name}: {file.name}, {_size(file.size)} ({number} of {len(missing)})")
        hub.fetch(model, file, folder)
    if unchecked := [file.name for file in missing if not file.has_hash]:
        say(f"  {model.name}: {hub.endpoint()} lists no hashes, so these files are unchecked: {', '.join(unchecked)}")
    return {file.name: _facts(folder / file.name, file.sha256) for file in files}


def _is_intact(file: HubFile, folder: Path, recorded: FileFacts | None) -> bool:
    """Whether a file is intact: by the hub's hash, else by what an earlier download recorded and by its format."""
    path = folder / file.name
    if not path.is_file() or not file.matches(path):
        return False
    return file.has_hash or problem_of(path, path.suffix in _WEIGHT_SUFFIXES, recorded, hashes=True) is None


def _facts(path: Path, sha256: str | None) -> FileFacts:
    return FileFacts(path.stat().st_size, sha256 or sha256_of(path))


def _size(num_bytes: int | None) -> str:
    if num_bytes is None:
        return "size unknown"
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"


def _check_free_space(model: Model, files: Sequence[HubFile], folder: Path, more: float) -> None:
    partials = (folder / file.partial for file in files)
    present = sum(partial.stat().st_size for partial in partials if partial.is_file())
    needed = sum(file.size or 0 for file in files) - present + more
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelFilesError(
            f"{model.name} needs {needed / 1e9:,.1f} GB on the disk of {folder} and {free / 1e9:,.1f} GB are free: "
            "free some, or name a folder on another disk with --workspace"
        )


def _verify(model: Model, folder: Path) -> None:
    if found := list(problems(model, folder)):
        raise ModelFilesError(f"{model.name} is not complete in {folder} after its download: {'; '.join(found)}")
