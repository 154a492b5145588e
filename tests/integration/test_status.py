"""`beam-curate status` and `beam-curate summarize` say what a run does, and write what it would have written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.follow import status
from beam_curate.store.open import open_store
from tests.support.program import FIXED_STRIDE, cli, command, run, snapshot, start, summary, table, told, wait_for
from tests.support.stores import PROFILE, new_place

CLIPS_ONLY = ("--no-generate-captions", "--generate-cosmos-predict-dataset=disable")
OF_S3 = ("--output-s3-profile-name", PROFILE)
WRITTEN = ("summary.json", "failures.jsonl", "v0/all_window_captions.json")


def test_a_run_is_seen_from_elsewhere_and_its_summary_can_be_written_again(
    videos: Path, direct: tuple[Path, dict[str, str], str]
) -> None:
    output, expected, printed = direct
    process = start(command(videos, output, *FIXED_STRIDE))
    store = open_store(str(output))

    def state() -> str | None:
        found = status(store) if (output / ".work").is_dir() else None
        return found and found.state if found is None or found.stages[0].done else None

    wait_for(lambda: state() == "running", process, 120)
    seen = told(output)
    assert seen["state"] == "running" and seen["driver_is_alive"]
    assert seen["videos"]["selected"] == 4
    refused = cli("summarize", output, expect=2)
    assert "a run is working on" in refused
    assert process.wait() == 0

    seen = told(output)
    assert (seen["state"], seen["aborted"]) == ("ended", None)
    expected_videos = {"listed": 4, "done_before": 0, "selected": 4, "done": 4, "failed": 0, "to_do": 0}
    assert seen["videos"] == expected_videos
    stages = seen["stages"]
    assert stages["clips"]["done"] == stages["captions"]["done"] == summary(output)["total_num_clips_passed"]
    before = summary(output)
    for name in WRITTEN:
        (output / name).unlink()
    again = cli("summarize", output)
    assert snapshot(output) == expected
    assert table(again) == table(printed)
    after = summary(output)
    for one in (before, after):
        assert one.pop("pipeline_run_time") > 0
    assert after == before
    shutil.rmtree(output)


def test_after_a_killed_run_what_it_finished_can_be_summed_up_and_the_rest_be_done(
    videos: Path, direct: tuple[Path, dict[str, str], str]
) -> None:
    output, expected, _ = direct
    process = start(command(videos, output, *FIXED_STRIDE))
    wait_for(lambda: list((output / ".work" / "done").rglob("*@*")), process, 120)
    process.kill()
    process.wait()
    done = len(list((output / ".work" / "done").rglob("*@*")))
    seen = told(output)
    assert seen["state"] in (
        ("stopped",) if done < 4 else ("finished", "ended")
    )  # as far as it came before it was killed
    assert seen["videos"]["done"] == done
    assert "the command of the run" in cli("status", output) or done == 4, cli("status", output)
    if done < 4:
        lost = cli("summarize", output, expect=1)
        assert f"{4 - done} videos are not recorded and are still to do" in lost
        assert summary(output)["num_processed_videos"] == done
        assert told(output)["state"] == "ended"
    assert f"4 videos found, {done} done before" in run(videos, output, *FIXED_STRIDE)
    assert snapshot(output) == expected
    shutil.rmtree(output)


def test_where_nothing_runs_it_is_said(tmp_path: Path) -> None:
    assert "is not an output folder of beam-curate" in cli("status", tmp_path, expect=2)
    assert "is not an output folder of beam-curate" in cli("summarize", tmp_path / "none", expect=2)
    (tmp_path / ".work").mkdir()
    assert cli("status", tmp_path) == "no run is recorded here\n"
    assert told(tmp_path) == {"state": "none"}
    assert "nothing can be summed up" in cli("summarize", tmp_path, expect=2)


def test_an_output_in_an_object_store(videos: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = new_place("s3", tmp_path, request)
    printed = run(videos / "deeper", place, *FIXED_STRIDE, *CLIPS_ONLY, *OF_S3)
    store = open_store(place, PROFILE, FileCache(str(tmp_path / "cache")))
    before = {name: store.read(name) for name in WRITTEN[:2]}
    seen = told(place, *OF_S3)
    assert (seen["state"], seen["videos"]["done"]) == ("ended", 1)
    store.delete("summary.json")
    assert table(cli("summarize", place, *OF_S3)) == table(printed)
    after = {name: store.read(name) for name in WRITTEN[:2]}
    summaries = [json.loads(one.pop("summary.json")) for one in (before, after)]
    for one in summaries:
        one.pop("pipeline_run_time")
    assert after == before
    assert summaries[0] == summaries[1]
