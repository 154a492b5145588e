"""Which videos a run takes: what is done is subtracted, copies are named, the limit counts real work."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.elements import Failure, Video
from beam_curate.records.recorder import publish_chunk, record_video
from beam_curate.records.records import RecordContext
from beam_curate.sources.listing import list_videos
from beam_curate.sources.selection import Selection, read_selection, write_selection
from beam_curate.store.files import sha256_of
from beam_curate.store.local import LocalStore
from tests.support.facts import make_chunk, make_clip, make_context, make_failure, make_video_element
from tests.support.output import Output
from tests.support.selection import selected


class Place:
    """An input folder, an output, and runs that do nothing but record."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "in"
        self.source.mkdir()
        self.context = make_context(folder / "out")

    @property
    def output(self) -> Output:
        return self.context.output

    def put(self, **contents: str) -> None:
        for name, content in contents.items():
            (self.source / f"{name}.mp4").write_text(content)

    def select(self, **how: object) -> Selection:
        videos = list_videos(str(self.source), None, frozenset({".mp4"})).videos
        return selected(videos, self.output, self.context.fingerprint, **how)

    def run(self, failures: dict[str, Failure] | None = None, **how: object) -> list[str]:
        """Records what is selected, and returns it: ``b=a`` for a copy."""
        chosen = self.select(**how)
        for video in chosen.videos:
            record(self.context, video, (failures or {}).get(Path(video.relative_path).stem))
        return names(chosen)


def record(context: RecordContext, video: Video, failure: Failure | None) -> None:
    chunks = []
    if video.duplicate_of is None and failure is None:
        chunks = [publish_chunk(context, make_chunk([make_clip(context.output, video.video_id)], video))]
    record_video(context, video, chunks, [failure] if failure else [])


def names(chosen: Selection) -> list[str]:
    return [
        Path(video.relative_path).stem + (f"={Path(video.duplicate_of).stem}" if video.duplicate_of else "")
        for video in chosen.videos
    ]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_is_done_is_subtracted(place: Place) -> None:
    place.put(a="one", b="other", c="third!")
    chosen = place.select()
    assert (chosen.listed, chosen.done, names(chosen)) == (3, 0, ["a", "b", "c"])
    record(place.context, chosen.videos[1], None)
    chosen = place.select()
    assert (chosen.listed, chosen.done, names(chosen)) == (3, 1, ["a", "c"])


def test_a_changed_file_is_not_done(place: Place) -> None:
    place.put(a="one", b="other")
    place.run()
    place.put(b="changed")
    assert place.run() == ["b"]
    assert place.run() == []


def test_another_fingerprint_has_nothing_done(place: Place) -> None:
    place.put(a="one")
    place.run()
    place.context = dataclasses.replace(place.context, fingerprint="B")
    assert place.run() == ["a"]


def test_the_limit_counts_what_is_not_done(place: Place) -> None:
    place.put(a="one", b="other", c="third!", d="the fourth")
    assert place.run(limit=1) == ["a"]
    assert place.run(limit=2) == ["b", "c"]
    assert place.run(limit=2) == ["d"]
    assert place.run(limit=2) == []


def test_limit_by_limit_comes_to_the_same_as_all_at_once(place: Place, tmp_path: Path) -> None:
    contents = {"a": "x", "b": "y", "c": "x", "d": "zz", "e": "y", "f": "x", "g": "q"}
    place.put(**contents)
    steps = []
    while step := place.run(limit=1):
        steps += step
    (tmp_path / "other").mkdir()
    at_once = Place(tmp_path / "other")
    at_once.put(**contents)
    assert sorted(steps) == sorted(at_once.run())
    assert steps.count("c=a") == steps.count("e=b") == steps.count("f=a") == 1


def test_copies_name_the_first_of_their_kind_and_do_not_count(place: Place) -> None:
    place.put(a="same", b="same", c="else", d="same")
    chosen = place.select(limit=2)
    assert names(chosen) == ["a", "b=a", "c"] or names(chosen) == ["a", "b=a", "c", "d=a"]
    assert [video.relative_path for video in chosen.work] == ["a.mp4", "c.mp4"]
    assert place.run() == ["a", "b=a", "c", "d=a"]
    assert place.run() == []


def test_empty_files_are_no_copies_of_each_other(place: Place) -> None:
    place.put(a="", b="")
    assert names(place.select()) == ["a", "b"]


END = 1 << 16
LONG = {
    # What files of equal size hold, which are copies, and how many are read whole to know.
    "all alike": ({"a": b"x" * 5 * END, "b": b"x" * 5 * END}, ["a", "b=a"], 2),
    "another first byte": ({"a": b"y" + b"x" * 5 * END, "b": b"x" * 5 * END + b"x"}, ["a", "b"], 0),
    "another last byte": ({"a": b"x" * 5 * END + b"y", "b": b"x" * 5 * END + b"x"}, ["a", "b"], 0),
    "another middle": (
        {"a": b"x" * 2 * END + b"y" + b"x" * 2 * END, "b": b"x" * (4 * END + 1), "c": b"x" * (4 * END + 1)},
        ["a", "b", "c=b"],
        3,
    ),
    "as long as an end": ({"a": b"x" * END, "b": b"x" * END, "c": b"x" * (END - 1) + b"y"}, ["a", "b=a", "c"], 2),
    "a byte": ({"a": b"x", "b": b"x", "c": b"y"}, ["a", "b=a", "c"], 2),
    "nothing": ({"a": b"", "b": b""}, ["a", "b"], 0),
    "other lengths": ({"a": b"x" * END, "b": b"x" * (END + 1)}, ["a", "b"], 0),
}


@pytest.fixture
def read_whole(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read from beginning to end."""
    read: list[str] = []

    def watched(path: Path) -> str:
        read.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr("beam_curate.sources.selection.sha256_of", watched)
    return read


@pytest.mark.parametrize("what", LONG)
def test_as_little_is_read_as_tells_files_apart(place: Place, read_whole: list[str], what: str) -> None:
    contents, expected, num_read = LONG[what]
    for name, content in contents.items():
        (place.source / f"{name}.mp4").write_bytes(content)
    assert names(place.select()) == expected
    assert len(read_whole) == num_read
    assert names(place.select(keep_duplicates=True)) == list(contents)
    assert len(read_whole) == num_read


def test_large_files_that_end_otherwise_are_not_read(place: Place, read_whole: list[str]) -> None:
    for name in "abc":
        path = place.source / f"{name}.mp4"
        path.write_bytes(b"header")
        os.truncate(path, 4 << 30)
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(name.encode())
    assert names(place.select()) == ["a", "b", "c"]
    assert read_whole == []


def test_what_is_alike_and_done_is_not_read_again(place: Place, read_whole: list[str]) -> None:
    place.put(a="same", b="same")
    place.run()
    read_whole.clear()
    place.put(c="size")
    assert names(place.select()) == ["c"]
    assert read_whole == []


@pytest.mark.parametrize("moment", ["before", "between"])
def test_a_file_that_vanishes_is_no_copy_and_has_none(
    place: Place, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    place.put(a="same", b="same", c="same")
    videos = list_videos(str(place.source), None, frozenset({".mp4"})).videos
    gone = place.source / "a.mp4"

    def vanishing(path: Path) -> str:
        gone.unlink(missing_ok=True)
        return sha256_of(path)

    if moment == "before":
        gone.unlink()
    monkeypatch.setattr("beam_curate.sources.selection.sha256_of", vanishing)
    monkeypatch.setattr("beam_curate.sources.selection.ThreadPoolExecutor", lambda: ThreadPoolExecutor(1))
    assert names(selected(videos, place.output, "A")) == ["a", "b", "c=b"]


OBJECTS = {
    "same etag": ([(9, "e1"), (9, "e1"), (9, "e1")], ["a", "b=a", "c=a"]),
    "other etags": ([(9, "e1"), (9, "e2"), (9, "e1")], ["a", "b", "c=a"]),
    "same etag, other size": ([(9, "e1"), (8, "e1"), (8, "e1")], ["a", "b", "c=b"]),
    "no etag": ([(9, ""), (9, ""), (9, "e1")], ["a", "b", "c"]),
    "nothing in them": ([(0, "e1"), (0, "e1"), (9, "e1")], ["a", "b", "c"]),
}


@pytest.mark.parametrize("what", OBJECTS)
def test_objects_are_compared_by_what_their_store_says_of_them(place: Place, what: str) -> None:
    facts, expected = OBJECTS[what]
    videos = [Video(f"s3://footage/{name}.mp4", f"{name}.mp4", *fact) for name, fact in zip("abc", facts, strict=True)]
    assert names(selected(videos, place.output, "A")) == expected


def test_an_object_is_no_copy_of_a_file(place: Place) -> None:
    place.put(a="same")
    (file,) = list_videos(str(place.source), None, frozenset({".mp4"})).videos
    video = Video("s3://footage/b.mp4", "b.mp4", file.size_bytes, file.etag)
    assert names(selected([file, video], place.output, "A")) == ["a", "b"]


def test_a_copy_added_later_is_a_copy_of_the_one_that_is_done(place: Place) -> None:
    place.put(m="same")
    place.run()
    place.put(z="same")
    assert place.run() == ["z=m"]
    place.put(a="same")
    assert place.run() == ["a=m"]  # though it sorts before it: m's clips are in the dataset already


def test_copies_stay_out_while_their_original_fails(place: Place) -> None:
    place.put(a="same", b="same")
    assert place.run({"a": make_failure(retriable=True)}) == ["a", "b=a"]
    assert place.run()[0] == "a"
    assert place.run() == []


@pytest.mark.parametrize("first", ["a", "m"])
def test_retrying_does_not_turn_an_original_into_a_copy_of_its_copy(place: Place, first: str) -> None:
    place.put(**{first: "same"})
    place.run({first: make_failure()})
    place.put(g="same")
    place.run()
    assert first in place.select(retry_failed=True).work[0].relative_path
    assert place.run(retry_failed=True)[0 if first == "a" else -1] == first


def test_when_the_original_is_replaced_its_copy_is_curated(place: Place) -> None:
    place.put(a="same", b="same")
    assert place.run() == ["a", "b=a"]
    place.put(a="something else")
    assert place.run() == ["a", "b"]
    assert place.run() == []


def test_copies_may_be_kept(place: Place) -> None:
    place.put(a="same", b="same")
    assert names(place.select(keep_duplicates=True)) == ["a", "b"]


def test_what_failed_for_good_is_left_alone_until_it_is_retried(place: Place) -> None:
    place.put(a="one", b="other", c="third!")
    place.run({"b": make_failure()})
    assert place.run() == []
    assert place.run({"b": make_failure()}, retry_failed=True) == ["b"]
    assert place.run(retry_failed=True) == ["b"]
    assert place.run(retry_failed=True) == []


def test_what_may_pass_is_tried_again_by_itself(place: Place) -> None:
    place.put(a="one", b="other")
    place.run({"b": make_failure(retriable=True)})
    assert place.run() == ["b"]


def test_a_selection_comes_back_as_it_was_written(tmp_path: Path) -> None:
    videos = [make_video_element("a b'\"\n#%.mp4"), make_video_element("日本/\u2028x.mp4", duplicate_of="a\nb.mp4")]
    output = LocalStore(tmp_path)
    write_selection(output, PurePosixPath("s"), videos)
    assert list(read_selection(output, PurePosixPath("s"))) == videos
    write_selection(output, PurePosixPath("s"), [])
    assert list(read_selection(output, PurePosixPath("s"))) == []
