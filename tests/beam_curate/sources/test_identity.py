"""Sources of the same name in several input folders: none loses its clips to another without a word."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.records.recorder import publish_chunk, record_video
from beam_curate.records.records import RecordContext
from beam_curate.sources.identity import check_sources
from beam_curate.sources.listing import list_videos
from beam_curate.sources.reading import SourceReader
from beam_curate.store.recorded import Recorded
from tests.support.facts import make_chunk, make_clip, make_context


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def context(tmp_path: Path) -> RecordContext:
    for camera in ("cam1", "cam2"):
        (tmp_path / "in" / camera).mkdir(parents=True)
        (tmp_path / "in" / camera / "1.mp4").write_text(camera)
    return make_context(tmp_path / "out")


def listed(folder: Path) -> tuple[Video, ...]:
    return list_videos(str(folder), None, frozenset({".mp4"})).videos


def curate(context: RecordContext, folder: Path) -> None:
    check_sources(listed(folder), Recorded(context.output), SourceReader())
    for video in listed(folder):
        chunk = make_chunk([make_clip(context.output, video.video_id)], video)
        assert record_video(context, video, [publish_chunk(context, chunk)], ()).unsettled is None


# The input of the first run, of the second, and words of the refusal.
REFUSED = {
    "another folder": ("in/cam1", "in/cam2", ["in/cam1/1.mp4", "in/cam2/1.mp4", "withdrawn"]),
    "a folder above": ("in/cam1", "in", ["as 1.mp4, from the input folder", "in/cam1; now it is cam1/1.mp4"]),
    "a folder below": ("in", "in/cam2", ["as cam2/1.mp4, from the input folder", "in; now it is 1.mp4"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(context: RecordContext, tmp_path: Path, what: str) -> None:
    before, after, words = REFUSED[what]
    curate(context, tmp_path / before)
    with pytest.raises(UsageError, match="--output-clip-path") as refused:
        curate(context, tmp_path / after)
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_source_that_failed_or_was_skipped_is_one_too(context: RecordContext, tmp_path: Path) -> None:
    (video,) = listed(tmp_path / "in" / "cam1")
    record_video(context, dataclasses.replace(video, duplicate_of="other.mp4"), (), ())
    with pytest.raises(UsageError, match="withdrawn"):
        check_sources(listed(tmp_path / "in" / "cam2"), Recorded(context.output), SourceReader())


@pytest.mark.parametrize("how", ["same", "replaced", "moved", "by a link", "its parent moved"])
def test_the_same_video(context: RecordContext, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "in" / "cam1"
    curate(context, folder)
    if how == "replaced":
        (folder / "1.mp4").write_text("another recording")
    elif how == "moved":
        folder = folder.rename(tmp_path / "moved")
    elif how == "its parent moved":
        folder = (tmp_path / "in").rename(tmp_path / "moved") / "cam1"
    elif how == "by a link":
        (tmp_path / "link").symlink_to(folder)
        folder = tmp_path / "link"
    curate(context, folder)
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 1


def test_several_folders_under_one_input(context: RecordContext, tmp_path: Path) -> None:
    curate(context, tmp_path / "in")
    shutil.copytree(tmp_path / "in" / "cam1", tmp_path / "in" / "cam3")
    curate(context, tmp_path / "in")
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 3
