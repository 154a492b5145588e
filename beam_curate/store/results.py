"""The result store: one small JSON file per unit of work and stage, so that a rerun does only what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Generic, TypeVar

import pydantic

from beam_curate.elements import ClipChunk, Failure, StoredFile, failures_in, stored_files
from beam_curate.store import files, readback
from beam_curate.store.layout import Layout

R = TypeVar("R")


_adapters: dict[Any, pydantic.TypeAdapter[Any]] = {}


def _adapter(result_type: Any) -> pydantic.TypeAdapter[Any]:
    """Returns what reads and writes a result or a failure; building one takes long, so each is built once."""
    if result_type not in _adapters:
        _adapters[result_type] = pydantic.TypeAdapter(result_type | Failure)
    return _adapters[result_type]


def unit_key(unit: Any) -> str:
    """Returns a hash of every field of a unit of work: another field, other work."""
    return hashlib.sha256(_adapter(type(unit)).dump_json(unit)).hexdigest()


@dataclasses.dataclass(frozen=True)
class ResultStore(Generic[R]):
    """Results of one stage under one fingerprint.

    A record is written after the files it names, and only if none is there: the first writer wins, and
    every other attempt at the same unit takes the winner's value. Results that hold a retriable failure are
    not stored, and those whose failures depend on limits only for the same limits. A record counts as absent when it is
    not of its shape or of its unit, and when a file it names is gone, has another size, or is not the program's own.

    Attributes:
        layout: The output folder.
        stage: Name of the stage.
        fingerprint: Of all that its results depend on besides the unit.
        result_type: The dataclass of a result.
        retry_failed: Treat stored permanent failures as absent.
        limits: Of the processes that read sources, in words.
        check_content: Whether files that the stage made are read and compared with their hashes, too.
    """

    layout: Layout
    stage: str
    fingerprint: str
    result_type: type[R]
    retry_failed: bool = False
    limits: str = ""
    check_content: bool = False

    def path(self, unit: Any, limited: bool = False) -> Path:
        """Where the record of a unit lies, or that of its failure within the limits."""
        key = unit_key(unit)
        if limited:
            key = hashlib.sha256(f"{key} {self.limits}".encode()).hexdigest()
        return self.layout.results(self.stage, self.fingerprint) / key[:2] / f"{key}.json"

    def get(self, unit: Any) -> R | Failure | None:
        """Returns the stored result of a unit, or None when it has to be worked out."""
        for limited in (False, True):
            path = self.path(unit, limited)
            result = self._read(path, unit)
            if result is not None and self.retry_failed and any(failures_in(result)):
                path.unlink(missing_ok=True)
            elif result is not None:
                return result
        return None

    def put(self, unit: Any, result: R | Failure) -> R | Failure:
        """Stores the result of a unit and returns the stored one, which may be an earlier writer's."""
        if any(failure.retriable for failure in failures_in(result)):
            return result
        path = self.path(unit, any(failure.depends_on_limits for failure in failures_in(result)))
        data = _adapter(self.result_type).dump_json(result, indent=1)
        if files.create(path, data, self.layout.tmp):
            return result
        earlier = self._read(path, unit)
        if earlier is not None:
            return earlier
        files.write_bytes(path, data, self.layout.tmp)
        return result

    def _read(self, path: Path, unit: Any) -> R | Failure | None:
        try:
            result = _adapter(self.result_type).validate_json(path.read_bytes())
        except (FileNotFoundError, pydantic.ValidationError):
            return None
        if _is_of(unit, result) and all(self._is_sound(file) for file in stored_files(result)):
            return result
        return None

    def _is_sound(self, file: StoredFile) -> bool:
        own = self.layout.stored(file).is_relative_to(self.layout.stage_files(self.stage, self.fingerprint))
        return files.is_there(self.layout, file, content=self.check_content and own)


def _is_of(unit: Any, result: Any) -> bool:
    """Whether a result that was read back is one of this unit, with ids that name no other place."""
    video = unit.video if isinstance(unit, ClipChunk) else unit
    if isinstance(result, Failure):
        return bool(result.uri == video.uri)
    if isinstance(unit, ClipChunk) and (result.index, result.num_chunks) != (unit.index, unit.num_chunks):
        return False
    spans = [clip.span for clip in result.clips] if isinstance(result, ClipChunk) else result.spans
    return bool(result.video == video) and all(readback.is_name(span.clip_id) for span in spans)
