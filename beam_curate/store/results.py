"""The result store: one small JSON file per unit of work and stage, so that a rerun does only what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import PurePosixPath
from typing import Any, Generic, TypeVar

import pydantic

from beam_curate.elements import Clip, ClipChunk, Failure, failures_in, stored_files
from beam_curate.store import layout, readback
from beam_curate.store.base import Store
from beam_curate.store.stage_files import StageFiles

R = TypeVar("R")


_HALF = 32  # hexadecimal digits: 128 bits
_adapters: dict[Any, pydantic.TypeAdapter[Any]] = {}


def _adapter(result_type: Any) -> pydantic.TypeAdapter[Any]:
    """Returns the adapter that reads and writes a result or a failure; building one is slow, so each is built once."""
    if result_type not in _adapters:
        _adapters[result_type] = pydantic.TypeAdapter(result_type | Failure)
    return _adapters[result_type]


def unit_key(unit: Any) -> str:
    """Returns a hash of every field of a unit of work: a unit with another field is other work.

    Of a chunk the first half is a hash of all but its clips.

    Example:
        >>> from beam_curate.elements import Video
        >>> unit_key(Video("/in/a.mp4", "a.mp4", 900, "17")) == unit_key(Video("/in/a.mp4", "a.mp4", 900, "18"))
        False
    """
    whole = hashlib.sha256(_adapter(type(unit)).dump_json(unit)).hexdigest()
    return _chunk_key(unit) + whole[_HALF:] if isinstance(unit, ClipChunk) else whole


def _chunk_key(chunk: ClipChunk) -> str:
    return hashlib.sha256(_adapter(ClipChunk).dump_json(chunk.with_clips(()))).hexdigest()[:_HALF]


@dataclasses.dataclass(frozen=True)
class ResultStore(Generic[R]):
    """Results of one stage under one fingerprint.

    A record is written after the files it names, and only if none is there: the first writer wins, and
    every other attempt at the same unit takes the winner's value. Results that hold a retriable failure are
    not stored, and those whose failures depend on limits only for the same limits. A record counts as absent when it
    does not validate or is not of its unit, and when a file it names beside those of the unit is gone, has another
    size, or is not the program's own.

    Attributes:
        output: Where they are.
        stage: Name of the stage.
        fingerprint: Hash of all that its results depend on besides the unit.
        result_type: The dataclass of a result.
        retry_failed: Treat stored permanent failures as absent.
        limits: The limits of the processes that read sources, in words.
        check_content: Whether the files that a result adds to its unit are also read and compared with their hashes.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.elements import Video, VideoShots
        >>> from beam_curate.store.local import LocalStore
        >>> video = Video("/in/a.mp4", "a.mp4", 900, "17")
        >>> failure = Failure("shots", video.uri, None, "SourceError", "it is damaged", retriable=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     results = ResultStore(LocalStore(Path(folder)), "shots", "4c1f", VideoShots)
        ...     results.get(video) is None, results.put(video, failure) == results.get(video) == failure
        (True, True)
    """

    output: Store
    stage: str
    fingerprint: str
    result_type: type[R]
    retry_failed: bool = False
    limits: str = ""
    check_content: bool = False

    @property
    def files(self) -> StageFiles:
        """The files of the stage, under the same fingerprint."""
        return StageFiles(self.output, self.stage, self.fingerprint)

    def key(self, unit: Any, limited: bool = False) -> PurePosixPath:
        """Returns the key of the result of a unit, or that of its failure within the limits."""
        name = unit_key(unit)
        if limited:
            name = hashlib.sha256(f"{name} {self.limits}".encode()).hexdigest()
        return layout.results(self.stage, self.fingerprint) / name[:2] / f"{name}.json"

    def get(self, unit: Any) -> R | Failure | None:
        """Returns the stored result of a unit, or None when it has to be computed."""
        for limited in (False, True):
            key = self.key(unit, limited)
            result = self._read(key, unit)
            if result is not None and self.retry_failed and any(failures_in(result)):
                self.output.delete(key)
            elif result is not None:
                return result
        return None

    def put(self, unit: Any, result: R | Failure) -> R | Failure:
        """Stores the result of a unit and returns the stored one, which may be an earlier writer's."""
        if any(failure.retriable for failure in failures_in(result)):
            return result
        key = self.key(unit, any(failure.depends_on_limits for failure in failures_in(result)))
        data = _adapter(self.result_type).dump_json(result, indent=1)
        stored = self.output.write_if_absent(key, data)
        if stored == data:
            return result
        earlier = self._checked(stored, unit)
        if earlier is not None:
            return earlier
        self.output.write(key, data)
        return result

    def clips_of_others(self, chunk: ClipChunk) -> dict[str, Clip]:
        """Returns, by clip id, what stored results have of the clips of a chunk: results of it with other clips.

        A clip that failed in this stage is left out, and one that differs from the one in the chunk.
        """
        found: dict[str, Clip] = {}
        first = self.key(chunk)
        for key in sorted(self.output.list_files(first.parent)):
            if not key.name.startswith(first.name[:_HALF]):
                continue
            other: Any = self._read(key, chunk)
            if isinstance(other, ClipChunk):
                found |= {clip.clip_id: clip for clip in other.clips}
        of_chunk = {clip.clip_id: clip for clip in chunk.clips}
        return {clip_id: clip for clip_id, clip in found.items() if _made_of(of_chunk.get(clip_id), clip)}

    def _read(self, key: PurePosixPath, unit: Any) -> R | Failure | None:
        try:
            return self._checked(self.output.read(key), unit)
        except FileNotFoundError:
            return None

    def _checked(self, data: bytes, unit: Any) -> R | Failure | None:
        """Returns a result that was read, or None when it does not validate, is not of the unit, or lacks a file."""
        try:
            result = _adapter(self.result_type).validate_json(data)
        except pydantic.ValidationError:
            return None
        known = frozenset(stored_files(unit))  # the stages that made them have checked these
        added = (file for file in stored_files(result) if file not in known)
        if _is_of(unit, result) and all(self.output.has(file, content=self.check_content) for file in added):
            return result
        return None


def _made_of(clip: Clip | None, result: Clip) -> bool:
    """Whether a result was made of a clip, without a failure."""
    if clip is None:
        return False
    return (clip.span, clip.media, clip.failures) == (result.span, result.media, result.failures)


def _is_of(unit: Any, result: Any) -> bool:
    """Whether a result that was read back is of this unit, with valid ids of clips."""
    video = unit.video if isinstance(unit, ClipChunk) else unit
    if isinstance(result, Failure):
        return bool(result.uri == video.uri)
    if isinstance(unit, ClipChunk) and (result.index, result.num_chunks) != (unit.index, unit.num_chunks):
        return False
    spans = [clip.span for clip in result.clips] if isinstance(result, ClipChunk) else result.spans
    return bool(result.video == video) and all(readback.is_name(span.clip_id) for span in spans)
