"""A stage: the work done to one unit, a video or a chunk of clips. Its errors become failures of what they belong to.

A stage is one frozen dataclass derived from `Stage`. Its fields are all that it needs to know; its fingerprint follows
from them (`Stage.identity`), so that a new field can not be forgotten there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from beam_curate import counters
from beam_curate.elements import Clip, ClipChunk, Failure, Video, failures_in
from beam_curate.errors import SetupError
from beam_curate.processes.permits import CORES
from beam_curate.store.results import ResultStore
from beam_curate.store.stage_files import StageFiles

if TYPE_CHECKING:
    from beam_curate.models.slot import ModelRef

U = TypeVar("U", Video, ClipChunk)
R = TypeVar("R")

_stopped: dict[str, SetupError] = {}  # by stage, of this process: why no unit of it can be processed


class Stage(Generic[U, R]):
    """The base of stages, each a frozen dataclass.

    Attributes:
        name: In counters, failures, the live table and the names of its folders: a plural noun such as ``captions``.
        version: Raised by hand when the code of the stage gives other results.
        result_type: The dataclass of its results.
        transient: Names of fields that do not change a result: limits, batch sizes of a server, handles.
        model: The model that it uses, or None.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    result_type: ClassVar[type[Any]] = ClipChunk
    transient: ClassVar[frozenset[str]] = frozenset()
    model: ModelRef | None

    def run(self, unit: U, files: StageFiles) -> R:
        """Processes one unit; an exception is a failure of the unit.

        Args:
            unit: A video or a chunk; a chunk has at least one clip.
            files: Where the stage reads the files of earlier stages and keeps those that it makes.
        """
        raise NotImplementedError

    def judged(self, result: R) -> R:
        """Returns what a result comes to: a filter takes out the clips that it rejects.

        It is decided each time, on new and on stored results: another decision computes nothing anew.
        """
        return result

    def identity(self) -> dict[str, Any]:
        """Returns what a result depends on besides the unit: the fields of the stage, as JSON values."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # stages are dataclasses
        return {one.name: _plain(getattr(self, one.name)) for one in fields if one.name not in self.transient}


def _plain(value: Any) -> Any:
    """Returns JSON values: of a dataclass its fields, of a `ModelRef` its identity."""
    if hasattr(value, "identity"):
        if not value.identity:  # else results of another model would be taken for this one's
            raise ValueError(f"the model {value.name} states no identity")
        return value.identity
    if dataclasses.is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    return value


@dataclasses.dataclass(frozen=True)
class PlannedStage(Generic[U, R]):
    """A stage of a run, with the place of its results.

    Attributes:
        stage: What is done.
        results: The store of its results, under the fingerprint of the stage.
        position: Its place among the stages of the run; what is further along is more urgent.
        before_work: Called with the unit before a result is computed: what later stages will need can be prepared
            meanwhile. Its exceptions are failures of the unit.
        in_parts: Whether a chunk may come with other clips than in another run, since a filter rejects some.
    """

    stage: Stage[U, R]
    results: ResultStore[R]
    position: int = 0
    before_work: Callable[[U], object] | None = None
    in_parts: bool = False

    @property
    def name(self) -> str:
        """The name of the stage."""
        return self.stage.name

    def process(self, unit: U) -> R | U | Failure:
        """Returns the stored result of a unit, judged; where there is none, it is computed and stored.

        If another worker stores its result meanwhile, that one is returned. A unit with nothing to do is returned as it
        is: a chunk without clips, or a duplicate of another video.
        """
        if _has_nothing_to_do(unit):
            return unit
        if not isinstance(unit, ClipChunk):
            return self._process(unit)
        of_chunk: Any = self  # a stage on chunks
        done: Any = self.stage.judged(of_chunk._process(without_filters(unit)))
        return _with_filters(unit, done)  # type: ignore[return-value]

    def _process(self, unit: U) -> R | Failure:
        stored = self.results.get(unit)
        if stored is not None:
            counters.add(f"{self.name}: cached", size(unit))
            return stored
        if self.in_parts and isinstance(unit, ClipChunk):
            return self._in_parts(unit)
        return self.results.put(unit, self.attempt(unit))

    def _in_parts(self, chunk: ClipChunk) -> Any:
        """Computes only those clips that no stored result has of the same chunk with more clips, or with fewer."""
        known = self.results.clips_of_others(chunk)
        counters.add(f"{self.name}: cached", len(known))
        rest = chunk.with_clips(tuple(clip for clip in chunk.clips if clip.clip_id not in known))
        if rest.clips:
            computed: Any = self.attempt(rest)  # type: ignore[arg-type]  # it is a stage on chunks
            known |= {clip.clip_id: clip for clip in computed.clips}
        whole: Any = chunk.with_clips(tuple(known[clip.clip_id] for clip in chunk.clips))
        return self.results.put(chunk, whole)

    @property
    def needs_gpu(self) -> bool:
        """Whether its model is made for a GPU; small ones run on processors as well."""
        return self.stage.model is not None and self.stage.model.gpu_gb > 0

    def attempt(self, unit: U) -> R | Failure:
        """Runs the stage on a unit. An exception becomes the failure of the video, or of each clip of the chunk."""
        with CORES.urgency(self.position), counters.working(self.name, size(unit)):
            try:
                result: Any = self._run(unit)
            except Exception as error:  # noqa: BLE001 - one unit never takes down another
                result = _failure(self.name, unit, error)
        counters.add(f"{self.name}: failed", _num_failures(result) - _num_failures(unit))
        return result

    def _run(self, unit: U) -> R:
        """Runs the stage unless it has stopped; a `SetupError` stops it."""
        if self.name in _stopped:
            raise _stopped[self.name]
        if self.before_work is not None:
            self.before_work(unit)
        try:
            return self.stage.run(unit, self.results.files)
        except SetupError as error:
            _stopped[self.name] = error.with_traceback(None)
            raise


def without_filters(chunk: ClipChunk) -> ClipChunk:
    """Returns a chunk without what filters found: results of stages depend on its clips, and not on why they are kept.

    >>> without_filters(ClipChunk.without_clips(Video("/in/a.mp4", "a.mp4", 1, "1"))).rejected
    ()
    """
    clips = tuple(dataclasses.replace(clip, scores=()) for clip in chunk.clips)
    return dataclasses.replace(chunk, clips=clips, rejected=())


def _with_filters(before: ClipChunk, after: ClipChunk) -> ClipChunk:
    """Returns what a stage made of a chunk, with what filters found before."""
    scores = {clip.clip_id: clip.scores for clip in before.clips}

    def with_scores(clips: tuple[Clip, ...]) -> tuple[Clip, ...]:
        return tuple(dataclasses.replace(clip, scores=scores[clip.clip_id] + clip.scores) for clip in clips)

    rejected = before.rejected + with_scores(after.rejected)
    return dataclasses.replace(after, clips=with_scores(after.clips), rejected=rejected)


def restart_stages() -> None:
    """Lets stages that a `SetupError` stopped work again, at the start of a run."""
    _stopped.clear()


def attempt_clips(stage: Stage[ClipChunk, ClipChunk], chunk: ClipChunk, work: Callable[[Clip], Clip]) -> ClipChunk:
    """Applies work to each clip that was cut; an exception becomes that clip's failure."""

    def attempt(clip: Clip) -> Clip:
        if clip.media is None:
            return clip
        try:
            return work(clip)
        except Exception as error:  # noqa: BLE001 - one clip never takes down another
            return failed(stage.name, chunk, clip, error)

    return chunk.with_clips(tuple(attempt(clip) for clip in chunk.clips))


def failed(stage: str, chunk: ClipChunk, clip: Clip, error: BaseException) -> Clip:
    """Returns a clip with one more failure."""
    failure = Failure.of(error, stage, chunk.video.uri, clip.clip_id)
    return dataclasses.replace(clip, failures=(*clip.failures, failure))


def _has_nothing_to_do(unit: Video | ClipChunk) -> bool:
    return not unit.clips if isinstance(unit, ClipChunk) else unit.duplicate_of is not None


def size(unit: Video | ClipChunk) -> int:
    """Returns what a unit counts in `beam_curate.counters`: a chunk as many as it has clips, a video one.

    >>> size(Video("/in/a.mp4", "a.mp4", 1, "1"))
    1
    """
    return len(unit.clips) if isinstance(unit, ClipChunk) else 1


def _failure(stage: str, unit: Video | ClipChunk, error: BaseException) -> ClipChunk | Failure:
    if isinstance(unit, Video):
        return Failure.of(error, stage, unit.uri)
    return unit.with_clips(tuple(failed(stage, unit, clip, error) for clip in unit.clips))


def _num_failures(element: Any) -> int:
    return sum(1 for _ in failures_in(element))
