"""Whichever chunk is published last has its video recorded, and no other one."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.elements import ClipChunk
from beam_curate.records import arrivals
from tests.support.facts import make_chunk, make_clip, make_video_element
from tests.support.output import Output

RUN = PurePosixPath("run")
VIDEO = make_video_element("a.mp4")


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path)


def chunks(output: Output, number: int) -> list[ClipChunk]:
    return [
        make_chunk([make_clip(output, f"clip{index}")], VIDEO, index=index, num_chunks=number, total=number)
        for index in range(number)
    ]


def test_the_last_one_gets_all_in_order(output: Output) -> None:
    made = chunks(output, 3)
    assert arrivals.arrive(output, RUN, made[2]) is None
    assert arrivals.arrive(output, RUN, made[0]) is None
    assert arrivals.arrived(output, RUN, VIDEO) == {0, 2}
    assert arrivals.arrive(output, RUN, made[1]) == made


def test_the_only_one_needs_no_mark(output: Output) -> None:
    (only,) = chunks(output, 1)
    assert arrivals.arrive(output, RUN, only) == [only]
    assert not list(output.root.rglob("*.json")) and arrivals.arrived(output, RUN, VIDEO) == set()


def test_one_that_comes_again_records_only_if_it_had_to_before(output: Output) -> None:
    first, second = chunks(output, 2)
    assert arrivals.arrive(output, RUN, first) is None
    assert arrivals.arrive(output, RUN, second) == [first, second]
    assert arrivals.arrive(output, RUN, first) is None  # its worker was lost, and not the other one
    assert arrivals.arrive(output, RUN, second) == [first, second]  # its worker was lost while it recorded the video


def test_marks_of_another_run_do_not_count(output: Output) -> None:
    first, second = chunks(output, 2)
    arrivals.arrive(output, PurePosixPath("killed"), first)
    assert arrivals.arrive(output, RUN, second) is None


def test_nothing_is_left_once_forgotten(output: Output) -> None:
    for chunk in chunks(output, 2):
        arrivals.arrive(output, RUN, chunk)
    arrivals.forget(output, RUN, VIDEO)
    assert arrivals.arrived(output, RUN, VIDEO) == set()
    assert not [path for path in output.root.rglob("*") if path.is_file() and "arrived" in path.parts]


def test_of_many_at_once_exactly_one_records(output: Output) -> None:
    for seed in range(20):
        run, made = PurePosixPath(f"run{seed}"), chunks(output, 8)
        random.Random(seed).shuffle(made)
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda chunk, run=run: arrivals.arrive(output, run, chunk), made))
        (found,) = [result for result in results if result is not None]
        assert [chunk.index for chunk in found] == list(range(8))
