"""The result store: what is stored is never computed again, and everyone agrees on it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from beam_curate.elements import ClipChunk, Failure, StoredFile, VideoShots
from beam_curate.store.results import ResultStore, unit_key
from tests.support.facts import (
    make_chunk,
    make_clip,
    make_failure,
    make_info,
    make_span,
    make_video_element,
    make_window,
)
from tests.support.output import Output


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path)


@pytest.fixture
def store(output: Output) -> ResultStore[ClipChunk]:
    return ResultStore(output, "clips", "f", ClipChunk)


def shots(frames: int = 100) -> VideoShots:
    return VideoShots(make_video_element(), make_info(frames), (make_span("x", 0, frames),))


UNIT = make_chunk(())


def test_what_was_stored_comes_back(store: ResultStore[ClipChunk], output: Output) -> None:
    result = make_chunk([make_clip(output, "x", text="Ein Hündchen.\n"), make_clip(output, "y", None)])
    assert store.get(UNIT) is None
    assert store.put(UNIT, result) == result
    assert store.get(UNIT) == result


def test_numbers_come_back_to_the_last_digit(output: Output) -> None:
    store = ResultStore(output, "shots", "f", VideoShots)
    generator = random.Random(1)
    spans = tuple(
        dataclasses.replace(
            make_span(str(i)), start_s=generator.random() * 10 ** generator.randint(-6, 6), end_pts=2**62 + i
        )
        for i in range(500)
    )
    result = VideoShots(make_video_element(), make_info(), spans)
    store.put(result.video, result)
    assert store.get(result.video) == result
    stored = store.get(result.video)
    assert unit_key(stored) == unit_key(result)


@pytest.mark.parametrize(
    ("stage", "fingerprint", "video"),
    [
        ("captions", "f", make_video_element()),
        ("shots", "g", make_video_element()),
        ("shots", "f", make_video_element(etag="2")),
        ("shots", "f", make_video_element(size_bytes=10)),
        ("shots", "f", make_video_element("b.mp4")),
    ],
)
def test_another_stage_fingerprint_or_file_is_other_work(
    output: Output, stage: str, fingerprint: str, video: object
) -> None:
    ResultStore(output, "shots", "f", VideoShots).put(make_video_element(), shots())
    assert ResultStore(output, stage, fingerprint, VideoShots).get(video) is None


def test_the_first_of_many_threads_wins(output: Output) -> None:
    store = ResultStore(output, "shots", "f", VideoShots)
    video = make_video_element()
    barrier = threading.Barrier(12)

    def put(frames: int) -> object:
        barrier.wait()
        return store.put(video, shots(frames))

    with ThreadPoolExecutor(12) as pool:
        agreed = set(pool.map(put, range(1, 13)))
    assert len(agreed) == 1
    assert agreed == {store.get(video)}


def _put(output: Path, frames: int) -> VideoShots | Failure:
    return ResultStore(Output(output), "shots", "f", VideoShots).put(make_video_element(), shots(frames))


def test_the_first_of_many_processes_wins(output: Output) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        agreed = set(pool.starmap(_put, [(output.root, frames) for frames in range(1, 10)]))
    assert agreed == {ResultStore(output, "shots", "f", VideoShots).get(make_video_element())}


def test_a_failure_that_may_pass_is_never_stored(store: ResultStore[ClipChunk], output: Output) -> None:
    passing = make_failure(retriable=True)
    assert store.put(UNIT, passing) == passing
    result = make_chunk([make_clip(output, "x"), make_clip(output, "y", None, failures=(make_failure(), passing))])
    assert store.put(UNIT, result) == result
    assert store.get(UNIT) is None


def test_a_permanent_failure_is_stored_until_it_is_retried(output: Output) -> None:
    store = ResultStore(output, "shots", "f", VideoShots)
    again = dataclasses.replace(store, retry_failed=True)
    video = make_video_element()
    store.put(video, make_failure())
    assert store.get(video) == make_failure()
    assert again.get(video) is None
    assert again.put(video, shots()) == shots()
    assert again.get(video) == store.get(video) == shots()


def test_retrying_takes_up_chunks_with_failed_clips_and_leaves_the_others(
    store: ResultStore[ClipChunk], output: Output
) -> None:
    again = dataclasses.replace(store, retry_failed=True)
    intact = make_chunk([make_clip(output, "x")])
    partly_failed = make_chunk(
        [make_clip(output, "x"), make_clip(output, "y", None, failures=(make_failure(),))], index=1
    )
    store.put(intact, intact)
    store.put(partly_failed, partly_failed)
    assert again.get(intact) == intact
    assert again.get(partly_failed) is None
    still = dataclasses.replace(
        partly_failed,
        clips=(make_clip(output, "x"), make_clip(output, "y", None, failures=(make_failure(stage="again"),))),
    )
    assert again.put(partly_failed, still) == still
    assert store.get(partly_failed) == still


@pytest.mark.parametrize("part", ["clip", "embedding", "window"])
@pytest.mark.parametrize("harm", ["gone", "other size"])
def test_a_record_without_its_files_is_a_miss(
    store: ResultStore[ClipChunk], output: Output, part: str, harm: str
) -> None:
    def made() -> ClipChunk:
        windows = tuple(make_window(output, f"x_{i}", text=str(i), video=str(i)) for i in range(2))
        return make_chunk([make_clip(output, "x", windows=windows)])

    result = made()
    store.put(UNIT, result)
    clip = result.clips[0]
    assert clip.media and clip.windows[1].embedding and clip.windows[1].video
    file = {"clip": clip.media.file, "embedding": clip.windows[1].embedding.file, "window": clip.windows[1].video}[part]
    if harm == "gone":
        output.stored(file).unlink()
    else:
        output.stored(file).write_bytes(b"much longer than it was before")
    assert store.get(UNIT) is None
    assert store.put(UNIT, made()) == result
    assert store.get(UNIT) == result


def test_files_of_the_unit_are_left_to_the_stage_that_made_them(output: Output) -> None:
    unit = make_chunk([make_clip(output, "x", windows=())])
    asked: list[StoredFile] = []

    class Counting(Output):
        def has(self, file: StoredFile, *, content: bool = False) -> bool:
            asked.append(file)
            return super().has(file, content=content)

    added = make_window(output, "x")
    result = make_chunk([dataclasses.replace(unit.clips[0], windows=(added,))])
    store = ResultStore(Counting(output.root), "text", "g", ClipChunk)
    store.put(unit, result)
    assert store.get(unit) == result
    assert added.embedding is not None and asked == [added.embedding.file]


def test_a_repair_reads_what_a_stage_added_wherever_it_lies_and_nothing_else(output: Output) -> None:
    unit = make_chunk([make_clip(output, "x", windows=())])
    added = make_window(output, "x", video="pictures of the window")
    result = make_chunk([dataclasses.replace(unit.clips[0], windows=(added,))])
    store = ResultStore(output, "windows", "g", ClipChunk, check_content=True)
    store.put(unit, result)
    media = unit.clips[0].media
    assert media and added.embedding and added.video
    damage(output.stored(media.file))
    assert store.get(unit) == result
    damage(output.stored(added.video))
    assert store.get(unit) is None
    assert dataclasses.replace(store, check_content=False).get(unit) == result


def damage(path: Path) -> None:
    """Changes the content and not the size."""
    path.write_bytes(b"?" * path.stat().st_size)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xff", b'{"video": 1}', b"\0" * 100], ids=lambda data: repr(data[:8])
)
def test_a_corrupt_record_is_a_miss_and_gets_replaced(output: Output, content: bytes) -> None:
    store = ResultStore(output, "shots", "f", VideoShots)
    video = make_video_element()
    store.put(video, shots(1))
    (output.root / store.key(video)).write_bytes(content)
    assert store.get(video) is None
    assert store.put(video, shots(2)) == shots(2)
    assert store.get(video) == shots(2)


OUTSIDE = {
    "above": "../../../../../../../../etc/passwd",
    "above, from within": ".work/files/../../../outside.mp4",
    "absolute": "/etc/passwd",
    "zero byte": ".work/files/a\0b",
    "empty": "",
    "the folder itself": ".work/files",
    "a result of the user's": "clips/mine.mp4",
    "a link": ".work/files/link.mp4",
    "below a link": ".work/files/linked/outside.mp4",
    "a pipe": ".work/files/pipe",
    "too long": ".work/files/" + "a" * 5000,
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_path_that_is_not_of_the_programs_own_files_is_a_miss(tmp_path: Path, what: str) -> None:
    output = Output(tmp_path / "out")
    store = ResultStore(output, "clips", "f", ClipChunk)
    chunk = make_chunk([make_clip(output, "x")])
    outside = tmp_path / "outside.mp4"
    outside.write_text("pictures")
    (output.root / "clips").mkdir()
    (output.root / "clips" / "mine.mp4").write_text("pictures")
    (output.files / "link.mp4").symlink_to(outside)
    (output.files / "linked").symlink_to(tmp_path)
    os.mkfifo(output.files / "pipe")
    media = chunk.clips[0].media
    assert media is not None
    for size_bytes in (media.file.size_bytes, Path("/etc/passwd").stat().st_size):
        moved = dataclasses.replace(media, file=StoredFile(OUTSIDE[what], size_bytes, media.file.sha256))
        wrong = dataclasses.replace(chunk, clips=(dataclasses.replace(chunk.clips[0], media=moved),))
        output.delete(store.key(UNIT))
        store.put(UNIT, wrong)
        assert store.get(UNIT) is None
    assert store.put(UNIT, chunk) == chunk == store.get(UNIT)


@pytest.mark.parametrize("clip_id", ["../x", "/x", "a/b", "", ".", "..", "x\0", "x\n", "-x", "x" * 300, "é"])
def test_an_id_that_is_no_file_name_is_a_miss(output: Output, store: ResultStore[ClipChunk], clip_id: str) -> None:
    clip = make_clip(output, "x")
    store.put(UNIT, make_chunk([dataclasses.replace(clip, span=dataclasses.replace(clip.span, clip_id=clip_id))]))
    assert store.get(UNIT) is None
    of_shots = ResultStore(output, "shots", "f", VideoShots)
    video = make_video_element()
    of_shots.put(video, VideoShots(video, make_info(), (make_span(clip_id),)))
    assert of_shots.get(video) is None


@pytest.mark.parametrize(
    "fields",
    [{"video": make_video_element("b.mp4")}, {"index": 1}, {"index": -1}, {"num_chunks": 10**9}],
    ids=str,
)
def test_a_result_of_another_unit_is_a_miss(store: ResultStore[ClipChunk], fields: dict) -> None:
    store.put(UNIT, dataclasses.replace(UNIT, **fields))
    assert store.get(UNIT) is None
    assert store.put(UNIT, UNIT) == UNIT == store.get(UNIT)
