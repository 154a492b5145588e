"""A mistake in the set-up stops its stage; every other error costs the unit that it belongs to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from beam_curate import stage
from beam_curate.elements import Failure, Video, VideoShots
from beam_curate.errors import ContentError, PlaceError, SetupError
from beam_curate.store.stage_files import StageFiles
from tests.support.facts import make_info
from tests.support.output import Output
from tests.support.plans import planned

VIDEO = Video("/in/a.mp4", "a.mp4", 1, "1")


@dataclasses.dataclass
class Failing(stage.Stage):
    error: Exception
    runs: int = 0

    name = "shots"
    model = None

    def run(self, unit: Video, files: StageFiles) -> VideoShots:
        self.runs += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "runs", "retriable"),
    [(ContentError("x"), 2, False), (PlaceError("x"), 2, True), (SetupError("--flag"), 1, True)],
)
def test_a_stage_stops_after_a_mistake_in_the_set_up(
    error: Exception, runs: int, retriable: bool, tmp_path: Path
) -> None:
    stage.restart_stages()
    failing = Failing(error)
    shots = planned(failing, Output(tmp_path))
    failures = [shots.attempt(VIDEO) for _ in range(2)]
    assert failing.runs == runs
    assert failures == [Failure("shots", VIDEO.uri, None, type(error).__name__, str(error), retriable)] * 2
    stage.restart_stages()
    shots.attempt(VIDEO)
    assert failing.runs == runs + 1


@dataclasses.dataclass
class Working(stage.Stage):
    name = "shots"
    result_type = VideoShots
    model = None

    def run(self, unit: Video, files: StageFiles) -> VideoShots:
        return VideoShots(unit, make_info(), ())


def test_what_is_done_before_work_is_told_the_unit_and_is_not_done_for_cached_results(tmp_path: Path) -> None:
    stage.restart_stages()
    told: list[Video] = []
    shots = dataclasses.replace(planned(Working(), Output(tmp_path)), before_work=told.append)
    for _ in range(2):
        assert shots.process(VIDEO) == VideoShots(VIDEO, make_info(), ())
    assert told == [VIDEO]


def test_what_fails_before_work_is_a_failure_of_the_unit(tmp_path: Path) -> None:
    def refuse(unit: Video) -> None:
        raise PermissionError(13, "Permission denied", unit.uri)

    stage.restart_stages()
    shots = dataclasses.replace(planned(Working(), Output(tmp_path)), before_work=refuse)
    failure = shots.process(VIDEO)
    assert isinstance(failure, Failure)
    assert (failure.error_type, failure.retriable) == ("PermissionError", True)
