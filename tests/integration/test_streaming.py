"""Videos stream through: some are finished while others are cut, and a barrier holds all back where one is due."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_curate import counters
from beam_curate.curate import curate
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan
from runners import launch, preflight
from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, command, run, snapshot, summary

VIDEOS = 8


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streaming")
    for seed in range(VIDEOS):
        make_video(folder / f"{seed}.mp4", frames=360, size=(640, 360), seed=seed)
    return folder


def written(output: Path, stage: str) -> list[int]:
    """When the results of a stage were written, in ns."""
    return sorted(path.stat().st_mtime_ns for path in (output / ".work" / stage).rglob("*.json"))


def finished(output: Path) -> list[int]:
    """When videos were marked as done, in ns."""
    return sorted(path.stat().st_mtime_ns for path in (output / ".work" / "done").rglob("*@*"))


def test_videos_are_finished_while_others_are_cut(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(source, output, *FIXED_STRIDE, "--threads", "1")  # half of the videos are in hand at a time
    done, cut = finished(output), written(output, "clips")
    assert len(done) == len(cut) == VIDEOS
    assert done[0] < cut[VIDEOS // 2]
    assert [number for name, number in counted(output).items() if name.startswith("models loaded")] == [1]


def test_a_barrier_holds_all_chunks_of_a_portion_back(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    run(source, output, *FIXED_STRIDE)
    expected = snapshot(output)
    output.rename(tmp_path / "streamed")
    monkeypatch.setattr(preflight, "barriers", lambda plan: frozenset({"text"}))
    monkeypatch.setattr(launch, "_PORTION", VIDEOS // 2)
    counters.reset()
    assert curate(make_plan(parse(command(source, output, *FIXED_STRIDE)[3:]))) == 0
    captions, text, done = written(output, "captions"), written(output, "text"), finished(output)
    half = VIDEOS // 2
    assert captions[half - 1] < text[0] and text[half - 1] < captions[half]  # a portion after the other
    assert captions[-1] < text[half]
    assert done[half - 1] < captions[half]
    assert snapshot(output) == expected


def counted(output: Path) -> dict[str, int]:
    counts: dict[str, int] = summary(output)["beam_curate"]["counts_of_this_run"]
    return counts
