"""The lease of a run on an object store: by the clock of the store alone, and free at once where it can be known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.processes import holder
from beam_curate.store import layout, lease
from beam_curate.store.base import LockState
from beam_curate.store.objects import ObjectStore
from tests.support.memory_bucket import MemoryBucket

DAY_S = 86_400
ELSEWHERE = json.dumps({"computer": "another", "pid": 1, "started": "1"}).encode()


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def output(bucket: MemoryBucket, tmp_path: Path) -> ObjectStore:
    return ObjectStore(bucket, "out", FileCache(str(tmp_path)))


@pytest.fixture(params=(-DAY_S, 0, DAY_S), ids=lambda ahead_s: f"clock_{ahead_s}_s_ahead")
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this computer, which may be wrong."""
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + request.param)


@pytest.mark.usefixtures("clock")
def test_a_run_elsewhere_that_renews_its_lease_is_noticed(bucket: MemoryBucket, output: ObjectStore) -> None:
    output.write(layout.LEASES / "other", ELSEWHERE)
    output.write(layout.TMP / "of the other", b"x")
    bucket.now_s += 2 * lease.RENEWED_S

    with output.run_lock() as state:
        assert state is LockState.SHARED

    assert output.exists(layout.LEASES / "other")
    assert output.exists(layout.TMP / "of the other")


@pytest.mark.usefixtures("clock")
def test_a_run_elsewhere_that_was_killed_is_forgotten(bucket: MemoryBucket, output: ObjectStore) -> None:
    output.write(layout.LEASES / "other", ELSEWHERE)
    output.write(layout.TMP / "of the other", b"x")
    bucket.now_s += lease.EXPIRES_S + 1

    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE
        assert not output.exists(layout.LEASES / "other")
        assert output.list_files(layout.TMP, recursive=True) == []

    assert output.list_files(layout.LEASES) == []


def test_a_run_on_this_computer_that_was_killed_is_forgotten_at_once(output: ObjectStore) -> None:
    hold = (
        "import json, sys; from beam_curate.processes import holder; "
        "print(json.dumps(holder.this_process()), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        output.write(layout.LEASES / "other", process.stdout.readline())
        with output.run_lock() as state:
            assert state is LockState.SHARED
        process.kill()
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE


def test_a_number_that_another_process_has_now_is_no_sign_of_life(output: ObjectStore) -> None:
    other = holder.this_process() | {"started": "1"}
    assert other["pid"] == os.getpid()
    output.write(layout.LEASES / "other", json.dumps(other).encode())
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE


def test_a_lease_is_renewed(bucket: MemoryBucket, output: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_S", 0.02)
    with output.run_lock():
        (own,) = output.list_files(layout.LEASES)
        bucket.now_s += DAY_S
        deadline = time.monotonic() + 10
        while next(iter(output.facts(layout.LEASES))).modified_s < bucket.now_s:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not output.exists(own)


def test_what_a_second_run_writes_while_a_first_one_begins_is_safe(
    bucket: MemoryBucket, output: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run begins right after the first has found itself alone."""
    others = lease._others

    def and_then_another(*arguments: object) -> bool:
        found = others(*arguments)  # type: ignore[arg-type]
        output.write(layout.LEASES / "second", ELSEWHERE)
        output.write(layout.TMP / "of the second", b"x")
        return found

    output.write(layout.TMP / "of a killed run", b"x")
    monkeypatch.setattr(lease, "_others", and_then_another)
    with output.run_lock() as state:
        assert state is LockState.EXCLUSIVE
        assert output.list_files(layout.TMP) == [layout.TMP / "of the second"]
