"""What stages count becomes metrics of Beam, which runners show on their pages."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_curate import counters
from beam_curate.errors import WorkerError
from beam_curate.versions import versions
from tests.support.output import Output
from transforms.worker_counters import CountingDoFn


class Count(CountingDoFn):
    def process(self, amount: int) -> None:
        counters.add("clips: done", amount)
        counters.add("clips: frames to do", -1)


def test_counts_are_metrics(tmp_path: Path) -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    _ = pipeline | beam.Create([2, 3]) | beam.ParDo(Count(Output(tmp_path), PurePosixPath("run")))
    result = pipeline.run()
    result.wait_until_finish()
    counters = {metric.key.metric.name: metric.result for metric in result.metrics().query()["counters"]}
    assert counters["clips: done"] == 5
    assert counters["clips: frames to do"] == -2


def test_a_worker_with_other_versions_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.worker_counters.versions", lambda: versions() | {"Apache Beam": "2.0"})
    submitted = Count(Output(tmp_path), PurePosixPath("run"))
    monkeypatch.undo()
    with pytest.raises(WorkerError, match=r"Apache Beam is 2\.\d+\.\d there and 2\.0 here.*install there what is"):
        submitted.setup()
