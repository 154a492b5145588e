"""No more units at once than the limit of the process, whichever stage they belong to."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.elements import ClipChunk
from beam_curate.stage import Stage
from beam_curate.store.stage_files import StageFiles
from tests.support.facts import make_chunk, make_clip
from tests.support.output import Output
from tests.support.plans import planned
from transforms import concurrency
from transforms.chunk_stage import Process
from transforms.inference import NoModel, StageHandler

LIMIT = 3


class Busy(Stage):
    """A stage that notes how many are at it at once."""

    name = "busy"
    model = None

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.at_once = self.most = 0

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.05)
        with self.lock:
            self.at_once -= 1
        return chunk


def test_stages_with_and_without_a_model_share_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "_permit", concurrency.permit())  # so that it is put back
    concurrency.set_limit(LIMIT)
    layout, busy = Output(tmp_path), Busy()
    chunk, stage = make_chunk([make_clip(layout, "a")]), planned(busy, layout)
    plain, handler = Process(stage, PurePosixPath("run")), StageHandler(stage)
    with ThreadPoolExecutor(12) as threads:
        results = [threads.submit(lambda: list(plain.process(chunk))) for _ in range(6)]
        results += [threads.submit(handler.run_inference, [chunk], NoModel()) for _ in range(6)]
    assert [result.result() for result in results] == [[chunk]] * 6 + [[(chunk, chunk)]] * 6
    assert busy.most == LIMIT
