"""Copies weights from a folder or a bucket into the workspace of a worker that lacks them, once per machine."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from beam_curate.errors import ModelFilesError, UsageError
from beam_curate.models.catalog import ENCODER_COPY, Model
from beam_curate.models.oom_backoff import is_out_of_memory
from beam_curate.weights.check import MARKER, check, how_to_fix, problems
from beam_curate.weights.download import locked

SCHEMES = ("gs", "s3")

_LOG = logging.getLogger(__name__)

Fetch = Callable[[Path], None]
Loaded = TypeVar("Loaded")


def check_weights_path(weights_path: str) -> None:
    """Checks the syntax of ``--model-weights-path``.

    >>> check_weights_path("gs://bucket/models")
    >>> check_weights_path("ftp://host/models")
    Traceback (most recent call last):
    beam_curate.errors.UsageError: --model-weights-path is 'ftp://host/models': give a folder, gs://BUCKET/PREFIX or ...

    Raises:
        UsageError: It is neither a path nor the URL of a supported bucket.
    """
    parts = urlsplit(weights_path)
    if "://" not in weights_path:
        return
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise UsageError(
            f"--model-weights-path is {weights_path!r}: give a folder, gs://BUCKET/PREFIX or s3://BUCKET/PREFIX"
        )


def load_from_folder(model: Model, workspace: str, weights_path: str | None, load: Callable[[Path], Loaded]) -> Loaded:
    """Loads a model from its folder in the workspace, fetching missing files first.

    >>> from beam_curate.models.catalog import T5_XXL
    >>> load_from_folder(T5_XXL, "/workspace", weights_path=None, load=lambda folder: folder.name)
    't5-11b'

    Args:
        model: The model.
        workspace: The workspace.
        weights_path: Value of ``--model-weights-path``: where a worker that lacks the model gets it.
        load: Loads it from the folder.

    Raises:
        ModelFilesError: It cannot be fetched or loaded; the message says how to get it. Out-of-memory errors pass
            unchanged.
    """
    if weights_path is not None:
        ensure(model, workspace, weights_path)
    folder = model.folder(workspace)
    try:
        return load(folder)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise ModelFilesError(
            f"{model.model_id} in {folder} cannot be loaded ({type(error).__name__}: {reason}); "
            f"{how_to_fix(model, workspace)}"
        ) from error


def ensure(model: Model, workspace: str, weights_path: str) -> None:
    """Fetches a model's files unless they are in the workspace; several processes may call it at once.

    Files are copied to a temporary folder beside the model's and checked before they replace it.

    >>> import tempfile
    >>> from beam_curate.models.catalog import T5_XXL
    >>> ensure(T5_XXL, tempfile.mkdtemp(), weights_path="/nowhere")
    Traceback (most recent call last):
    beam_curate.errors.ModelFilesError: there is no google-t5/t5-11b in /nowhere/google-t5/t5-11b: ...

    Args:
        model: The model.
        workspace: The workspace.
        weights_path: Value of ``--model-weights-path``: a copy of a workspace's ``models`` folder.

    Raises:
        ModelFilesError: The model is missing or incomplete there, or cannot be fetched.
        UsageError: See `check_weights_path`.
    """
    if not check(model, workspace):
        return
    check_weights_path(weights_path)
    folder = model.folder(workspace)
    source = f"{weights_path.rstrip('/')}/{model.model_id}"
    try:
        with locked(folder, _LOG.info):
            if not check(model, workspace):
                return
            _fetch_all(model, folder, source)
    except (ModelFilesError, UsageError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelFilesError(
            f"{model.model_id} cannot be fetched from {source} ({type(error).__name__}: {reason}); see "
            "--model-weights-path"
        ) from error


def _fetch_all(model: Model, folder: Path, source: str) -> None:
    files = _list(source)
    names = _wanted(model, list(files))
    if not names:
        raise ModelFilesError(
            f"there is no {model.model_id} in {source}: --model-weights-path must name a copy of the workspace's "
            "models folder"
        )
    temporary = folder.with_name(f".{folder.name}.fetching")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process
    temporary.mkdir()
    try:
        _LOG.info("copying %s to %s", source, folder)
        for name in names:
            files[name](temporary / name)
        if found := list(problems(model, temporary)):
            raise ModelFilesError(f"{model.model_id} in {source} is not complete: {'; '.join(found)}")
        _move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _wanted(model: Model, names: list[str]) -> list[str]:
    """Selects the files to fetch: not T5-11B's original where the extracted encoder is available."""
    patterns = [*model.files, *model.required, MARKER]
    for weights in model.weights:
        stem, _, suffix = weights.rpartition(".")
        patterns += [weights, f"{weights}.index.json", f"{stem}-*.{suffix}"]
    found = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    if ENCODER_COPY in found:
        return [name for name in found if name == ENCODER_COPY or not name.endswith((".bin", ".safetensors"))]
    return found


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Renames the folder, or moves its files into an existing one, whose other files stay."""
    with contextlib.suppress(OSError):
        temporary.rename(folder)  # replaces an empty folder
        return
    for path in sorted(temporary.iterdir(), key=lambda path: path.name == MARKER):
        path.replace(folder / path.name)


def _list(source: str) -> dict[str, Fetch]:
    """Returns the files directly in a folder or below a prefix, each with a function that copies it to a path."""
    parts = urlsplit(source)
    prefix = parts.path.strip("/") + "/"
    if "://" not in source:
        return _list_folder(Path(source).expanduser())
    return _list_gs(parts.netloc, prefix) if parts.scheme == "gs" else _list_s3(parts.netloc, prefix)


def _list_folder(folder: Path) -> dict[str, Fetch]:
    if not folder.is_dir():
        return {}

    def copy(path: Path) -> Fetch:
        return lambda target: _copy_file(path, target)

    return {path.name: copy(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _list_gs(bucket: str, prefix: str) -> dict[str, Fetch]:
    from google.cloud import storage

    blobs = storage.Client().list_blobs(bucket, prefix=prefix, delimiter="/")
    return {blob.name.removeprefix(prefix): blob.download_to_filename for blob in blobs if blob.name != prefix}


def _list_s3(bucket: str, prefix: str) -> dict[str, Fetch]:
    import boto3  # type: ignore[import-untyped]

    client = boto3.client("s3")

    def copy(key: str) -> Fetch:
        return lambda target: client.download_file(bucket, key, str(target))

    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return {key.removeprefix(prefix): copy(key) for key in keys if key != prefix}
