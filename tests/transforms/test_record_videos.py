"""The last step on a worker: a place that refuses what it notes ends neither the bundle nor the other videos."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.elements import ClipChunk
from beam_curate.records import arrivals, missing
from beam_curate.store import ledger
from tests.support.facts import make_chunk, make_context, make_video_element
from transforms.record_videos import Record

RUN = PurePosixPath(".work/runs/run")
VIDEO = make_video_element()


@pytest.mark.parametrize("num_chunks", [1, 2])
def test_a_state_that_cannot_be_written_is_told_and_left_to_the_driver(
    num_chunks: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(tmp_path / "out")
    in_the_way = [tmp_path / "out" / folder for folder in (RUN, ledger.of_run(context.fingerprint, RUN))]
    for path in in_the_way:
        path.parent.mkdir(parents=True)
        path.touch()  # where a folder should be
    chunks = [make_chunk([], VIDEO, index, num_chunks) for index in range(num_chunks)]
    with caplog.at_level(logging.WARNING):
        record = Record(context, RUN)
        record.start_bundle()
        for chunk in chunks:
            record.process(chunk)
        record.finish_bundle()
    assert f"what became of them cannot be written to the output: {tmp_path}" in caplog.text

    for path in in_the_way:
        path.unlink()
    with ledger.reading() as entries:
        entries.collect(context.output, ledger.of_run(context.fingerprint, RUN))
        (why,) = missing.settle(context, RUN, entries, [VIDEO]).values()
    assert "could not be written to the output" in why


def test_a_worker_that_is_lost_before_it_notes_a_video_costs_nothing(tmp_path: Path) -> None:
    context = make_context(tmp_path / "out")
    first, last = (make_chunk([], VIDEO, index, 2) for index in range(2))

    def work(chunk: ClipChunk, *, lost: bool = False) -> list[str]:
        record = Record(context, RUN)
        record.start_bundle()
        recorded = record.process(chunk)
        if not lost:
            record.finish_bundle()
        return recorded

    assert [work(first), work(last, lost=True), work(last), work(last)] == [[], [VIDEO.uri], [VIDEO.uri], []]
    assert arrivals.arrived(context.output, RUN, VIDEO) == {last.index}  # of the one that came after all was noted
    with ledger.reading() as entries:
        entries.collect(context.output, ledger.of_run(context.fingerprint, RUN))
        assert missing.settle(context, RUN, entries, [VIDEO]) == {}
