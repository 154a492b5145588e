"""What counts as a run that did not do what was asked."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from beam_curate.report.verdict import Asked, Judge
from beam_curate.store.outcomes import Outcome
from tests.support.facts import make_video_element

ALL, NO_DATASET, BARE = Asked(True, True), Asked(True, False), Asked(False, False)


def failure(clip: str | None = None, kind: str = "EncodingError") -> dict[str, Any]:
    return {
        "stage": "clips",
        "uri": "",
        "clip_id": clip,
        "error_type": kind,
        "message": "say --flag",
        "retriable": True,
    }


def done(name: str, made: int = 1, failed: int = 0, captioned: int | None = None, items: int | None = None) -> Outcome:
    """A video with clips that were made and others that failed."""
    clips = [f"{name}{number}" for number in range(made)]
    lost = [f"{name}-{number}" for number in range(failed)]
    chunk = {
        "clips": clips,
        "failed_clips": lost,
        "num_clips_failed": failed,
        "num_clips_with_caption": made if captioned is None else captioned,
        "dataset_items": (clips * 9)[: made if items is None else items],
    }
    return Outcome(make_video_element(name), {}, [chunk], None, [failure(clip) for clip in lost])


def failed_video(name: str, kind: str = "UnreadableSourceError") -> Outcome:
    return Outcome(make_video_element(name), None, [], None, [failure(kind=kind)])


def without_answer(name: str, made: int = 2) -> Outcome:
    """A video of which each clip is there and no caption is."""
    one = done(name, made, captioned=0, items=0)
    failures = [failure(clip, "ModelServerError") for clip in one.chunks[0]["clips"]]
    return dataclasses.replace(one, failures=failures)


def former(name: str) -> Outcome:
    """A video that failed now, of which clips of an earlier run are still there."""
    return dataclasses.replace(done(name), failures=[failure()])


def skipped(name: str) -> Outcome:
    return Outcome(make_video_element(name), None, [], "same content as a", [])


def pending(name: str) -> Outcome:
    return Outcome(make_video_element(name), None, [], None, [])


# Outcomes of all videos; names of those that were worked on; what was asked; a word of the answer, or None for success.
CASES: dict[str, tuple[list[Outcome], str, Asked, str | None]] = {
    "all is well": ([done("a"), done("b")], "ab", ALL, None),
    "one video of two failed": ([done("a"), failed_video("b")], "ab", ALL, None),
    "every video failed": ([failed_video("a"), failed_video("b")], "ab", ALL, "every video failed (2)"),
    "every video to do failed": ([done("a"), failed_video("b")], "b", ALL, "every video of this run failed (1)"),
    "every video failed before, and nothing to do": (
        [failed_video("a"), skipped("b")],
        "",
        ALL,
        "every video failed (1)",
    ),
    "one failed before, and nothing to do": ([done("a"), failed_video("b")], "", ALL, None),
    "only a copy to do": ([done("a"), skipped("b")], "", ALL, None),
    "failed, and others still to do": ([failed_video("a"), pending("b")], "a", ALL, "every video failed (1)"),
    "failed, with clips of an earlier run": ([former("a")], "a", ALL, "every video failed (1)"),
    "no video has footage": ([done("a", made=0)], "a", ALL, None),
    "all clips of one video": ([done("a", made=0, failed=2)], "a", ALL, "every video failed (1)"),
    "all clips, beside a video without footage": (
        [done("a", made=0, failed=2), done("b", made=0)],
        "ab",
        ALL,
        "every clip failed (2)",
    ),
    "all clips, beside one that cannot be read": (
        [done("a", made=0, failed=2), failed_video("b")],
        "ab",
        ALL,
        "every video failed (2)",
    ),
    "one clip of many": ([done("a", made=3, failed=1)], "a", ALL, None),
    "no caption": ([done("a", captioned=0, items=0)], "a", NO_DATASET, "none of the 1 clips has a usable caption"),
    "no answer": ([without_answer("a"), done("b", made=0)], "ab", ALL, "none of the 2 clips has a usable caption"),
    "no caption in what was to do": ([done("a"), without_answer("b")], "b", ALL, "none of the 2 clips"),
    "one caption": ([done("a", made=3, captioned=1, items=1)], "a", ALL, None),
    "no caption asked for": ([done("a", captioned=0, items=0)], "a", BARE, None),
    "nothing in the dataset": ([done("a", made=2, items=0)], "a", ALL, "the dataset is empty"),
    "nothing more in the dataset": ([done("a"), done("b", items=0)], "b", ALL, None),
    "no dataset asked for": ([done("a", items=0)], "a", NO_DATASET, None),
    "a stage was stopped": ([done("a"), failed_video("b", "SetupError")], "ab", ALL, "say --flag"),
    "the disk is full": ([done("a"), failed_video("b", "OutputError")], "ab", ALL, "1 videos could not be written"),
    "a source is not given": ([done("a"), failed_video("b", "DiskError")], "ab", ALL, None),
    "none too many": ([done("a"), failed_video("b")], "ab", Asked(True, True, 0.5), None),
    "too many videos": ([done("a"), failed_video("b")], "ab", Asked(True, True, 0.49), "1 of 2 videos failed"),
    "too many, and nothing to do": ([done("a"), failed_video("b")], "", Asked(True, True, 0.0), "1 of 2 videos failed"),
    "copies are not counted": (
        [done("a"), failed_video("b"), skipped("c")],
        "ab",
        Asked(True, True, 0.4),
        "1 of 2 videos",
    ),
    "one clip too many": ([done("a", made=999, failed=1)], "a", Asked(True, True, 0.0), "1 of 1000 clips failed"),
    "few clips": ([done("a", made=999, failed=1)], "a", Asked(True, True, 0.001), None),
    "a video of failed clips has failed": (
        [done("a", made=9), done("b", made=0, failed=1)],
        "ab",
        Asked(True, True, 0.2),
        "1 of 2 videos failed",
    ),
    "captions count": ([done("a", made=8), without_answer("b")], "ab", Asked(True, True, 0.0), "videos failed"),
    "none failed": ([done("a")], "a", Asked(True, True, 0.0), None),
    "no limit": ([done("a"), failed_video("b")], "ab", Asked(True, True, 1.0), None),
}


@pytest.mark.parametrize("what", CASES)
def test_verdicts(what: str) -> None:
    outcomes, worked_on, asked, words = CASES[what]
    uris = {one.video.uri for one in outcomes if one.video.relative_path in worked_on}
    judge = Judge(uris)
    for one in outcomes:
        judge.add(one)
    found = judge.verdict(asked)
    assert found is None if words is None else words in (found or "no sentence"), found
