"""Publishing and recording: whatever happened before, the output is what the last run made, and never half of it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from beam_curate.dataset import predict2
from beam_curate.elements import ClipChunk, Failure, Video
from beam_curate.records.recorder import publish_chunk, record_video
from beam_curate.records.records import RecordContext
from beam_curate.store.base import Key
from beam_curate.store.local import LocalStore
from tests.support.facts import (
    items,
    make_chunk,
    make_clip,
    make_context,
    make_failure,
    make_video_element,
    make_window,
    tree,
)
from tests.support.output import Output

VIDEO = make_video_element()


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def context(tmp_path: Path) -> RecordContext:
    return make_context(tmp_path / "out")


@pytest.fixture
def layout(context: RecordContext) -> Output:
    return context.output


def other(context: RecordContext, fingerprint: str = "B", **fields: Any) -> RecordContext:
    return dataclasses.replace(context, fingerprint=fingerprint, **fields)


def curate(
    context: RecordContext, chunks: list[ClipChunk], video: Video = VIDEO, failures: tuple[Failure, ...] = ()
) -> None:
    """What a whole run does with the chunks of a video."""
    record_video(context, video, [publish_chunk(context, chunk) for chunk in chunks], failures)


def chunks_of(layout: Output, *groups: str, video: Video = VIDEO, **clip: Any) -> list[ClipChunk]:
    """One chunk a word, one clip a letter."""
    total = sum(map(len, groups))
    return [
        make_chunk([make_clip(layout, name, **clip) for name in group], video, index, len(groups), total)
        for index, group in enumerate(groups)
    ]


def is_done(context: RecordContext, video: Video = VIDEO) -> bool:
    return context.output.done(context.fingerprint, video).exists()


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def clip_names(layout: Output) -> set[str]:
    return {path.stem for path in (layout.root / "clips").glob("*")}


def meta_names(layout: Output) -> set[str]:
    return {path.stem for path in (layout.root / "metas" / "v0").glob("*")}


def test_what_a_video_leaves(context: RecordContext, layout: Output) -> None:
    curate(context, chunks_of(layout, "xy", "z", media="pictures", text="A ball."))
    assert items(layout) == {"x_0_95", "y_0_95", "z_0_95"}
    assert clip_names(layout) == meta_names(layout) == {"x", "y", "z"}
    assert (layout.dataset / "metas" / "x_0_95.txt").read_text() == "A ball."
    assert (layout.dataset / "t5_xxl" / "x_0_95.pickle").read_text() == "states of A ball."
    assert (layout.dataset / "videos" / "x_0_95.mp4").samefile(layout.clip("x"))
    first, second = (read(layout.processed_chunk("a.mp4", index)) for index in range(2))
    assert first["clips"] == ["x", "y"]
    assert first["dataset_items"] == ["x_0_95", "y_0_95"]
    assert second["all_windows"] == {"z": {"0_95": "A ball."}}
    assert read(layout.processed_video("a.mp4"))["num_total_clips"] == 3
    assert is_done(context)
    assert not layout.video_error("a.mp4").exists()
    assert not layout.skipped_video("a.mp4").exists()


def test_doing_it_twice_changes_no_byte_and_writes_no_clip_again(context: RecordContext, layout: Output) -> None:
    chunks = chunks_of(layout, "xy", "z")
    curate(context, chunks)
    before = tree(layout.root)
    inodes = {path: path.stat().st_ino for path in layout.dataset.rglob("*.*")}
    curate(context, list(reversed(chunks)))
    assert tree(layout.root) == before
    assert {path: path.stat().st_ino for path in layout.dataset.rglob("*.*")} == inodes


def options_a(layout: Output) -> list[ClipChunk]:
    return chunks_of(layout, "uv", "wx", "y", text="As A says.")


# What another run may make of the same video.
OTHERS: dict[str, Callable[[Output], list[ClipChunk]]] = {
    "other clips": lambda layout: chunks_of(layout, "pqr"),
    "fewer chunks": lambda layout: chunks_of(layout, "uv", text="As A says."),
    "more chunks": lambda layout: chunks_of(layout, "u", "v", "w", "x", "y", "z"),
    "other captions": lambda layout: chunks_of(layout, "uv", "wx", "y", text="As B says."),
    "other pictures": lambda layout: chunks_of(layout, "uv", "wx", "y", text="As A says.", media="smaller"),
    "other windows": lambda layout: [
        make_chunk(
            [
                make_clip(
                    layout,
                    "u",
                    windows=tuple(
                        make_window(layout, f"u{i}", 48 * i, 48 * i + 47, video=f"part {i}") for i in range(2)
                    ),
                )
            ]
        )
    ],
    "no dataset": lambda layout: chunks_of(layout, "uv", "wx", "y", windows=()),
    "no clips": lambda layout: [make_chunk(())],
    "clips that fail": lambda layout: [
        make_chunk(
            [
                make_clip(layout, "u", None, failures=(make_failure(clip_id="u"),)),
                make_clip(layout, "new", None, failures=(make_failure(clip_id="new"),)),
            ]
        )
    ],
    "failure": lambda layout: [],
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_leaves_what_it_made_and_back_again(
    context: RecordContext, layout: Output, tmp_path: Path, what: str
) -> None:
    failures = (make_failure(stage="shots"),) if what == "failure" else ()
    curate(context, options_a(layout))
    after_a = tree(layout.root)

    curate(other(context), OTHERS[what](layout), failures=failures)
    fresh = make_context(tmp_path / "fresh", "B")
    curate(fresh, OTHERS[what](fresh.output), failures=failures)
    assert set(tree(layout.root)) == set(tree(fresh.output.root))
    assert items(layout) == items(fresh.output)
    for folder in (layout.dataset.name, "clips"):
        assert tree(layout.root / folder) == tree(fresh.output.root / folder)
    assert is_done(other(context))
    assert not is_done(context)

    curate(context, options_a(layout))
    assert tree(layout.root) == after_a
    assert is_done(context)
    assert not is_done(other(context))


def test_a_run_that_was_interrupted_leaves_nothing_for_the_next_with_other_options(
    context: RecordContext, layout: Output
) -> None:
    # All chunks of all videos are published before the first video is recorded.
    for chunk in chunks_of(layout, "pq", "r"):
        publish_chunk(other(context), chunk)
    assert items(layout) == {"p_0_95", "q_0_95", "r_0_95"}
    curate(context, options_a(layout))
    assert items(layout) == {f"{name}_0_95" for name in "uvwxy"}
    assert clip_names(layout) == meta_names(layout) == set("uvwxy")


@pytest.mark.parametrize("published", [1, 2])
def test_there_and_back_with_an_interruption_between(context: RecordContext, layout: Output, published: int) -> None:
    curate(context, options_a(layout))
    after_a = tree(layout.root)
    for chunk in chunks_of(layout, "pq", "r", text="As B says.")[:published]:
        publish_chunk(other(context), chunk)
    assert not is_done(context)
    curate(context, options_a(layout))
    assert tree(layout.root) == after_a
    assert is_done(context)


def test_an_interrupted_journal_line_hides_no_other(context: RecordContext, layout: Output) -> None:
    first, second = chunks_of(layout, "pq", "r")
    publish_chunk(other(context), first)
    for path in layout.published.iterdir():
        with path.open("a") as file:
            file.write('{"clips": ["z"')  # as a power cut leaves it
    publish_chunk(other(context), second)
    curate(context, options_a(layout))
    assert clip_names(layout) == set("uvwxy")


def test_nothing_of_the_program_is_left_to_read_once_a_video_is_recorded(
    context: RecordContext, layout: Output
) -> None:
    curate(context, options_a(layout))
    assert not list(layout.published.iterdir())


class PowerCutError(Exception):
    """Stands for the end of the process."""


class PowerCut:
    """Lets so many renames and removals happen and then no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        for name in ("replace", "unlink"):
            monkeypatch.setattr(Path, name, self.wrap(getattr(Path, name)))

    def wrap(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(path: Path, *arguments: Any, **how: Any) -> Any:
            if "tmp" in path.parts[-2:] and change.__name__ == "unlink":
                return change(path, *arguments, **how)
            if self.left == 0:
                raise PowerCutError
            self.left -= 1
            return change(path, *arguments, **how)

        return changed


@pytest.mark.parametrize("then", ["B", "A"])
def test_a_power_cut_at_any_moment_leaves_whole_items_and_the_next_run_mends_all(tmp_path: Path, then: str) -> None:
    def runs(context: RecordContext) -> dict[str, Callable[[], None]]:
        layout = context.output
        return {
            "A": lambda: curate(context, chunks_of(layout, "ux", "y", text="As A says.")),
            "B": lambda: curate(other(context), chunks_of(layout, "uz", text="As B says.")),
        }

    output = tmp_path / "out"
    expected = make_context(output)
    runs(expected)[then]()
    wanted = tree(output)
    after = 0
    while True:
        output.rename(tmp_path / f"before {after}")
        context = make_context(output)
        runs(context)["A"]()
        with pytest.MonkeyPatch.context() as monkeypatch:
            PowerCut(monkeypatch, after)
            try:
                runs(context)["B"]()
                cut = False
            except PowerCutError:
                cut = True
        items(context.output)  # each of them is whole
        assert not (cut and is_done(other(context)))
        runs(context)[then]()
        assert tree(output) == wanted, f"cut after {after} changes"
        if not cut:
            break
        after += 1
    assert after > 20


def test_all_that_a_marker_speaks_of_is_on_the_disk_before_it(
    context: RecordContext, layout: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: dict[int, int] = {}  # by inode: bytes when it was waited for

    def synced(descriptor: int) -> None:
        assert not is_done(context)
        facts = os.fstat(descriptor)
        on_disk[facts.st_ino] = facts.st_size

    monkeypatch.setattr("os.fsync", synced)
    curate(context, chunks_of(layout, "xy", "z"))
    assert is_done(context)
    published = [path for path in layout.root.rglob("*") if path.is_file() and layout.work not in path.parents]
    stored = [path for path in (layout.work / "files").rglob("*") if path.is_file()]
    assert len(published) > 10 and len(stored) > 3
    for path in (*published, *stored):
        assert on_disk.get(path.stat().st_ino) == path.stat().st_size, path
    for folder in {path.parent for path in published}:
        assert folder.stat().st_ino in on_disk, folder


def test_a_failed_link_leaves_no_video_without_its_text_and_embedding(
    context: RecordContext, layout: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    curate(context, chunks_of(layout, "x", text="As A says."))
    real = LocalStore.link

    def full(self: LocalStore, source: Key, target: Key) -> None:
        if PurePosixPath(target).suffix == ".pickle":
            raise OSError(28, "No space left on device")
        real(self, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "link", full)
        published = publish_chunk(other(context), chunks_of(layout, "x", text="As B says.")[0])
    assert "No space left on device" in published.clips[0].failures[0].message
    assert items(layout) == set()
    curate(other(context), chunks_of(layout, "x", text="As B says."))
    assert items(layout) == {"x_0_95"}
    assert (layout.dataset / "metas" / "x_0_95.txt").read_text() == "As B says."


@pytest.mark.parametrize("level", ["video", "clip"])
@pytest.mark.parametrize("retriable", [False, True])
def test_a_failure_that_may_pass_withholds_the_marker(
    context: RecordContext, layout: Output, level: str, retriable: bool
) -> None:
    failure = make_failure(retriable, clip_id="x" if level == "clip" else None)
    chunks = [make_chunk([make_clip(layout, "x", None, failures=(failure,)), make_clip(layout, "y")])]
    curate(context, chunks if level == "clip" else [], failures=() if level == "clip" else (failure,))
    assert is_done(context) is not retriable
    record = read(layout.video_error("a.mp4"))
    assert record["errors"] == {"clips": "SomeError: it broke"}
    assert record["failures"] == [dataclasses.asdict(failure)]
    assert layout.processed_video("a.mp4").exists() is (level == "clip")
    if not retriable:
        marker = layout.done("A", VIDEO)
        assert read(marker) == {"failures": 1, "video": VIDEO.uri}


@pytest.mark.parametrize("level", ["video", "clip"])
def test_a_retried_video_that_may_yet_succeed_is_no_longer_done(
    context: RecordContext, layout: Output, level: str
) -> None:
    curate(context, [], failures=(make_failure(),))
    assert is_done(context)
    passing = make_failure(retriable=True)
    if level == "video":
        curate(context, [], failures=(passing,))
    else:
        curate(context, [make_chunk([make_clip(layout, "x", None, failures=(passing,))])])
    assert not is_done(context)


def test_a_failure_that_may_pass_takes_nothing_away(context: RecordContext, layout: Output) -> None:
    curate(context, options_a(layout))
    made = items(layout)
    curate(other(context), [], failures=(make_failure(retriable=True),))
    assert items(layout) == made
    assert clip_names(layout) == set("uvwxy")
    assert layout.video_error("a.mp4").exists()
    assert not is_done(context)
    assert not is_done(other(context))
    curate(other(context), options_a(layout))
    assert not layout.video_error("a.mp4").exists()


def test_a_permanent_failure_takes_away_what_was_made(context: RecordContext, layout: Output) -> None:
    curate(context, options_a(layout))
    curate(other(context), [], failures=(make_failure(),))
    assert set(tree(layout.root)) == {"video_errors/a.mp4_0.json"}


def failing(layout: Output, *groups: str) -> list[ClipChunk]:
    return [
        chunk.with_clips(
            tuple(
                make_clip(layout, clip.clip_id, None, failures=(make_failure(clip_id=clip.clip_id),))
                if clip.clip_id.isupper()
                else clip
                for clip in chunk.clips
            )
        )
        for chunk in chunks_of(layout, *groups)
    ]


def error_indexes(layout: Output) -> list[int]:
    names = sorted(path.stem for path in (layout.root / "video_errors").glob("*.json"))
    return [int(name.rpartition("_")[2]) for name in names]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["X", "y"], ["x", "y"]),
        (["x", "Y"], ["x", "y"]),
        (["x", "y", "z", "W"], ["x", "y"]),
        (["x", "y", "z", "W"], ["X"]),
        (["X", "Y", "z", "W"], ["x", "Y"]),
        (["x"], ["X", "Y"]),
    ],
)
def test_error_records_are_those_of_the_last_run(
    context: RecordContext, layout: Output, before: list[str], after: list[str]
) -> None:
    for fingerprint, groups in (("A", before), ("B", after)):
        curate(other(context, fingerprint), failing(layout, *groups))
        assert error_indexes(layout) == [index for index, group in enumerate(groups) if group.isupper()]


def test_records_of_failed_clips_go_when_their_clips_do(context: RecordContext, layout: Output) -> None:
    curate(context, failing(layout, "XY"))
    assert meta_names(layout) == {"X", "Y"}
    curate(other(context), chunks_of(layout, "z"))
    assert meta_names(layout) == {"z"}


def test_a_clip_that_fails_now_is_withdrawn_and_keeps_its_record(context: RecordContext, layout: Output) -> None:
    curate(context, chunks_of(layout, "xy"))
    broken = make_clip(layout, "x", None, failures=(make_failure(clip_id="x"),))
    curate(other(context), [make_chunk([broken, make_clip(layout, "y")])])
    assert items(layout) == {"y_0_95"}
    assert clip_names(layout) == {"y"}
    assert read(layout.clip_meta("x"))["failures"][0]["message"] == "it broke"
    assert read(layout.processed_chunk("a.mp4", 0))["num_clips_failed"] == 1


def test_a_video_without_clips_is_processed(context: RecordContext, layout: Output) -> None:
    curate(context, [make_chunk(())])
    assert read(layout.processed_video("a.mp4"))["num_total_clips"] == 0
    assert read(layout.processed_chunk("a.mp4", 0))["clips"] == []
    assert is_done(context)


def test_a_copy_is_recorded_as_skipped_and_what_was_made_of_it_withdrawn(
    context: RecordContext, layout: Output
) -> None:
    copy = dataclasses.replace(VIDEO, duplicate_of="0.mp4")
    curate(other(context), options_a(layout))
    record_video(context, copy, [], [])
    assert set(tree(layout.root)) == {"skipped_videos/a.mp4.json"}
    record = read(layout.skipped_video("a.mp4"))
    assert (record["reason"], record["duplicate_of"]) == ("same content as 0.mp4", "0.mp4")
    assert is_done(context, copy)
    curate(other(context), options_a(layout))
    assert not layout.skipped_video("a.mp4").exists()
    assert not is_done(context, copy)
    assert items(layout)


@pytest.mark.parametrize("failed", [False, True], ids=["curated", "failed"])
def test_a_replaced_file_is_another_video_of_the_same_name(
    context: RecordContext, layout: Output, failed: bool
) -> None:
    newer = make_video_element(etag="2")
    curate(context, options_a(layout))
    if failed:
        curate(context, [], newer, (make_failure(),))
        assert items(layout) == set()
    else:
        curate(context, chunks_of(layout, "pq", video=newer), newer)
        assert items(layout) == {"p_0_95", "q_0_95"}
        assert clip_names(layout) == {"p", "q"}
    assert not is_done(context)
    assert is_done(context, newer)


def test_another_share_for_validation_moves_items(context: RecordContext, layout: Output) -> None:
    by_part = {}
    for number in range(40):
        video = make_video_element(f"{number}.mp4")
        by_part.setdefault(predict2.part_of(video, 0.5), video)
    train, val = by_part["train"], by_part["val"]

    def run(fingerprint: str, fraction: float) -> None:
        for video, name in ((train, "t"), (val, "v")):
            own = other(context, fingerprint, validation_fraction=fraction)
            curate(own, chunks_of(layout, name, video=video), video)

    run("A", 0.0)
    assert items(layout) == {"t_0_95", "v_0_95"}
    run("B", 0.5)
    assert (items(layout), items(layout, "train"), items(layout, "val")) == (set(), {"t_0_95"}, {"v_0_95"})
    assert predict2.remove_empty(layout, 0.0) == ["train", "val"]
    assert predict2.remove_empty(layout, 0.5) == []
    assert {path.name for path in layout.dataset.iterdir()} == {"train", "val"}
    assert read(layout.processed_video(val.relative_path))["dataset_part"] == "val"
    run("A", 0.0)
    assert (items(layout), items(layout, "train"), items(layout, "val")) == ({"t_0_95", "v_0_95"}, set(), set())
    assert predict2.remove_empty(layout, 0.0) == []
    assert {path.name for path in layout.dataset.iterdir()} == {"videos", "metas", "t5_xxl"}


def test_a_published_clip_that_was_lost_or_changed_is_put_back(context: RecordContext, layout: Output) -> None:
    curate(context, chunks_of(layout, "xy"))
    before = tree(layout.root)
    layout.clip("x").unlink()
    layout.clip("y").unlink()
    layout.clip("y").write_bytes(b"something else")
    (layout.dataset / "metas" / "x_0_95.txt").write_text("something else")
    (layout.dataset / "t5_xxl" / "y_0_95.pickle").unlink()
    curate(context, chunks_of(layout, "xy"))
    assert tree(layout.root) == before


def test_a_clip_whose_windows_could_not_be_cut_gives_no_item_with_the_whole_clip(
    context: RecordContext, layout: Output
) -> None:
    windows = tuple(make_window(layout, f"x{i}", 48 * i, 48 * i + 47) for i in range(2))
    clip = make_clip(layout, "x", windows=windows, failures=(make_failure(stage="windows", clip_id="x"),))
    curate(context, [make_chunk([clip])])
    assert items(layout) == set()
    assert read(layout.processed_chunk("a.mp4", 0))["dataset_items"] == []


@pytest.mark.parametrize(
    "name", ["a b'\"\n#%.mp4", "日本/ü.mp4", "x" * 240 + ".mp4", "inner.mp4.mov", "d/" * 50 + "e.mp4"]
)
def test_odd_names_have_records_of_their_own(context: RecordContext, layout: Output, name: str) -> None:
    video = make_video_element(name)
    curate(context, chunks_of(layout, "x", video=video), video)
    curate(context, [], make_video_element("other.mp4"), (make_failure(),))
    assert is_done(context, video)
    curate(other(context), chunks_of(layout, "y", video=video), video)
    assert items(layout) == {"y_0_95"}
    assert read(layout.processed_video(name))["video"] == video.uri


INCOMPLETE: dict[str, tuple[str, Callable[[list[ClipChunk]], list[ClipChunk]]]] = {
    "none": ("neither clips nor a failure", lambda chunks: []),
    "not the first": ("1 of 3 chunks did not arrive (0,", lambda chunks: chunks[1:]),
    "not the one between": ("1 of 3 chunks did not arrive (1,", lambda chunks: [chunks[0], chunks[2]]),
    "not the last": ("1 of 3 chunks did not arrive (2,", lambda chunks: chunks[:2]),
    "one": ("2 of 3 chunks did not arrive (0, 2,", lambda chunks: chunks[1:2]),
    "one twice": ("more than once (1,", lambda chunks: [*chunks, chunks[1]]),
    "one in the place of another": ("1 of 3 chunks did not arrive (2,", lambda chunks: [*chunks[:2], chunks[0]]),
    "one beyond": (
        "more than once (7,",
        lambda chunks: [*chunks, dataclasses.replace(chunks[0], index=7)],
    ),
}


@pytest.mark.parametrize("what", INCOMPLETE)
@pytest.mark.parametrize("before", [False, True], ids=["first run", "made before"])
def test_a_video_that_is_not_whole_stays_open_and_loses_nothing(
    context: RecordContext, layout: Output, what: str, before: bool
) -> None:
    sentence, take = INCOMPLETE[what]
    chunks = chunks_of(layout, "uv", "wx", "y")
    if before:
        curate(context, chunks)
    published = [publish_chunk(context, chunk) for chunk in chunks]
    assert sentence in (record_video(context, VIDEO, take(published), ()) or "")
    assert not is_done(context)
    (failure,) = read(layout.video_error("a.mp4"))["failures"]
    assert failure["error_type"] == "IncompleteVideoError" and failure["retriable"]
    assert sentence in failure["message"]
    assert clip_names(layout) == set("uvwxy")
    assert len(items(layout)) == 5
    curate(context, chunks)  # and the next run settles it
    assert is_done(context) and not layout.video_error("a.mp4").exists()
    assert not list(layout.published.glob("*"))


def test_what_arrived_of_an_incomplete_video_is_withdrawn_by_other_options(
    context: RecordContext, layout: Output
) -> None:
    published = [publish_chunk(context, chunk) for chunk in chunks_of(layout, "uv", "wx", "y")]
    record_video(context, VIDEO, published[:1], ())
    curate(other(context), chunks_of(layout, "pq"))
    assert clip_names(layout) == set("pq") and items(layout) == {"p_0_95", "q_0_95"}
