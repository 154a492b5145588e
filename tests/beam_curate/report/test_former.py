"""The report of a run with nothing to do is kept, and said again only while nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, run

FLAGS = (*FIXED_STRIDE, "--no-generate-captions", "--generate-cosmos-predict-dataset", "disable")
CHANGES: dict[str, Callable[[Path], object]] = {
    "a record edited": lambda folder: _edit(folder / "out" / "processed_videos" / "a.mp4.json"),
    "a record deleted": lambda folder: (folder / "out" / "processed_clip_chunks" / "a.mp4_0.json").unlink(),
    "the summary deleted": lambda folder: (folder / "out" / "summary.json").unlink(),
    "a video more": lambda folder: make_video(folder / "in" / "b.mp4", frames=130, size=(64, 48), seed=2),
    "a video less": lambda folder: (folder / "in" / "c.mp4").unlink(),
    "another program's words": lambda folder: (folder / "out" / ".work" / "report.json").write_text("{"),
}


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"notes": []', '"notes": ["mine"]'))


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_said_again_until_something_changes(change: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.mp4", frames=130, size=(64, 48))
    make_video(tmp_path / "in" / "c.mp4", frames=130, size=(64, 48), seed=3)
    run(tmp_path / "in", tmp_path / "out", *FLAGS)
    first = run(tmp_path / "in", tmp_path / "out", *FLAGS)
    summary = tmp_path / "out" / "summary.json"
    written = summary.stat().st_mtime_ns
    assert run(tmp_path / "in", tmp_path / "out", *FLAGS) == first
    assert "Nothing to do" in first and "2 videos found, 2 done before" in first
    assert summary.stat().st_mtime_ns == written
    CHANGES[change](tmp_path)
    printed = run(tmp_path / "in", tmp_path / "out", *FLAGS)
    assert summary.stat().st_mtime_ns != written
    found = {"a video more": "3 found, 3 processed", "a video less": "1 found, 1 processed"}
    assert found.get(change, "2 found, 2 processed") in printed
    assert ("note: a.mp4: mine" in printed) == (change == "a record edited")
