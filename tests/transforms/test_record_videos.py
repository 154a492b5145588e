"""The last step on a worker: a place that refuses what it notes ends neither the bundle nor the other videos."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.records import missing
from tests.support.facts import make_chunk, make_context, make_video_element
from transforms.record_videos import Record

RUN = PurePosixPath(".work/tmp/run")
VIDEO = make_video_element()


@pytest.mark.parametrize("num_chunks", [1, 2])
def test_a_state_that_cannot_be_written_is_told_and_left_to_the_driver(
    num_chunks: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(tmp_path / "out")
    (tmp_path / "out" / RUN).parent.mkdir(parents=True)
    (tmp_path / "out" / RUN).touch()  # where its folder should be
    chunks = [make_chunk([], VIDEO, index, num_chunks) for index in range(num_chunks)]
    with caplog.at_level(logging.WARNING):
        assert [Record(context, RUN).process(chunk) for chunk in chunks] == [[]] * num_chunks
    assert f"{VIDEO.uri}: its state cannot be written to the output folder: {tmp_path}" in caplog.text

    (tmp_path / "out" / RUN).unlink()
    (why,) = missing.settle(context, RUN, [VIDEO]).values()
    assert "could not be written to the output" in why
