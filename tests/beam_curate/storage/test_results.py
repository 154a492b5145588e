"""The result store: what is stored is never worked out again, and everyone agrees on it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from facts import make_chunk, make_clip, make_failure, make_info, make_span, make_video_element, make_window

from beam_curate.elements import ClipChunk, Failure, VideoShots
from beam_curate.layout import Layout
from beam_curate.storage.results import ResultStore, unit_key


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path))


@pytest.fixture
def store(layout: Layout) -> ResultStore[ClipChunk]:
    return ResultStore(layout, "clips", "f", ClipChunk)


def shots(frames: int = 100) -> VideoShots:
    return VideoShots(make_video_element(), make_info(frames), (make_span("x", 0, frames),))


UNIT = make_chunk(())


def test_what_was_stored_comes_back(store: ResultStore[ClipChunk], layout: Layout) -> None:
    result = make_chunk([make_clip(layout, "x", text="Ein Hündchen.\n"), make_clip(layout, "y", None)])
    assert store.get(UNIT) is None
    assert store.put(UNIT, result) == result
    assert store.get(UNIT) == result


def test_numbers_come_back_to_the_last_digit(layout: Layout) -> None:
    store = ResultStore(layout, "shots", "f", VideoShots)
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
    layout: Layout, stage: str, fingerprint: str, video: object
) -> None:
    ResultStore(layout, "shots", "f", VideoShots).put(make_video_element(), shots())
    assert ResultStore(layout, stage, fingerprint, VideoShots).get(video) is None


def test_the_first_of_many_threads_wins(layout: Layout) -> None:
    store = ResultStore(layout, "shots", "f", VideoShots)
    video = make_video_element()
    barrier = threading.Barrier(12)

    def put(frames: int) -> object:
        barrier.wait()
        return store.put(video, shots(frames))

    with ThreadPoolExecutor(12) as pool:
        agreed = set(pool.map(put, range(1, 13)))
    assert len(agreed) == 1
    assert agreed == {store.get(video)}


def _put(output: str, frames: int) -> VideoShots | Failure:
    return ResultStore(Layout(output), "shots", "f", VideoShots).put(make_video_element(), shots(frames))


def test_the_first_of_many_processes_wins(layout: Layout) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        agreed = set(pool.starmap(_put, [(layout.output, frames) for frames in range(1, 10)]))
    assert agreed == {ResultStore(layout, "shots", "f", VideoShots).get(make_video_element())}


def test_a_failure_that_may_pass_is_never_stored(store: ResultStore[ClipChunk], layout: Layout) -> None:
    passing = make_failure(retriable=True)
    assert store.put(UNIT, passing) == passing
    result = make_chunk([make_clip(layout, "x"), make_clip(layout, "y", None, failures=(make_failure(), passing))])
    assert store.put(UNIT, result) == result
    assert store.get(UNIT) is None


def test_a_permanent_failure_is_stored_until_it_is_retried(layout: Layout) -> None:
    store = ResultStore(layout, "shots", "f", VideoShots)
    again = dataclasses.replace(store, retry_failed=True)
    video = make_video_element()
    store.put(video, make_failure())
    assert store.get(video) == make_failure()
    assert again.get(video) is None
    assert again.put(video, shots()) == shots()
    assert again.get(video) == store.get(video) == shots()


def test_retrying_takes_up_chunks_with_failed_clips_and_leaves_the_others(
    store: ResultStore[ClipChunk], layout: Layout
) -> None:
    again = dataclasses.replace(store, retry_failed=True)
    whole = make_chunk([make_clip(layout, "x")])
    broken = make_chunk([make_clip(layout, "x"), make_clip(layout, "y", None, failures=(make_failure(),))], index=1)
    store.put(whole, whole)
    store.put(broken, broken)
    assert again.get(whole) == whole
    assert again.get(broken) is None
    still = make_chunk([make_clip(layout, "x"), make_clip(layout, "y", None, failures=(make_failure(stage="again"),))])
    assert again.put(broken, still) == still
    assert store.get(broken) == still


@pytest.mark.parametrize("part", ["clip", "embedding", "window"])
@pytest.mark.parametrize("harm", ["gone", "other size"])
def test_a_record_without_its_files_is_a_miss(
    store: ResultStore[ClipChunk], layout: Layout, part: str, harm: str
) -> None:
    def made() -> ClipChunk:
        windows = tuple(make_window(layout, f"x_{i}", text=str(i), video=str(i)) for i in range(2))
        return make_chunk([make_clip(layout, "x", windows=windows)])

    result = made()
    store.put(UNIT, result)
    clip = result.clips[0]
    assert clip.media and clip.windows[1].embedding and clip.windows[1].video
    file = {"clip": clip.media.file, "embedding": clip.windows[1].embedding.file, "window": clip.windows[1].video}[part]
    if harm == "gone":
        layout.stored(file).unlink()
    else:
        layout.stored(file).write_bytes(b"much longer than it was before")
    assert store.get(UNIT) is None
    assert store.put(UNIT, made()) == result
    assert store.get(UNIT) == result


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xff", b'{"video": 1}', b"\0" * 100], ids=lambda data: repr(data[:8])
)
def test_a_corrupt_record_is_a_miss_and_gets_replaced(layout: Layout, content: bytes) -> None:
    store = ResultStore(layout, "shots", "f", VideoShots)
    video = make_video_element()
    store.put(video, shots(1))
    store.path(video).write_bytes(content)
    assert store.get(video) is None
    assert store.put(video, shots(2)) == shots(2)
    assert store.get(video) == shots(2)
