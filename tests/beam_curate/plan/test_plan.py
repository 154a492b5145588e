"""What the plan arranges between the stages and the output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_curate.elements import ClipChunk, Video
from beam_curate.options.parse import parse
from beam_curate.plan import plan as planning
from beam_curate.plan.plan import Plan, make_plan
from beam_curate.sources.listing import list_videos
from beam_curate.stage import restart_stages
from beam_curate.store import layout
from tests.support.facts import make_video_element
from tests.support.media import make_video
from tests.support.output import OneName, Output

MARKER = {"failures": 0}
OTHER = make_video_element("other.mp4")


def plan_on(kind: Callable[[Path], Output], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A run over one video of 2 s, with an output of a kind."""
    monkeypatch.setattr(planning, "open_store", lambda place, *_: kind(Path(place)))
    (folder / "in").mkdir()
    make_video(folder / "in" / "a.mp4", frames=48, size=(160, 96))
    flags = ["--input-video-path", str(folder / "in"), "--output-clip-path", str(folder / "out")]
    flags += ["--splitting-algorithm", "fixed-stride", "--fixed-stride-min-clip-length-s", "1"]
    restart_stages()
    return make_plan(parse([*flags, "--no-generate-captions"]))


def chunk_of(plan: Plan, folder: Path) -> ClipChunk:
    (video,) = list_videos(str(folder / "in"), None, frozenset({".mp4"})).videos
    (chunk,) = plan.chunks(plan.shots.process(video))
    return chunk


def mark(plan: Plan, video: Video) -> None:
    for fingerprint in ("a" * 16, plan.context.fingerprint):
        plan.output.write_json(layout.done(fingerprint, video), MARKER)


def marked(plan: Plan) -> int:
    return len(plan.output.list_files(layout.DONE, recursive=True))


def test_no_marker_stands_when_a_clip_comes_to_its_public_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Watched(OneName):
        def keep(self, path: Path, folder: Any, stem: str, public: Any = None) -> Any:
            seen.append(marked(plan))
            return super().keep(path, folder, stem, public)

    plan = plan_on(Watched, tmp_path, monkeypatch)
    chunk = chunk_of(plan, tmp_path)
    mark(plan, chunk.video)
    mark(plan, OTHER)
    done = plan.clips.process(chunk)
    assert seen == [2]  # those of another video
    assert done.clips[0].media and done.clips[0].media.file.path == str(layout.clip(done.clips[0].clip_id))
    mark(plan, chunk.video)
    assert plan.clips.process(chunk) == done
    assert marked(plan) == 4  # nothing was cut


def test_a_marker_that_cannot_be_deleted_keeps_its_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_on(OneName, tmp_path, monkeypatch)
    chunk = chunk_of(plan, tmp_path)
    marker = layout.done("a" * 16, chunk.video)
    plan.output.write(marker / "in the way", b"")
    (clip,) = plan.clips.process(chunk).clips
    assert clip.media is None
    assert [(failure.stage, failure.retriable) for failure in clip.failures] == [("clips", True)]
    assert str(marker) in clip.failures[0].message
    assert not plan.output.list_files(layout.CLIPS)


def test_where_files_are_shared_markers_stay_until_clips_are_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_on(Output, tmp_path, monkeypatch)
    chunk = chunk_of(plan, tmp_path)
    mark(plan, chunk.video)
    assert plan.clips.process(chunk).clips[0].media
    assert marked(plan) == 2
