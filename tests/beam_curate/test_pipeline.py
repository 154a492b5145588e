"""The shape of the flow: one chain, which a runner fuses into as few stages as there are redistributions."""

from __future__ import annotations

from pathlib import PurePosixPath

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_curate.pipeline import build
from tests.support.plans import plan_of

DATASET = ("--generate-cosmos-predict-dataset", "predict2", "--text-encoder", "t5_random")


def fused_stages(*, deal_out_chunks: bool = False, barriers: tuple[str, ...] = ()) -> int:
    """How many stages Beam's local runner makes of the flow."""
    pipeline = beam.Pipeline(runner=FnApiRunner())
    run = PurePosixPath(".work/runs/run")
    build(pipeline, plan_of(*DATASET), run, run / "selection", deal_out_chunks=deal_out_chunks, barriers=barriers)
    _, stages = FnApiRunner().create_stages(pipeline.to_runner_api())
    ends = (common_urns.primitives.IMPULSE.urn,)
    return sum(any(transform.spec.urn not in ends for transform in stage.transforms) for stage in stages)


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ({}, 2),  # the selection is read, and everything else
        ({"barriers": ("text",)}, 3),
        ({"deal_out_chunks": True}, 3),
        ({"deal_out_chunks": True, "barriers": ("text",)}, 4),
    ],
)
def test_fused_stages(how: dict[str, object], number: int) -> None:
    assert fused_stages(**how) == number  # type: ignore[arg-type]
