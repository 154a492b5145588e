"""The errors of failed jobs, as runners report them, become one line with the cause and what to do."""

from __future__ import annotations

import pytest

from runners.job_errors import explain

FLINK = "Pipeline beam-curate-0ec33e9e_f0924d32-bbd9-4e8b-b47b-b80b0d1281de failed in state FAILED: "
GRPC = """<_MultiThreadedRendezvous of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "Stream removed (Socket closed)"
\tdebug_error_string = "UNAVAILABLE:Stream removed (Socket closed)"
>"""
WORKER = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1, in process
OSError: [Errno 28] No space left on device [while running 'DetectShots/Cached/Store']
"""
OF_A_STORE = """Traceback (most recent call last):
ConnectionRefusedError: [Errno 111] Connection refused

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
beam_curate.buckets.base.BucketError: s3://footage/out/a.json: no answer; is the store up? [while running 'Clips/Cut']
"""


def test_an_error_of_an_object_store_explains_itself() -> None:
    assert explain(OF_A_STORE) == "s3://footage/out/a.json: no answer; is the store up?"


def test_so_does_one_of_a_worker() -> None:
    said = "beam_curate.errors.WorkerError: the worker on gpu-1 has other versions (Python is 3.12 there): build anew"
    message = f"{FLINK}java.util.concurrent.ExecutionException: java.lang.RuntimeException: Error received: {said}"
    assert explain(message).startswith("the worker on gpu-1 has other versions")


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (
            f"{FLINK}org.apache.beam.vendor.grpc.v1p60p1.io.grpc.StatusRuntimeException: CANCELLED: client cancelled",
            ["the Python workers are gone", "worker pool", "CANCELLED: client cancelled"],
        ),
        (f"{FLINK}java.net.ConnectException: finishConnect(..) failed: Connection refused", ["worker pool"]),
        (
            f"{FLINK}java.io.IOException: Insufficient number of network buffers: required 512, only 494 available",
            ["sort-shuffle.min-buffers: 16", "only 494"],
        ),
        (
            f"{FLINK}java.util.concurrent.TimeoutException: Waited 3 minutes (plus 1861386 nanoseconds delay) for "
            "SettableFuture@1c2875da[status=PENDING]",
            ["no Python worker took the work", "log", "Waited 3 minutes"],
        ),
        (GRPC, ["--verbose", "Stream removed (Socket closed)"]),
        (WORKER, ["No space left on device", "DetectShots"]),
        ("", ["gave no reason"]),
    ],
)
def test_one_line_with_the_cause(message: str, parts: list[str]) -> None:
    line = explain(message)
    assert "\n" not in line
    assert "failed in state" not in line
    for part in parts:
        assert part in line
