"""Launching the pipeline on the runner that the options name."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import PurePosixPath

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner

from beam_curate.pipeline import build
from beam_curate.plan.plan import Plan
from beam_curate.progress import worker_counts
from runners.flink import LOCAL_MASTERS, cancel
from runners.job_errors import explain
from runners.servers import server
from runners.settings import flags_of, prism, with_defaults, workers, workers_elsewhere
from transforms import concurrency

_CANCEL_S = 1.5


def run_pipeline(plan: Plan, selection: PurePosixPath) -> None:
    """Runs the pipeline of a plan to its end.

    Args:
        plan: What to do.
        selection: The list of videos to work on.

    Raises:
        RuntimeError: The job failed as a whole, or a server that the runner needs did not start.
    """
    run = plan.runner
    logging.getLogger().setLevel(logging.INFO if run.verbose else logging.CRITICAL)
    options = PipelineOptions(with_defaults(run))
    switch_off_timed_flushes()
    threading.excepthook = _log_end_of_thread
    worker_counts.disable()  # the driver needs no file with its own counters
    with contextlib.ExitStack() as stack:
        if not run.verbose:
            stack.enter_context(_without_traces())
        if workers_elsewhere(run):
            stack.enter_context(worker_counts.collected(plan.output))
        pipeline = beam.Pipeline(runner=stack.enter_context(_runner(plan, options)), options=options)
        build(pipeline, plan, selection)
        _run(pipeline, options)


def switch_off_timed_flushes() -> None:
    """Lets Beam's local runner send its buffers when they are full or closed, and at no other time.

    By default a timer sends them every second as well, from a thread of its own, while another writes to them without
    a lock: what is written between the timer's copy and its clearing is lost. The runner reads this constant alone
    for its own side of a channel, and for the workers' side where their environment names no limit.
    """
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


@contextlib.contextmanager
def _runner(plan: Plan, options: PipelineOptions) -> Iterator[PipelineRunner | None]:
    """Gives the runner, with the server that it needs running beside it; None leaves the choice to Beam.

    ``DirectRunner`` is the in-process runner with a thread per core. Beam's own class of that name would first
    look for another runner to download.
    """
    run, flags = plan.runner, flags_of(plan.runner.beam_args)
    portable = options.view_as(PortableOptions)
    if run.name == "DirectRunner":
        yield FnApiRunner()
    elif run.name == "PrismRunner" and not portable.job_endpoint:
        options.view_as(PrismRunnerOptions).prism_location = prism(flags)
        concurrency.bound(workers(run))
        command, portable.job_endpoint = PrismJobServer(options).subprocess_cmd_and_endpoint()
        with server("Prism", [str(word) for word in command], portable.job_endpoint):
            yield PrismRunner()
    elif run.name == "FlinkRunner" and not portable.job_endpoint and not flags.flink_submit_uber_jar:
        with _flink_job_server(plan, options):
            yield FlinkRunner()
    else:
        yield None


@contextlib.contextmanager
def _flink_job_server(plan: Plan, options: PipelineOptions) -> Iterator[None]:
    flink, jobs = options.view_as(FlinkRunnerOptions), options.view_as(JobServerOptions)
    flink.flink_master = FlinkRunner.add_http_scheme(flink.flink_master)
    # TaskManagers read what Beam stages as files, so it has to lie where they, too, see the output.
    with plan.output.scratch() as staged:
        jobs.artifacts_dir = jobs.artifacts_dir or str(staged)
        command, endpoint = FlinkJarJobServer(options).subprocess_cmd_and_endpoint()
        options.view_as(PortableOptions).job_endpoint = endpoint
        with server("Beam's job server for Flink", [str(word) for word in command], endpoint):
            yield


def _run(pipeline: beam.Pipeline, options: PipelineOptions) -> None:
    """Runs a pipeline and waits for its end; cancels the job on Ctrl-C."""
    result = None
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except KeyboardInterrupt:
        # In a thread: the driver leaves in seconds, whether or not a distant server answers.
        cancelling = threading.Thread(target=_cancel, args=(result, options), daemon=True)
        cancelling.start()
        cancelling.join(_CANCEL_S)
        raise
    except Exception as error:  # Beam passes on whatever its channels raise
        raise RuntimeError(explain(str(error))) from error


def _cancel(result: PipelineResult | None, options: PipelineOptions) -> None:
    master = options.view_as(FlinkRunnerOptions).flink_master
    name = options.view_as(GoogleCloudOptions).job_name
    if name and master not in LOCAL_MASTERS and not cancel(master, name):
        print(f"The job {name} could not be cancelled; cancel it on Flink's page, {master}", flush=True)
    if result is not None:
        result.cancel()


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Logs what ends a thread: Beam's threads meet the end of their server, which is no news to a user."""
    if ended.exc_value is not None:
        logging.getLogger(__name__).error("a thread ended", exc_info=ended.exc_value)


@contextlib.contextmanager
def _without_traces() -> Iterator[None]:
    """Keeps the traces that Beam's workers print from the terminal: what breaks a run off is raised as well."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
