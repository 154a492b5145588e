"""How far a run is, as anybody tells who reads its output."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from beam_curate.elements import Video
from beam_curate.progress import terminal
from beam_curate.report.standing import Standing, driver_is_alive, print_standing, standing
from beam_curate.store import layout
from beam_curate.store.runs import SILENT_S, STARTS_S, Ended, Runs
from tests.support.output import Output
from tests.support.recorded_runs import ELSEWHERE, JOB, VIDEOS, age, heard, recorded

ENDED = Ended(65.0, {"videos to do": 3, "videos done": 3})


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "out")


def told(output: Output, job_state: str | None = None) -> Standing:
    known = Runs(output)
    assert known.latest is not None
    return standing(output, known, known.latest, job_state)


def done(output: Output, video: Video) -> None:
    output.write_json(layout.done("A", video), {"failures": 0})
    output.write_json(layout.processed_video(video.relative_path), {})


def failed(output: Output, video: Video, *, for_good: bool) -> None:
    output.write_json(layout.video_error(video.relative_path), {})
    if for_good:
        output.write_json(layout.done("A", video), {"failures": 1})


@pytest.mark.parametrize(
    ("facts", "job_state", "heard_s_ago", "expected", "sentence"),
    [
        ({"ended": ENDED}, None, None, "ended", "ended after 0:01:05"),
        ({"ended": Ended(5, {}, "no slots")}, None, None, "ended", "ended after 0:00:05: no slots"),
        ({}, None, 5, "stopped", "stopped before its end: its driver is gone; heard 0:00:0"),
        ({"driver": ELSEWHERE}, None, 5, "running", "running; heard"),
        ({"driver": ELSEWHERE}, None, SILENT_S + 60, "stopped", "its driver is gone"),
        ({"job": JOB}, None, 5, "running", "running without a driver; heard 0:00:0"),
        ({"job": JOB}, None, None, "starting", "none of its workers was heard yet"),
        ({"job": JOB}, None, SILENT_S + 60, "silent", "none of its workers was heard for long; heard 0:06:0"),
        ({"job": JOB}, "running", SILENT_S + 60, "running", "running without a driver"),
        ({"job": JOB}, "failed", 5, "failed", "the cluster says that the job failed"),
        ({"job": JOB}, "cancelled", 5, "cancelled", "the cluster says that the job was cancelled"),
        ({"job": JOB}, "finished", 5, "finished", "finished"),
    ],
)
def test_what_a_run_is_doing(
    output: Output,
    facts: dict[str, Any],
    job_state: str | None,
    heard_s_ago: float | None,
    expected: str,
    sentence: str,
) -> None:
    run = recorded(output, **facts)
    if heard_s_ago is not None:
        heard(output, run)
        age(output.root, heard_s_ago)
    one = told(output, job_state)
    assert one.state == one.as_json()["state"] == expected
    assert sentence in printed(one)


def test_a_job_that_never_began_is_over_after_a_while(output: Output) -> None:
    recorded(output, job=JOB)
    age(output.root, STARTS_S + 60)
    assert told(output).state == "silent"


def printed(one: Standing, columns: int = 100) -> str:
    text = io.StringIO()
    print_standing(terminal.console(file=text, width=columns), one, "out")
    return text.getvalue()


def test_videos_are_counted_by_what_the_run_left_of_them(output: Output) -> None:
    first, second, third = VIDEOS
    failed(output, third, for_good=False)  # by an earlier run
    done(output, first)
    age_all(output, 60)
    recorded(output, job=JOB, num_listed=10, num_done_before=7)
    one = told(output).videos
    assert (one.listed, one.done_before, one.selected, one.done, one.failed, one.to_do) == (10, 7, 3, 0, 0, 3)
    done(output, first)
    failed(output, second, for_good=True)
    one = told(output).videos
    assert (one.done, one.failed, one.to_do) == (1, 1, 1)
    failed(output, third, for_good=False)
    one = told(output).videos
    assert (one.done, one.failed, one.to_do) == (1, 2, 0)
    assert told(output).state == "finished"
    assert "beam-curate summarize out" in printed(told(output))


def age_all(output: Output, seconds: float) -> None:
    """Makes everything older."""
    import os

    for path in output.root.rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_a_video_of_which_clips_failed_is_done(output: Output) -> None:
    recorded(output, job=JOB)
    done(output, VIDEOS[0])
    output.write_json(layout.video_error(VIDEOS[0].relative_path), {})
    one = told(output).videos
    assert (one.done, one.failed, one.to_do) == (1, 0, 2)


def test_the_stages_have_the_rates_since_the_run_began(output: Output) -> None:
    run = recorded(output, job=JOB)
    age(output.root, 100)
    heard(output, run)
    one = told(output)
    assert one.as_json()["stages"]["shots"]["done"] == 1
    lines = [line.split() for line in printed(one).splitlines()]
    (shots,) = [words for words in lines if words[:1] == ["shots"]]
    assert shots[1] == "1/3"
    assert "0.6 videos/min" in " ".join(shots)  # one in 100 s
    assert "0:03:20" in " ".join(shots)  # two more


def test_the_lock_tells_of_a_driver_on_another_computer(output: Output) -> None:
    run = recorded(output, driver=ELSEWHERE)
    with output.run_lock():
        assert driver_is_alive(output, run) is True
        assert told(output).state == "running"
    assert driver_is_alive(output, run) is False


def test_an_earlier_job_that_goes_on_is_named(output: Output) -> None:
    heard(output, recorded(output, "1", job=JOB))
    recorded(output, "2", job=JOB, ended=ENDED)
    one = told(output)
    assert one.run.name == "2"
    assert one.others == ("1",)
    assert "the job of an earlier run, 1, may be at work" in printed(one)


def test_a_job_that_lost_videos_is_not_called_complete(output: Output) -> None:
    recorded(output, job=JOB)
    assert "3 videos did not arrive" in printed(told(output, "finished"))


def test_a_driver_that_left_its_job_is_not_waited_for(output: Output) -> None:
    run = recorded(output, driver=ELSEWHERE, job=JOB, detached=True)
    with output.run_lock():  # of another run
        assert driver_is_alive(output, run) is False
