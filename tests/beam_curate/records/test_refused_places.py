"""What stands in the way of one file of the output costs the video that it belongs to, until it is moved away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from beam_curate.elements import Failure, Video
from beam_curate.records.recorder import publish_chunk, record_video
from beam_curate.records.records import RecordContext
from beam_curate.store import journal
from beam_curate.store.outcomes import outcome, rare_records
from tests.support.facts import items, make_chunk, make_clip, make_context, make_failure, make_video_element, tree
from tests.support.output import Output
from tests.support.selection import selected

A, B = make_video_element("a.mp4"), make_video_element("deep/b.mp4")
# What b leaves; one of them is taken by a folder that is not empty, or a folder above it by a file.
PLACES = {
    "clip": lambda output: output.clip("y"),
    "record of a clip": lambda output: output.clip_meta("y"),
    "record": lambda output: output.processed_video("deep/b.mp4"),
    "record of a chunk": lambda output: output.processed_chunk("deep/b.mp4", 0),
    "record of an error": lambda output: output.video_error("deep/b.mp4"),
    "record of a copy": lambda output: output.skipped_video("deep/b.mp4"),
    "marker": lambda output: output.done("A", B),
    "journal": lambda output: output.root / journal._folder("deep/b.mp4") / "entry.json",
    "video of an item": lambda output: output.dataset / "videos" / "y_0_95.mp4",
    "text of an item": lambda output: output.dataset / "metas" / "y_0_95.txt",
    "embedding of an item": lambda output: output.dataset / "t5_xxl" / "y_0_95.pickle",
}
FOLDERS = ("record", "record of a chunk", "record of an error", "journal")  # a file stands where their folder should be


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def curate(context: RecordContext, video: Video, clip: str, failures: tuple[Failure, ...] = ()) -> str | None:
    chunk = make_chunk([make_clip(context.output, clip)], video)
    return record_video(context, video, [] if failures else [publish_chunk(context, chunk)], failures).unsettled


def to_do(output: Output) -> list[str]:
    return [video.relative_path for video in selected([A, B], output, "A").work]


@pytest.mark.parametrize(
    ("what", "kind"),
    [*((what, "folder") for what in PLACES if what != "journal"), *((what, "file above") for what in FOLDERS)],
)
def test_one_video_is_refused_and_then_done(tmp_path: Path, what: str, kind: str) -> None:
    context = make_context(tmp_path / "out")
    output = context.output
    for video, clip in ((A, "x"), (B, "y")):
        assert curate(context, video, clip) is None
    undisturbed = tree(output.root)
    shutil.rmtree(output.root)

    obstacle = PLACES[what](output)
    if kind == "folder":
        (obstacle / "kept").mkdir(parents=True)
    else:
        obstacle = obstacle.parent
        obstacle.parent.mkdir(parents=True)
        obstacle.write_text("kept")
    # A copy of errors is removed only where it is there, so that nothing but a failure needs the place of an error.
    failures = (make_failure(uri=B.uri),) if (what, kind) == ("record of an error", "file above") else ()
    why = curate(context, B, "y", failures)
    assert curate(context, A, "x") is None
    assert str(obstacle) in (why or ""), why
    assert to_do(output) == ["deep/b.mp4"]
    assert outcome(output, A, rare_records(output)).state == "processed"
    recorded = outcome(output, B, rare_records(output)).failures
    if what != "record of an error":
        assert outcome(output, B, rare_records(output)).state == "failed"
        assert [(one["error_type"], one["retriable"], one["message"]) for one in recorded] == [
            ("OutputError", True, why)
        ]
    if what != "video of an item":  # which a loader would list
        assert items(output) >= {"x_0_95"}

    shutil.rmtree(obstacle) if kind == "folder" else os.unlink(obstacle)
    assert curate(context, B, "y") is None
    assert tree(output.root) == undisturbed
    assert to_do(output) == []
