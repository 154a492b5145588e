"""A mistake in the set-up stops its stage; every other error costs the unit that it belongs to."""

from __future__ import annotations

import dataclasses

import pytest

from beam_curate import stage
from beam_curate.elements import Failure, Video, VideoShots
from beam_curate.errors import ContentError, PlaceError, SetupError

VIDEO = Video("/in/a.mp4", "a.mp4", 1, "1")


@dataclasses.dataclass
class Failing:
    error: Exception
    model: None = None
    runs: int = 0

    def run(self, unit: Video) -> VideoShots:
        self.runs += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "runs", "retriable"),
    [(ContentError("x"), 2, False), (PlaceError("x"), 2, True), (SetupError("--flag"), 1, True)],
)
def test_a_stage_stops_after_a_mistake_in_the_set_up(error: Exception, runs: int, retriable: bool) -> None:
    stage.restart_stages()
    worker = Failing(error)
    failures = [stage.attempt_video(worker, "shots", VIDEO) for _ in range(2)]
    assert worker.runs == runs
    assert failures == [Failure("shots", VIDEO.uri, None, type(error).__name__, str(error), retriable)] * 2
    stage.restart_stages()
    stage.attempt_video(worker, "shots", VIDEO)
    assert worker.runs == runs + 1
