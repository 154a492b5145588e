"""What a run would submit, without running it: the graph in files, and how its steps are fused."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_curate.pipeline import build
from beam_curate.plan.plan import Plan
from runners import preflight
from runners.base import PIPELINE, Runner
from runners.launch import name_files_without_folders

_RUN = PurePosixPath(".work/tmp/planned")
_ACCELERATOR = "beam:resources:accelerator:v1"


@dataclasses.dataclass(frozen=True)
class Part:
    """Steps that a worker does in one go with each element, because the runner fuses them.

    Attributes:
        steps: Their names in order.
        accelerator: What its workers are asked to have by a resource hint; "" where they are as all others.
    """

    steps: tuple[str, ...]
    accelerator: str = ""


def plan_job(plan: Plan, runner: Runner, folder: Path, *, submittable: bool, deal_out_chunks: bool) -> list[Part]:
    """Builds the graph of a run, writes it to files, and returns how it would be fused.

    Args:
        plan: What is done; neither its input nor its output is looked at.
        runner: The plan's.
        folder: For the files; it exists.
        submittable: Whether the flags suffice to write the job as it would be submitted, and not only its graph.
        deal_out_chunks: Whether the chunks of a video are distributed over the workers.

    Returns:
        The parts in order. It is exact for the local runner; others fuse by the same rules, and may divide further.
    """
    logging.getLogger().setLevel(logging.INFO if plan.runner.verbose else logging.CRITICAL)
    name_files_without_folders()
    options = PipelineOptions(runner.arguments(ask=False))
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    build(
        pipeline,
        plan,
        _RUN,
        _RUN / "selection-0",
        deal_out_chunks=deal_out_chunks,
        barriers=preflight.barriers(plan),
        resource_hints=runner.resource_hints,
    )
    write = runner.write_job if submittable else Runner(plan.runner).write_job
    write(pipeline, options, folder)
    return list(_fused((folder / PIPELINE).read_bytes()))


def _fused(graph: bytes) -> Iterator[Part]:
    """Yields what Beam's local runner fuses of a graph."""
    context, stages = FnApiRunner().create_stages(beam_runner_api_pb2.Pipeline.FromString(graph))
    for stage in stages:
        steps = dict.fromkeys(name for transform in stage.transforms if (name := _step(transform)))
        if not steps:  # what the runner does itself, between parts
            continue
        environment = context.components.environments[stage.environment]
        yield Part(tuple(steps), environment.resource_hints.get(_ACCELERATOR, b"").decode())


def _step(transform: Any) -> str:
    """Returns the step of our graph that a transform belongs to; "" for reading and writing between parts."""
    is_work = transform.spec.urn.startswith("beam:transform:pardo") or transform.spec.urn.startswith(
        "beam:transform:sdf"
    )
    return transform.unique_name.partition("/")[0] if is_work else ""
