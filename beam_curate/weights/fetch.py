"""Copies weights from a folder or a bucket into the workspace of a worker that lacks them, once per machine."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from beam_curate.buckets.base import DEFAULT_PROFILE, ObjectFacts, scheme_of
from beam_curate.buckets.download import download
from beam_curate.buckets.open import open_bucket
from beam_curate.errors import ModelFilesError
from beam_curate.models.catalog import ENCODER_COPY, Model
from beam_curate.models.oom_backoff import is_out_of_memory
from beam_curate.weights.check import MARKER, check, how_to_fix, problems
from beam_curate.weights.download import locked

_LOG = logging.getLogger(__name__)

Fetch = Callable[[Path], None]
Loaded = TypeVar("Loaded")


@dataclasses.dataclass(frozen=True)
class WeightsSource:
    """A copy of a workspace's ``models`` folder, from which workers take what they lack.

    Attributes:
        path: Value of ``--model-weights-path``: a folder, ``gs://BUCKET/PREFIX`` or ``s3://BUCKET/PREFIX``.
        profile: Of the user's AWS files, for what is on S3.
    """

    path: str
    profile: str = DEFAULT_PROFILE

    def __str__(self) -> str:
        return self.path


def load_from_folder(
    model: Model, workspace: str, weights: WeightsSource | None, load: Callable[[Path], Loaded]
) -> Loaded:
    """Loads a model from its folder in the workspace, fetching missing files first.

    >>> from beam_curate.models.catalog import T5_XXL
    >>> load_from_folder(T5_XXL, "/workspace", weights=None, load=lambda folder: folder.name)
    't5-11b'

    Args:
        model: The model.
        workspace: The workspace.
        weights: Where a worker that lacks the model gets it.
        load: Loads it from the folder.

    Raises:
        ModelFilesError: It cannot be fetched or loaded; the message says how to get it. Out-of-memory errors pass
            unchanged.
    """
    if weights is not None:
        ensure(model, workspace, weights)
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


def ensure(model: Model, workspace: str, weights: WeightsSource) -> None:
    """Fetches a model's files unless they are in the workspace; several processes may call it at once.

    Files are copied to a temporary folder beside the model's and checked before they replace it.

    >>> import tempfile
    >>> from beam_curate.models.catalog import T5_XXL
    >>> ensure(T5_XXL, tempfile.mkdtemp(), WeightsSource("/nowhere"))
    Traceback (most recent call last):
    beam_curate.errors.ModelFilesError: there is no google-t5/t5-11b in /nowhere/google-t5/t5-11b: ...

    Args:
        model: The model.
        workspace: The workspace.
        weights: Where they are.

    Raises:
        ModelFilesError: The model is missing or incomplete there, or cannot be fetched.
    """
    if not check(model, workspace):
        return
    folder = model.folder(workspace)
    source = WeightsSource(f"{weights.path.rstrip('/')}/{model.model_id}", weights.profile)
    try:
        with locked(folder, _LOG.info):
            if not check(model, workspace):
                return
            _fetch_all(model, folder, source)
    except ModelFilesError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelFilesError(
            f"{model.model_id} cannot be fetched from {source} ({type(error).__name__}: {reason}); see "
            "--model-weights-path"
        ) from error


def _fetch_all(model: Model, folder: Path, source: WeightsSource) -> None:
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


def _list(source: WeightsSource) -> dict[str, Fetch]:
    """Returns the files directly in a folder or below a prefix, each with a function that copies it to a path."""
    if not scheme_of(source.path):
        return _list_folder(Path(source.path).expanduser())
    bucket, prefix = open_bucket(f"{source.path}/", source.profile)
    found = (one for one in bucket.list(prefix, folders=True) if isinstance(one, ObjectFacts) and one.key != prefix)
    return {one.key.removeprefix(prefix): functools.partial(download, bucket, one) for one in found}


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
