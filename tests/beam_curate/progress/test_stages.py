"""Progress of the stages, which work side by side: totals are marked until they are known, and never exceeded."""

from __future__ import annotations

import pytest

from beam_curate.progress.stages import StageProgress, progress_of, progress_sentence, share_finished

STAGES = ("shots", "clips", "captions", "text", "windows")
BEGUN = {"videos to do": 3, "shots: cached": 1, "shots: begun": 2, "shots: done": 1}
CUTTING = BEGUN | {"shots: done": 2, "clips found": 40, "clips: begun": 8, "clips: done": 5, "clips: failed": 1}
PUBLISHED = CUTTING | {"clips: begun": 40, "clips: done": 40, "captions: cached": 40}


def stage(counts: dict[str, int], name: str) -> StageProgress:
    (found,) = [one for one in progress_of(counts, STAGES) if one.name == name]
    return found


@pytest.mark.parametrize(
    "counts, name, fraction, complete",
    [
        ({"videos to do": 3}, "shots", "0/3", False),
        (BEGUN, "shots", "2/3", False),
        (BEGUN, "clips", "0/0+", False),
        (BEGUN | {"clips found": 10, "clips: begun": 1}, "clips", "0/10+", False),  # shots may still find more
        (BEGUN | {"clips found": 10, "clips: done": 10}, "clips", "10/10+", False),
        (CUTTING | {"clips: begun": 0}, "shots", "3/3", True),
        (CUTTING, "clips", "5/40", False),
        (CUTTING, "captions", "0/40", False),
        (CUTTING | {"captions: cached": 5}, "captions", "5/40", False),  # while clips are cut
        (PUBLISHED, "clips", "40/40", True),
        (PUBLISHED, "captions", "40/40", True),
        (CUTTING | {"clips: done": 43}, "clips", "40/40", True),  # a cluster worked on a unit twice
        (PUBLISHED | {"videos done": 1, "videos failed": 1}, "records", "2/3", False),
    ],
)
def test_fraction(counts: dict[str, int], name: str, fraction: str, complete: bool) -> None:
    found = stage(counts, name)
    assert (found.fraction(), found.complete) == (fraction, complete)


@pytest.mark.parametrize(
    "frames, expected, position",
    [
        (0, 0, 0.0),
        (500, 1000, 1.0),  # half of two videos
        (1000, 1000, 2.0),
        (1500, 1000, 0.0),  # a source does not say how long it is, so only whole videos count
    ],
)
def test_frames_advance_a_long_video(frames: int, expected: int, position: float) -> None:
    counts = {"videos to do": 4, "shots: begun": 2}
    counts |= {"shots: opened": 2, "shots: frames to do": expected, "shots: frames done": frames}
    assert stage(counts, "shots").position == position


def test_an_unreadable_video_does_not_hold_up_the_others() -> None:
    counts = {"videos to do": 4, "shots: begun": 3, "shots: done": 1, "shots: failed": 1}
    counts |= {"shots: opened": 2, "shots: frames to do": 1000, "shots: frames done": 100}
    assert stage(counts, "shots").position == pytest.approx(1.2)


@pytest.mark.parametrize(
    "counts, share",
    [
        ({}, 0.0),
        ({"bytes to do": 400}, 0.0),
        ({"bytes to do": 400, "bytes finished": 100}, 0.25),
        ({"bytes to do": 400, "bytes finished": 500}, 1.0),  # a cluster worked on a unit twice
    ],
)
def test_the_share_of_the_run_that_is_finished(counts: dict[str, int], share: float) -> None:
    assert share_finished(counts) == share


def test_stages_that_a_run_does_not_have_are_left_out() -> None:
    assert [one.name for one in progress_of({}, ["shots", "clips"])] == ["shots", "clips", "records"]


def test_the_summary_of_an_interrupted_run() -> None:
    assert progress_sentence({}) == "No video had been started."
    assert progress_sentence({"videos to do": 3}) == "0 of 3 videos finished."
    assert progress_sentence(BEGUN | {"shots: frames done": 1200}) == (
        "0 of 3 videos finished; shots 2/3 videos (1 of them cached, 1,200 frames)."
    )
    assert progress_sentence(CUTTING) == (
        "0 of 3 videos finished; shots 3/3 videos (1 of them cached), clips 5/40 clips."
    )
