"""One element never takes down another: errors become failures of the clip or video they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from beam_curate import counters
from beam_curate.elements import Clip, ClipChunk, Failure, Video, VideoShots, failures_in
from beam_curate.errors import SetupError

if TYPE_CHECKING:
    from beam_curate.models.slot import ModelRef

Unit = TypeVar("Unit", contravariant=True)
Result = TypeVar("Result", covariant=True)

_stopped: dict[str, SetupError] = {}  # by stage, of this process: why no unit of it can be done


class Worker(Protocol[Unit, Result]):
    """What a stage does to one unit of work; plain Python that knows nothing of Beam."""

    @property
    def model(self) -> ModelRef | None:
        """The model it uses, or None."""
        ...

    def run(self, unit: Unit) -> Result:
        """Does the work; an exception is a failure of the unit."""
        ...


def restart_stages() -> None:
    """Lets stages that a `SetupError` stopped work again, at the start of a run."""
    _stopped.clear()


def _run(worker: Worker[Any, Any], stage: str, unit: Any) -> Any:
    """Runs a worker unless its stage has stopped; a `SetupError` stops it."""
    if stage in _stopped:
        raise _stopped[stage]
    try:
        return worker.run(unit)
    except SetupError as error:
        _stopped[stage] = error.with_traceback(None)
        raise


def attempt_video(worker: Worker[Video, VideoShots], stage: str, video: Video) -> VideoShots | Failure:
    """Runs a worker on a video; an exception becomes the video's failure."""
    with counters.working(stage, size(video)):
        try:
            return _run(worker, stage, video)
        except Exception as error:  # noqa: BLE001 - see the module's first line
            counters.add(f"{stage}: failed")
            return Failure.of(error, stage, video.uri)


def attempt_chunk(worker: Worker[ClipChunk, ClipChunk], stage: str, chunk: ClipChunk) -> ClipChunk:
    """Runs a worker on a chunk; an exception becomes the failure of each of its clips."""
    if not chunk.clips:
        return chunk
    with counters.working(stage, size(chunk)):
        try:
            result = _run(worker, stage, chunk)
        except Exception as error:  # noqa: BLE001 - see the module's first line
            result = chunk.with_clips(tuple(failed(chunk, clip, stage, error) for clip in chunk.clips))
    counters.add(f"{stage}: failed", _num_failures(result) - _num_failures(chunk))
    return result


def attempt_clips(chunk: ClipChunk, stage: str, work: Callable[[Clip], Clip]) -> ClipChunk:
    """Applies work to each clip that was cut; an exception becomes that clip's failure."""

    def attempt(clip: Clip) -> Clip:
        if clip.media is None:
            return clip
        try:
            return work(clip)
        except Exception as error:  # noqa: BLE001 - see the module's first line
            return failed(chunk, clip, stage, error)

    return chunk.with_clips(tuple(attempt(clip) for clip in chunk.clips))


def size(unit: Video | ClipChunk) -> int:
    """Returns what a unit of work counts in `beam_curate.counters`: a chunk as many as it has clips, a video one."""
    return len(unit.clips) if isinstance(unit, ClipChunk) else 1


def failed(chunk: ClipChunk, clip: Clip, stage: str, error: BaseException) -> Clip:
    """Returns a clip with one more failure."""
    failure = Failure.of(error, stage, chunk.video.uri, clip.clip_id)
    return dataclasses.replace(clip, failures=(*clip.failures, failure))


def _num_failures(chunk: ClipChunk) -> int:
    return sum(1 for _ in failures_in(chunk))
