"""What an output knows of runs, and whether a job that outlives its driver may be at work on it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.store import layout, runs
from beam_curate.store.base import LockState, Store
from beam_curate.store.clean import clean
from beam_curate.store.objects import ObjectStore
from beam_curate.store.runs import SILENT_S, STARTS_S, Ended, Runs
from tests.support.memory_bucket import MemoryBucket
from tests.support.output import Output
from tests.support.recorded_runs import JOB, VIDEOS, age, heard, recorded

ENDED = Ended(60.0, {"videos done": 3})
DAY_S = 86_400.0


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "out")


def temporary(output: Store) -> bool:
    """Whether there is a temporary file, as a worker may need it."""
    return bool(output.list_files(layout.TMP, recursive=True))


def test_what_a_run_was_asked_comes_back(output: Output) -> None:
    run = recorded(output, job=JOB, detached=True, max_failure_ratio=0.5)
    assert Runs(output).latest == run
    ended = runs.end(output, run, ENDED)
    assert Runs(output).latest == ended
    assert ended.ended == ENDED


def test_its_videos_come_back_with_what_it_does_of_them(output: Output) -> None:
    run = recorded(output)
    odd = Video("/in/line\nbreak 日本.mp4", "line\nbreak 日本.mp4", 0, "")
    copy = Video("/in/c.mp4", "c.mp4", 900, "17", duplicate_of="a.mp4")
    runs.begin(output, run, [*VIDEOS, odd], [VIDEOS[0], copy, odd])
    listed = runs.listed(output, run)
    assert listed.videos == (*VIDEOS, odd)
    assert listed.chosen == (VIDEOS[0], copy, odd)
    assert listed.work == (VIDEOS[0], odd)


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_list_of_videos_that_is_damaged_is_told(output: Output, content: bytes | None) -> None:
    run = recorded(output)
    key = layout.RUNS / f"{run.name}.videos.gz"
    output.delete(key) if content is None else output.write(key, content)
    with pytest.raises(UsageError, match="run the command of that run again"):
        runs.listed(output, run)


@pytest.mark.parametrize(
    ("facts", "is_heard", "age_s", "expected"),
    [
        ({}, True, 0, False),  # its driver did the work itself
        ({"job": JOB}, False, 0, True),  # the cluster may be starting workers
        ({"job": JOB}, False, STARTS_S - 60, True),
        ({"job": JOB}, False, STARTS_S + 60, False),
        ({"job": JOB}, True, 0, True),
        ({"job": JOB}, True, SILENT_S - 60, True),
        ({"job": JOB}, True, SILENT_S + 60, False),
        ({"job": JOB, "ended": ENDED}, True, 0, False),
    ],
)
def test_whether_a_job_goes_on_is_told_by_its_workers(
    output: Output, facts: dict[str, object], is_heard: bool, age_s: float, expected: bool
) -> None:
    run = recorded(output, **facts)
    if is_heard:
        heard(output, run)
    age(output.root, age_s)
    output.write(layout.TMP / "half.mp4", b"of a worker")
    assert Runs(output).going_on(time.time) is expected
    with output.run_lock() as state:
        assert state is (LockState.SHARED if expected else LockState.EXCLUSIVE)
        assert temporary(output) is expected
        assert Runs(output).latest == run


def test_clean_waits_for_a_job_that_goes_on(output: Output) -> None:
    run = recorded(output, job=JOB)
    heard(output, run)
    output.write_json(layout.FINGERPRINTS, ["A" * 16])
    output.write(layout.TMP / "half.mp4", b"of a worker")
    with pytest.raises(UsageError, match="wait until it ends"):
        clean(output)
    assert temporary(output)
    age(output.root, SILENT_S + 60)
    clean(output)
    assert not temporary(output)
    assert Runs(output).latest == run
    assert output.list_files(run.folder, recursive=True)  # what sums it up may need it


def test_the_time_is_that_of_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = MemoryBucket()
    output = ObjectStore(bucket, "out", FileCache(str(tmp_path)))
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + DAY_S)
    heard(output, recorded(output, job=JOB))
    output.write(layout.TMP / "half.mp4", b"of a worker")
    with output.run_lock() as state:
        assert state is LockState.SHARED
        assert temporary(output)
    bucket.now_s += SILENT_S + 60
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE
        assert not temporary(output)


def test_a_run_that_is_alone_forgets_all_runs_but_the_last(output: Output) -> None:
    for name in ("1", "2"):
        heard(output, recorded(output, name, ended=ENDED))
    last = recorded(output, "3")
    heard(output, last)
    (output.runs / "stray").mkdir()
    (output.runs / "stray" / "x").touch()
    with output.run_lock():
        left = [key.name for key in output.list_files(layout.RUNS, recursive=True)]
    assert sorted(left) == ["3.json", "3.videos.gz"]


def test_what_a_link_leads_to_is_kept(output: Output, tmp_path: Path) -> None:
    precious = tmp_path / "elsewhere" / "mine" / "a"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    output.work.mkdir(parents=True)
    output.runs.symlink_to(tmp_path / "elsewhere")
    with output.run_lock():
        assert precious.read_text() == "mine"


def test_a_run_with_nothing_to_do_notes_that_the_last_one_has_ended(output: Output) -> None:
    runs.end_left(output)
    heard(output, recorded(output, job=JOB))
    runs.end_left(output)
    latest = Runs(output).latest
    assert latest is not None and latest.ended is not None
    assert not output.list_files(latest.folder, recursive=True)
