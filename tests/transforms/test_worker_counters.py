"""What stages count becomes metrics of Beam, which runners show on their pages."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_curate import counters
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
