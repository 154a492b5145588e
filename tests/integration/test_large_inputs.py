"""What is left out of the report when there are too many videos for it, unless it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beam_curate.curate import curate
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan
from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE

BOTH = {"summary", "captions"}


@pytest.mark.parametrize(
    ("few", "flags", "told"),
    [
        (2, (), BOTH),
        (1, (), set()),
        (1, ("--write-all-caption-json",), {"captions"}),
        (1, ("--write-video-summaries",), {"summary"}),
        (2, ("--no-write-all-caption-json", "--no-write-video-summaries"), set()),
    ],
)
def test_single_videos_are_told_of_where_they_are_few(
    few: int, flags: tuple[str, ...], told: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_curate.report.report._FEW", few)
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_video(source / "a.mp4", frames=10)
    (source / "b.mp4").write_text("no video")
    folders = ("--input-video-path", str(source), "--output-clip-path", str(output))
    assert curate(make_plan(parse([*FIXED_STRIDE, "--no-generate-captions", *folders, *flags]))) == 0
    summary = json.loads((output / "summary.json").read_bytes())
    assert (summary["num_input_videos"], summary["num_processed_videos"]) == (2, 1)
    found = {"summary"} if {"a.mp4", "b.mp4"} <= summary.keys() else set()
    found |= {"captions"} if (output / "v0/all_window_captions.json").exists() else set()
    assert found == told
