"""Launching the pipeline: the settings of each runner."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_curate.pipeline import build
from beam_curate.plan import Plan


def run_pipeline(plan: Plan, selection: Path, beam_args: Sequence[str]) -> None:
    """Runs the pipeline of a plan to its end.

    Args:
        plan: What to do.
        selection: The list of videos to work on.
        beam_args: Flags of Beam, passed on as they are.

    ``DirectRunner`` is the in-process runner with a thread per core. Beam's own class of that name would first
    look for another runner to download.
    """
    run = plan.options.run
    logging.getLogger().setLevel(logging.INFO if run.verbose else logging.CRITICAL)
    if run.runner == "DirectRunner":
        workers = run.workers or os.cpu_count() or 1
        options = PipelineOptions(
            [*beam_args, "--direct_running_mode=multi_threading", f"--direct_num_workers={workers}"]
        )
        runner = FnApiRunner()
    else:
        options = PipelineOptions([*beam_args, f"--runner={run.runner}"])
        runner = None
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline, plan, selection)
    with contextlib.nullcontext() if run.verbose else _without_traces():
        pipeline.run().wait_until_finish()


@contextlib.contextmanager
def _without_traces() -> Iterator[None]:
    """Keeps the traces that Beam's workers print from the terminal: what breaks a run off is raised as well."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
