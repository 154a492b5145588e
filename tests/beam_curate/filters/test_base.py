"""Scores are stored, rules are not; and what later stages make of a clip does not depend on filters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from beam_curate.elements import ClipChunk, Rejection, Window
from beam_curate.errors import NoScoreError, PlaceError
from beam_curate.filters.base import ClipFilter
from beam_curate.stage import PlannedStage, Stage, attempt_clips
from beam_curate.store.results import ResultStore
from beam_curate.store.stage_files import StageFiles
from tests.support.facts import make_chunk, make_clip
from tests.support.output import Output

WORK: list[str] = []  # what was computed, in order


@dataclasses.dataclass(frozen=True)
class Weight(ClipFilter):
    """Reads the weight that the file of a clip states."""

    least: float = 5.0

    name: ClassVar[str] = "weight"
    version: ClassVar[int] = 1
    rule: ClassVar[frozenset[str]] = ClipFilter.rule | {"least"}
    transient: ClassVar[frozenset[str]] = rule
    model = None

    def score(self, clip: Path) -> Mapping[str, Any]:
        text = clip.read_text()
        WORK.append(text)
        if text == "too small":
            raise NoScoreError("it is too small")
        if text == "busy":
            raise PlaceError("the scales are in use")
        return {"weight": float(text)}

    def judge(self, values: Mapping[str, Any]) -> str | None:
        return f"{values['weight']:g} is less than {self.least:g}" if values["weight"] < self.least else None


@dataclasses.dataclass(frozen=True)
class Windows(Stage[ClipChunk, ClipChunk]):
    """Gives each clip a window."""

    name: ClassVar[str] = "captions"
    version: ClassVar[int] = 1
    model = None

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        def work(clip: Any) -> Any:
            WORK.append(f"window of {clip.clip_id}")
            return dataclasses.replace(clip, windows=(Window(0, 95),))

        return attempt_clips(self, chunk, work)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    WORK.clear()
    return Output(tmp_path / "out")


def chunk_of(output: Output, *texts: str | None) -> ClipChunk:
    """A chunk with a clip for each text, named a, b, c …; None is one that was not cut."""
    clips = [make_clip(output, name, media=text, windows=()) for name, text in zip("abcdefg", texts, strict=False)]
    spans = [
        dataclasses.replace(clip.span, start_frame=96 * number, end_frame=96 * (number + 1))
        for number, clip in enumerate(clips)
    ]
    return make_chunk([dataclasses.replace(clip, span=span) for clip, span in zip(clips, spans, strict=True)])


def planned(stage: Any, output: Output) -> Any:
    return PlannedStage(stage, ResultStore(output, stage.name, "f1", stage.result_type), in_parts=True)


def process(output: Output, chunk: ClipChunk, *stages: Any) -> Any:
    for stage in stages:
        chunk = planned(stage, output).process(chunk)
    return chunk


def ids(clips: Any) -> list[str]:
    return [clip.clip_id for clip in clips]


def test_clips_below_the_threshold_are_listed_apart(output: Output) -> None:
    done = process(output, chunk_of(output, "7", "3", "5"), Weight(rejects=True))
    assert ids(done.clips) == ["a", "c"] and ids(done.rejected) == ["b"] and ids(done.all_clips) == ["a", "b", "c"]
    assert done.rejected[0].rejection == Rejection("weight", "3 is less than 5")
    assert [clip.scores[0].values for clip in done.all_clips] == [{"weight": 7.0}, {"weight": 3.0}, {"weight": 5.0}]


def test_score_only_keeps_all(output: Output) -> None:
    done = process(output, chunk_of(output, "7", "3", "too small"), Weight(rejects=False))
    assert ids(done.clips) == ["a", "b", "c"] and done.rejected == ()
    assert done.clips[2].scores[0].problem == "it is too small"


def test_a_clip_without_a_score_is_rejected_with_the_reason(output: Output) -> None:
    done = process(output, chunk_of(output, "too small", "nan", "busy", "nonsense", None), Weight(rejects=True))
    assert {clip.clip_id: clip.rejection.reason for clip in done.rejected} == {
        "a": "it has no score: it is too small",
        "b": "it has no score: weight of the weight score is not a finite number",
        "c": "it could not be scored: the scales are in use",
        "d": "it could not be scored: internal error: ValueError: could not convert string to float: 'nonsense'",
    }
    assert ids(done.clips) == ["e"]  # which was not cut, and has that failure
    assert [failure.clip_id for clip in done.all_clips for failure in clip.failures] == ["c", "d"]


def test_another_threshold_judges_stored_scores(output: Output) -> None:
    chunk = chunk_of(output, "7", "3", "5")
    process(output, chunk, Weight(rejects=True))
    WORK.clear()
    assert ids(process(output, chunk, Weight(rejects=True, least=6.0)).clips) == ["a"]
    assert ids(process(output, chunk, Weight(rejects=True, least=1.0)).clips) == ["a", "b", "c"]
    assert ids(process(output, chunk, Weight(rejects=False)).clips) == ["a", "b", "c"]
    assert WORK == []


def test_later_stages_compute_only_the_clips_that_another_threshold_adds(output: Output) -> None:
    chunk = chunk_of(output, "7", "3", "5", "1")
    first = process(output, chunk, Weight(rejects=True), Windows())
    assert ids(first.clips) == ["a", "c"]
    WORK.clear()
    more = process(output, chunk, Weight(rejects=True, least=2.0), Windows())
    assert WORK == ["window of b"]
    assert ids(more.clips) == ["a", "b", "c"] and ids(more.rejected) == ["d"]
    assert all(clip.windows and clip.scores for clip in more.clips)
    WORK.clear()
    fewer = process(output, chunk, Weight(rejects=True, least=6.0), Windows())
    assert WORK == [] and ids(fewer.clips) == ["a"] and ids(fewer.rejected) == ["b", "c", "d"]
    again = process(output, chunk, Weight(rejects=True), Windows())
    assert WORK == [] and again == first


def test_later_stages_do_not_see_scores(output: Output) -> None:
    chunk = chunk_of(output, "7", "3")
    without = process(output, chunk, Windows())
    WORK.clear()
    scored = process(output, chunk, Weight(rejects=False), Windows())
    assert WORK == ["7", "3"]  # and no window again
    assert [dataclasses.replace(clip, scores=()) for clip in scored.clips] == list(without.clips)


def test_all_clips_may_be_rejected(output: Output) -> None:
    done = process(output, chunk_of(output, "1", "2"), Weight(rejects=True), Windows())
    assert done.clips == () and ids(done.rejected) == ["a", "b"]


def test_a_failure_of_a_stored_part_is_computed_again(output: Output) -> None:
    @dataclasses.dataclass(frozen=True)
    class Fails(Windows):
        def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
            def work(clip: Any) -> Any:
                raise ValueError("it broke")

            return attempt_clips(self, chunk, work)

    chunk = chunk_of(output, "7", "3")
    process(output, chunk, Weight(rejects=True), Fails())
    WORK.clear()
    done = process(output, chunk, Weight(rejects=True, least=1.0), Windows())
    assert WORK == ["window of a", "window of b"] and not any(clip.failures for clip in done.clips)
