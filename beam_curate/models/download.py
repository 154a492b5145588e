"""Downloads of models from the Hugging Face hub, at pinned revisions, into the workspace.

Files come one after another, each into a partial file from which a later download goes on: `snapshot_download` of
huggingface_hub begins a file anew, and T5-11B is one file of 45 GB. Each file's hash is compared with the hub's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from beam_curate.errors import ModelFilesError
from beam_curate.models.catalog import ENCODER_COPY, Model
from beam_curate.models.model_files import FileFacts, check, faults, is_other_revision, weight_files, write_marker
from beam_curate.models.t5_weights import copy_encoder
from beam_curate.storage.files import sha256_of

_ORIGINAL = ".original"  # in a model's folder: weights from which a copy is made
_REDUCED = "pytorch_model.bin.reduced"  # cosmos-curate's encoder-only copy of T5-11B

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class _HubFile:
    """A file as the hub lists it: ``sha256`` of large files, and git's ``blob_id`` (SHA-1) of all."""

    name: str
    size: int
    blob_id: str
    sha256: str | None

    @property
    def partial(self) -> str:
        """Name of what was downloaded of it so far; it differs when the content does."""
        return f".{self.name}.{(self.sha256 or self.blob_id)[:16]}.partial"


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

    Of T5-11B it makes the copy of the encoder (`beam_curate.models.t5_weights`). The original is removed unless it was
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
    with _explained(model, folder), filling(folder, say):
        if not check(model, workspace) and (ENCODER_COPY not in model.weights or (folder / ENCODER_COPY).is_file()):
            say(f"{model.name}: {folder} is complete")
            return
        folder.mkdir(parents=True, exist_ok=True)
        if ENCODER_COPY in model.weights:
            _download_with_copy(model, folder, keep_original, say)
        else:
            files = _listed(model)
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
    files = _listed(model)
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


def _listed(model: Model) -> list[_HubFile]:
    """Returns the files to download, as the hub lists them at the pinned revision."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(model.model_id, revision=model.revision, files_metadata=True, timeout=30)
    files = [
        _HubFile(entry.rfilename, entry.size or 0, entry.blob_id or "", entry.lfs.sha256 if entry.lfs else None)
        for entry in info.siblings or ()
        if "/" not in entry.rfilename and any(fnmatch.fnmatch(entry.rfilename, pattern) for pattern in model.files)
    ]
    if missing := set(model.required) - {file.name for file in files}:
        raise ModelFilesError(f"{model.page} has no {', '.join(sorted(missing))} at revision {model.revision}")
    return files


def _fetch(
    model: Model, files: Sequence[_HubFile], folder: Path, say: Say, *, share: float = 0.0
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
    found: dict[str, FileFacts] = {}
    for file in files:
        path = folder / file.name
        if path.is_file() and path.stat().st_size == file.size and _is_right(path, file):
            found[file.name] = FileFacts(file.size, file.sha256 or sha256_of(path))
    missing = [file for file in files if file.name not in found]
    _check_room(model, missing, folder, share * sum(file.size for file in files))
    for number, file in enumerate(missing, start=1):
        say(f"  {model.name}: {file.name}, {_size(file.size)} ({number} of {len(missing)})")
        _fetch_one(model, file, folder)
        found[file.name] = FileFacts(file.size, file.sha256 or sha256_of(folder / file.name))
    return found


def _fetch_one(model: Model, file: _HubFile, folder: Path) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers, disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    partial = folder / file.partial
    if partial.is_file() and partial.stat().st_size > file.size:
        partial.unlink()
    with partial.open("ab") as writer:
        http_get(
            hf_hub_url(model.model_id, file.name, revision=model.revision),
            writer,
            resume_size=writer.tell(),
            headers=build_hf_headers() | {"Accept-Encoding": "identity"},
            expected_size=file.size,
            displayed_filename=file.name,
        )
        writer.flush()
        os.fsync(writer.fileno())
    if not _is_right(partial, file):
        partial.unlink()
        raise ModelFilesError(
            f"{file.name} came damaged from {model.page}: its hash is not what the hub says; it was removed, run the "
            "same command again"
        )
    partial.replace(folder / file.name)


def _is_right(path: Path, file: _HubFile) -> bool:
    """Whether a file has the hash that the hub lists: SHA-256, of small files git's SHA-1."""
    if file.sha256 is not None:
        return sha256_of(path) == file.sha256
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == file.blob_id


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"


def _check_room(model: Model, files: Sequence[_HubFile], folder: Path, more: float) -> None:
    partials = (folder / file.partial for file in files)
    there = sum(partial.stat().st_size for partial in partials if partial.is_file())
    needed = sum(file.size for file in files) - there + more
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelFilesError(
            f"{model.name} needs {needed / 1e9:,.1f} GB on the disk of {folder} and {free / 1e9:,.1f} GB are free: "
            "free some, or name another disk with --workspace"
        )


def _verify(model: Model, folder: Path) -> None:
    if wrong := list(faults(model, folder)):
        raise ModelFilesError(f"{model.name} is not complete in {folder} after its download: {'; '.join(wrong)}")


@contextlib.contextmanager
def _explained(model: Model, folder: Path) -> Iterator[None]:
    """Turns errors of the hub, the network and the disk into one that says what to do."""
    from huggingface_hub import errors

    offline = (
        f"where there is no network, run the same command on another computer and copy {folder} from its workspace"
    )
    access = (
        f"accept its licence at {model.page} and give your token: HF_TOKEN in the environment, or the command "
        "hf auth login"
    )
    what = f"{model.name} ({model.model_id})"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelFilesError(f"{what} is only for those who accepted its licence: {access}") from error
    except errors.RevisionNotFoundError as error:
        raise ModelFilesError(f"the hub does not have revision {model.revision} of {what}: see {model.page}") from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelFilesError(f"{what} is not complete and HF_HUB_OFFLINE forbids the network: {offline}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ModelFilesError(f"the hub refuses {what} ({status}): {access}") from error
        reason = "it is not there" if status == 404 else "try again later"
        raise ModelFilesError(f"the hub answered {status} for {what}: {reason}; see {model.page}") from error
    except errors.HTTPError as error:
        raise ModelFilesError(f"{what} cannot be downloaded ({type(error).__name__}): {offline}") from error
    except (ValueError, KeyError) as error:
        raise ModelFilesError(f"{what} in {folder}: {error}") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200]
        raise ModelFilesError(f"{what} cannot be downloaded into {folder} ({reason}): {offline}") from error
