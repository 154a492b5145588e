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
def output(context: RecordContext) -> Output:
    return context.output


def other(context: RecordContext, fingerprint: str = "B", **fields: Any) -> RecordContext:
    return dataclasses.replace(context, fingerprint=fingerprint, **fields)


def curate(
    context: RecordContext, chunks: list[ClipChunk], video: Video = VIDEO, failures: tuple[Failure, ...] = ()
) -> None:
    """What a whole run does with the chunks of a video."""
    record_video(context, video, [publish_chunk(context, chunk) for chunk in chunks], failures)


def chunks_of(output: Output, *groups: str, video: Video = VIDEO, **clip: Any) -> list[ClipChunk]:
    """One chunk a word, one clip a letter."""
    total = sum(map(len, groups))
    return [
        make_chunk([make_clip(output, name, **clip) for name in group], video, index, len(groups), total)
        for index, group in enumerate(groups)
    ]


def is_done(context: RecordContext, video: Video = VIDEO) -> bool:
    return context.output.done(context.fingerprint, video).exists()


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def clip_names(output: Output) -> set[str]:
    return {path.stem for path in (output.root / "clips").glob("*")}


def meta_names(output: Output) -> set[str]:
    return {path.stem for path in (output.root / "metas" / "v0").glob("*")}


def test_what_a_video_leaves(context: RecordContext, output: Output) -> None:
    curate(context, chunks_of(output, "xy", "z", media="pictures", text="A ball."))
    assert items(output) == {"x_0_95", "y_0_95", "z_0_95"}
    assert clip_names(output) == meta_names(output) == {"x", "y", "z"}
    assert (output.dataset / "metas" / "x_0_95.txt").read_text() == "A ball."
    assert (output.dataset / "t5_xxl" / "x_0_95.pickle").read_text() == "states of A ball."
    assert (output.dataset / "videos" / "x_0_95.mp4").samefile(output.clip("x"))
    first, second = (read(output.processed_chunk("a.mp4", index)) for index in range(2))
    assert first["clips"] == ["x", "y"]
    assert first["dataset_items"] == ["x_0_95", "y_0_95"]
    assert second["all_windows"] == {"z": {"0_95": "A ball."}}
    assert read(output.processed_video("a.mp4"))["num_total_clips"] == 3
    assert is_done(context)
    assert not output.video_error("a.mp4").exists()
    assert not output.skipped_video("a.mp4").exists()


def test_doing_it_twice_changes_no_byte_and_writes_no_clip_again(context: RecordContext, output: Output) -> None:
    chunks = chunks_of(output, "xy", "z")
    curate(context, chunks)
    before = tree(output.root)
    inodes = {path: path.stat().st_ino for path in output.dataset.rglob("*.*")}
    curate(context, list(reversed(chunks)))
    assert tree(output.root) == before
    assert {path: path.stat().st_ino for path in output.dataset.rglob("*.*")} == inodes


def options_a(output: Output) -> list[ClipChunk]:
    return chunks_of(output, "uv", "wx", "y", text="As A says.")


# What another run may make of the same video.
OTHERS: dict[str, Callable[[Output], list[ClipChunk]]] = {
    "other clips": lambda output: chunks_of(output, "pqr"),
    "fewer chunks": lambda output: chunks_of(output, "uv", text="As A says."),
    "more chunks": lambda output: chunks_of(output, "u", "v", "w", "x", "y", "z"),
    "other captions": lambda output: chunks_of(output, "uv", "wx", "y", text="As B says."),
    "other pictures": lambda output: chunks_of(output, "uv", "wx", "y", text="As A says.", media="smaller"),
    "other windows": lambda output: [
        make_chunk(
            [
                make_clip(
                    output,
                    "u",
                    windows=tuple(
                        make_window(output, f"u{i}", 48 * i, 48 * i + 47, video=f"part {i}") for i in range(2)
                    ),
                )
            ]
        )
    ],
    "no dataset": lambda output: chunks_of(output, "uv", "wx", "y", windows=()),
    "no clips": lambda output: [make_chunk(())],
    "clips that fail": lambda output: [
        make_chunk(
            [
                make_clip(output, "u", None, failures=(make_failure(clip_id="u"),)),
                make_clip(output, "new", None, failures=(make_failure(clip_id="new"),)),
            ]
        )
    ],
    "failure": lambda output: [],
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_leaves_what_it_made_and_back_again(
    context: RecordContext, output: Output, tmp_path: Path, what: str
) -> None:
    failures = (make_failure(stage="shots"),) if what == "failure" else ()
    curate(context, options_a(output))
    after_a = tree(output.root)

    curate(other(context), OTHERS[what](output), failures=failures)
    fresh = make_context(tmp_path / "fresh", "B")
    curate(fresh, OTHERS[what](fresh.output), failures=failures)
    assert set(tree(output.root)) == set(tree(fresh.output.root))
    assert items(output) == items(fresh.output)
    for folder in (output.dataset.name, "clips"):
        assert tree(output.root / folder) == tree(fresh.output.root / folder)
    assert is_done(other(context))
    assert not is_done(context)

    curate(context, options_a(output))
    assert tree(output.root) == after_a
    assert is_done(context)
    assert not is_done(other(context))


def test_a_run_that_was_interrupted_leaves_nothing_for_the_next_with_other_options(
    context: RecordContext, output: Output
) -> None:
    for chunk in chunks_of(output, "pq", "r"):
        publish_chunk(other(context), chunk)
    assert items(output) == {"p_0_95", "q_0_95", "r_0_95"}
    curate(context, options_a(output))
    assert items(output) == {f"{name}_0_95" for name in "uvwxy"}
    assert clip_names(output) == meta_names(output) == set("uvwxy")


@pytest.mark.parametrize("published", [1, 2])
def test_there_and_back_with_an_interruption_between(context: RecordContext, output: Output, published: int) -> None:
    curate(context, options_a(output))
    after_a = tree(output.root)
    for chunk in chunks_of(output, "pq", "r", text="As B says.")[:published]:
        publish_chunk(other(context), chunk)
    assert not is_done(context)
    curate(context, options_a(output))
    assert tree(output.root) == after_a
    assert is_done(context)


def test_an_interrupted_journal_entry_hides_no_other(context: RecordContext, output: Output) -> None:
    first, second = chunks_of(output, "pq", "r")
    publish_chunk(other(context), first)
    for path in output.published.rglob("*.json"):
        path.with_name("cut_off.json").write_text('{"clips": ["z"')  # as a power cut leaves it
    publish_chunk(other(context), second)
    curate(context, options_a(output))
    assert clip_names(output) == set("uvwxy")


def test_nothing_of_the_program_is_left_to_read_once_a_video_is_recorded(
    context: RecordContext, output: Output
) -> None:
    curate(context, options_a(output))
    assert not list(output.published.iterdir())


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
def test_a_power_cut_at_any_moment_leaves_complete_items_and_the_next_run_repairs_all(
    tmp_path: Path, then: str
) -> None:
    def runs(context: RecordContext) -> dict[str, Callable[[], None]]:
        output = context.output
        return {
            "A": lambda: curate(context, chunks_of(output, "ux", "y", text="As A says.")),
            "B": lambda: curate(other(context), chunks_of(output, "uz", text="As B says.")),
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
        items(context.output)  # each of them is complete
        assert not (cut and is_done(other(context)))
        runs(context)[then]()
        assert tree(output) == wanted, f"cut after {after} changes"
        if not cut:
            break
        after += 1
    assert after > 20


def test_all_that_a_marker_speaks_of_is_on_the_disk_before_it(
    context: RecordContext, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: dict[int, int] = {}  # by inode: bytes when it was waited for

    def synced(descriptor: int) -> None:
        assert not is_done(context)
        facts = os.fstat(descriptor)
        on_disk[facts.st_ino] = facts.st_size

    monkeypatch.setattr("os.fsync", synced)
    curate(context, chunks_of(output, "xy", "z"))
    assert is_done(context)
    published = [path for path in output.root.rglob("*") if path.is_file() and output.work not in path.parents]
    stored = [path for path in (output.work / "files").rglob("*") if path.is_file()]
    assert len(published) > 10 and len(stored) > 3
    for path in (*published, *stored):
        assert on_disk.get(path.stat().st_ino) == path.stat().st_size, path
    for folder in {path.parent for path in published}:
        assert folder.stat().st_ino in on_disk, folder


def test_a_failed_link_leaves_no_video_without_its_text_and_embedding(
    context: RecordContext, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    curate(context, chunks_of(output, "x", text="As A says."))
    real = LocalStore.link

    def full(self: LocalStore, source: Key, target: Key) -> None:
        if PurePosixPath(target).suffix == ".pickle":
            raise OSError(28, "No space left on device")
        real(self, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "link", full)
        published = publish_chunk(other(context), chunks_of(output, "x", text="As B says.")[0])
    assert "No space left on device" in published.failures[0].message
    assert items(output) == set()
    curate(other(context), chunks_of(output, "x", text="As B says."))
    assert items(output) == {"x_0_95"}
    assert (output.dataset / "metas" / "x_0_95.txt").read_text() == "As B says."


@pytest.mark.parametrize("level", ["video", "clip"])
@pytest.mark.parametrize("retriable", [False, True])
def test_a_failure_that_may_pass_withholds_the_marker(
    context: RecordContext, output: Output, level: str, retriable: bool
) -> None:
    failure = make_failure(retriable, clip_id="x" if level == "clip" else None)
    chunks = [make_chunk([make_clip(output, "x", None, failures=(failure,)), make_clip(output, "y")])]
    curate(context, chunks if level == "clip" else [], failures=() if level == "clip" else (failure,))
    assert is_done(context) is not retriable
    record = read(output.video_error("a.mp4"))
    assert record["errors"] == {"clips": "SomeError: it broke"}
    assert record["failures"] == [dataclasses.asdict(failure)]
    assert output.processed_video("a.mp4").exists() is (level == "clip")
    if not retriable:
        marker = output.done("A", VIDEO)
        assert read(marker) == {"failures": 1, "video": VIDEO.uri}


@pytest.mark.parametrize("level", ["video", "clip"])
def test_a_retried_video_that_may_yet_succeed_is_no_longer_done(
    context: RecordContext, output: Output, level: str
) -> None:
    curate(context, [], failures=(make_failure(),))
    assert is_done(context)
    passing = make_failure(retriable=True)
    if level == "video":
        curate(context, [], failures=(passing,))
    else:
        curate(context, [make_chunk([make_clip(output, "x", None, failures=(passing,))])])
    assert not is_done(context)


def test_a_failure_that_may_pass_takes_nothing_away(context: RecordContext, output: Output) -> None:
    curate(context, options_a(output))
    made = items(output)
    curate(other(context), [], failures=(make_failure(retriable=True),))
    assert items(output) == made
    assert clip_names(output) == set("uvwxy")
    assert output.video_error("a.mp4").exists()
    assert not is_done(context)
    assert not is_done(other(context))
    curate(other(context), options_a(output))
    assert not output.video_error("a.mp4").exists()


def test_a_permanent_failure_takes_away_what_was_made(context: RecordContext, output: Output) -> None:
    curate(context, options_a(output))
    curate(other(context), [], failures=(make_failure(),))
    assert set(tree(output.root)) == {"video_errors/a.mp4_0.json"}


def failing(output: Output, *groups: str) -> list[ClipChunk]:
    return [
        chunk.with_clips(
            tuple(
                make_clip(output, clip.clip_id, None, failures=(make_failure(clip_id=clip.clip_id),))
                if clip.clip_id.isupper()
                else clip
                for clip in chunk.clips
            )
        )
        for chunk in chunks_of(output, *groups)
    ]


def error_indexes(output: Output) -> list[int]:
    names = sorted(path.stem for path in (output.root / "video_errors").glob("*.json"))
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
    context: RecordContext, output: Output, before: list[str], after: list[str]
) -> None:
    for fingerprint, groups in (("A", before), ("B", after)):
        curate(other(context, fingerprint), failing(output, *groups))
        assert error_indexes(output) == [index for index, group in enumerate(groups) if group.isupper()]


def test_records_of_failed_clips_go_when_their_clips_do(context: RecordContext, output: Output) -> None:
    curate(context, failing(output, "XY"))
    assert meta_names(output) == {"X", "Y"}
    curate(other(context), chunks_of(output, "z"))
    assert meta_names(output) == {"z"}


def test_a_clip_that_fails_now_is_withdrawn_and_keeps_its_record(context: RecordContext, output: Output) -> None:
    curate(context, chunks_of(output, "xy"))
    uncut = make_clip(output, "x", None, failures=(make_failure(clip_id="x"),))
    curate(other(context), [make_chunk([uncut, make_clip(output, "y")])])
    assert items(output) == {"y_0_95"}
    assert clip_names(output) == {"y"}
    assert read(output.clip_meta("x"))["failures"][0]["message"] == "it broke"
    assert read(output.processed_chunk("a.mp4", 0))["num_clips_failed"] == 1


def test_a_video_without_clips_is_processed(context: RecordContext, output: Output) -> None:
    curate(context, [make_chunk(())])
    assert read(output.processed_video("a.mp4"))["num_total_clips"] == 0
    assert read(output.processed_chunk("a.mp4", 0))["clips"] == []
    assert is_done(context)


def test_a_copy_is_recorded_as_skipped_and_what_was_made_of_it_withdrawn(
    context: RecordContext, output: Output
) -> None:
    copy = dataclasses.replace(VIDEO, duplicate_of="0.mp4")
    curate(other(context), options_a(output))
    record_video(context, copy, [], [])
    assert set(tree(output.root)) == {"skipped_videos/a.mp4.json"}
    record = read(output.skipped_video("a.mp4"))
    assert (record["reason"], record["duplicate_of"]) == ("same content as 0.mp4", "0.mp4")
    assert is_done(context, copy)
    curate(other(context), options_a(output))
    assert not output.skipped_video("a.mp4").exists()
    assert not is_done(context, copy)
    assert items(output)


@pytest.mark.parametrize("failed", [False, True], ids=["curated", "failed"])
def test_a_replaced_file_is_another_video_of_the_same_name(
    context: RecordContext, output: Output, failed: bool
) -> None:
    newer = make_video_element(etag="2")
    curate(context, options_a(output))
    if failed:
        curate(context, [], newer, (make_failure(),))
        assert items(output) == set()
    else:
        curate(context, chunks_of(output, "pq", video=newer), newer)
        assert items(output) == {"p_0_95", "q_0_95"}
        assert clip_names(output) == {"p", "q"}
    assert not is_done(context)
    assert is_done(context, newer)


def test_another_share_for_validation_moves_items(context: RecordContext, output: Output) -> None:
    by_part = {}
    for number in range(40):
        video = make_video_element(f"{number}.mp4")
        by_part.setdefault(predict2.part_of(video, 0.5), video)
    train, val = by_part["train"], by_part["val"]

    def run(fingerprint: str, fraction: float) -> None:
        for video, name in ((train, "t"), (val, "v")):
            own = other(context, fingerprint, validation_fraction=fraction)
            curate(own, chunks_of(output, name, video=video), video)

    run("A", 0.0)
    assert items(output) == {"t_0_95", "v_0_95"}
    run("B", 0.5)
    assert (items(output), items(output, "train"), items(output, "val")) == (set(), {"t_0_95"}, {"v_0_95"})
    assert predict2.remove_empty(output, 0.0) == ["train", "val"]
    assert predict2.remove_empty(output, 0.5) == []
    assert {path.name for path in output.dataset.iterdir()} == {"train", "val"}
    assert read(output.processed_video(val.relative_path))["dataset_part"] == "val"
    run("A", 0.0)
    assert (items(output), items(output, "train"), items(output, "val")) == ({"t_0_95", "v_0_95"}, set(), set())
    assert predict2.remove_empty(output, 0.0) == []
    assert {path.name for path in output.dataset.iterdir()} == {"videos", "metas", "t5_xxl"}


def test_a_published_clip_that_was_lost_or_changed_is_put_back(context: RecordContext, output: Output) -> None:
    curate(context, chunks_of(output, "xy"))
    before = tree(output.root)
    output.clip("x").unlink()
    output.clip("y").unlink()
    output.clip("y").write_bytes(b"something else")
    (output.dataset / "metas" / "x_0_95.txt").write_text("something else")
    (output.dataset / "t5_xxl" / "y_0_95.pickle").unlink()
    curate(context, chunks_of(output, "xy"))
    assert tree(output.root) == before


def test_a_clip_whose_windows_could_not_be_cut_gives_no_item_with_the_whole_clip(
    context: RecordContext, output: Output
) -> None:
    windows = tuple(make_window(output, f"x{i}", 48 * i, 48 * i + 47) for i in range(2))
    clip = make_clip(output, "x", windows=windows, failures=(make_failure(stage="windows", clip_id="x"),))
    curate(context, [make_chunk([clip])])
    assert items(output) == set()
    assert read(output.processed_chunk("a.mp4", 0))["dataset_items"] == []


@pytest.mark.parametrize(
    "name", ["a b'\"\n#%.mp4", "日本/ü.mp4", "x" * 240 + ".mp4", "inner.mp4.mov", "d/" * 50 + "e.mp4"]
)
def test_odd_names_have_records_of_their_own(context: RecordContext, output: Output, name: str) -> None:
    video = make_video_element(name)
    curate(context, chunks_of(output, "x", video=video), video)
    curate(context, [], make_video_element("other.mp4"), (make_failure(),))
    assert is_done(context, video)
    curate(other(context), chunks_of(output, "y", video=video), video)
    assert items(output) == {"y_0_95"}
    assert read(output.processed_video(name))["video"] == video.uri


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
def test_an_incomplete_video_stays_open_and_loses_nothing(
    context: RecordContext, output: Output, what: str, before: bool
) -> None:
    sentence, take = INCOMPLETE[what]
    chunks = chunks_of(output, "uv", "wx", "y")
    if before:
        curate(context, chunks)
    published = [publish_chunk(context, chunk) for chunk in chunks]
    assert sentence in (record_video(context, VIDEO, take(published), ()).unsettled or "")
    assert not is_done(context)
    (failure,) = read(output.video_error("a.mp4"))["failures"]
    assert failure["error_type"] == "IncompleteVideoError" and failure["retriable"]
    assert sentence in failure["message"]
    assert clip_names(output) == set("uvwxy")
    assert len(items(output)) == 5
    curate(context, chunks)  # and the next run settles it
    assert is_done(context) and not output.video_error("a.mp4").exists()
    assert not list(output.published.glob("*"))


def test_what_arrived_of_an_incomplete_video_is_withdrawn_by_other_options(
    context: RecordContext, output: Output
) -> None:
    published = [publish_chunk(context, chunk) for chunk in chunks_of(output, "uv", "wx", "y")]
    record_video(context, VIDEO, published[:1], ())
    curate(other(context), chunks_of(output, "pq"))
    assert clip_names(output) == set("pq") and items(output) == {"p_0_95", "q_0_95"}
