"""Runs the pipeline of a plan on a runner."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import PurePosixPath

import apache_beam as beam
from apache_beam.internal import cloudpickle_pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.runner import PipelineResult
from apache_beam.runners.worker import sdk_worker

from beam_curate.elements import Video
from beam_curate.pipeline import build
from beam_curate.plan.plan import Plan
from beam_curate.processes.permits import CORES
from beam_curate.progress import worker_counts
from beam_curate.sources.selection import write_selection
from runners.base import Runner
from runners.job_errors import explain

_CANCEL_S = 4.5  # a little more than two answers of a cluster
_PORTION = 500  # videos


def run_pipeline(
    plan: Plan,
    runner: Runner,
    run: PurePosixPath,
    videos: Sequence[Video],
    barriers: Collection[str],
    *,
    captions_in_ledger: bool = True,
    detach: bool = False,
) -> None:
    """Runs the pipeline of a plan to its end, or leaves it to the cluster.

    Where a barrier holds all chunks back, this computer works in portions of videos, so that memory stays bounded and
    videos are finished while the run goes on.

    Args:
        plan: Stages and output folder.
        runner: Where it runs.
        run: The folder of the run.
        videos: What is to be done.
        barriers: Names of stages that begin when all chunks have passed the stages before.
        captions_in_ledger: Whether the ledger of the run holds all captions.
        detach: Whether to return as soon as the job goes on without this process.

    Raises:
        RuntimeError: The job failed as a whole, or a server that the runner needs did not start.
    """
    verbose = plan.runner.verbose
    logging.getLogger().setLevel(logging.INFO if verbose else logging.CRITICAL)
    options = PipelineOptions(runner.arguments())
    switch_off_timed_flushes()
    name_files_without_folders()
    threading.excepthook = _log_uncaught
    end = runner.hand_over if detach else _wait
    with contextlib.ExitStack() as stack:
        if not verbose:
            stack.enter_context(_without_tracebacks())
        stack.enter_context(worker_counts.of_driver(plan.output, run, works=not runner.workers_elsewhere))
        if runner.workers_elsewhere and not detach:
            stack.enter_context(worker_counts.collected(plan.output, run))
        if runner.is_local:
            CORES.set_number(runner.threads)
        runner.stage(options, plan.output, run)
        beam_runner = stack.enter_context(runner.running(options, plan.output))
        for number, portion in enumerate(_portions(videos, _PORTION if runner.is_local and barriers else len(videos))):
            selection = run / f"selection-{number}"
            write_selection(plan.output, selection, portion)
            deal_out = runner.deals_out_chunks(portion)
            pipeline = beam.Pipeline(runner=beam_runner, options=options)
            recorded = build(
                pipeline,
                plan,
                run,
                selection,
                deal_out_chunks=deal_out,
                barriers=barriers,
                captions_in_ledger=captions_in_ledger,
                resource_hints=runner.resource_hints,
            )
            runner.end(recorded)
            _run(pipeline, runner, options, end)


def _portions(videos: Sequence[Video], number: int) -> Iterator[list[Video]]:
    """Yields the videos in portions of a number, in each the largest first: the others then end beside it."""
    for start in range(0, len(videos), number):
        yield sorted(videos[start : start + number], key=lambda video: -video.size_bytes)


def switch_off_timed_flushes() -> None:
    """Lets Beam's local runner send its buffers when they are full or closed, and at no other time.

    By default a timer sends them every second as well, from a thread of its own, while another writes to them without
    a lock: what is written between the timer's copy and its clearing is lost. The runner reads this constant alone
    for its own side of a channel, and for the workers' side where their environment names no limit.
    """
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


def name_files_without_folders() -> None:
    """Lets the functions that are sent to workers name the files they come from by package, and not by folder.

    Beam sends some of its own functions by value, and with each the full path of its source on this computer.
    """
    cloudpickle_pickler.DEFAULT_CONFIG.filepath_interceptor = cloudpickle.get_relative_path


def _wait(result: PipelineResult) -> None:
    """Waits for the end of a job."""
    result.wait_until_finish()


def _run(
    pipeline: beam.Pipeline, runner: Runner, options: PipelineOptions, wait: Callable[[PipelineResult], None]
) -> None:
    """Runs a pipeline and waits as long as this process is needed; cancels the job on Ctrl-C."""
    result = None
    try:
        result = pipeline.run()
        runner.submitted(result, options)
        wait(result)
    except KeyboardInterrupt:
        # In a thread: the driver leaves within seconds, whether or not a remote server answers.
        cancelling = threading.Thread(target=runner.cancel, args=(result, options), daemon=True)
        cancelling.start()
        cancelling.join(_CANCEL_S)
        raise
    except Exception as error:  # Beam passes on whatever its channels raise
        raise RuntimeError(explain(str(error))) from error


def _log_uncaught(uncaught: threading.ExceptHookArgs) -> None:
    """Logs what ends a thread: Beam's threads see their server end, which is no news to a user."""
    if uncaught.exc_value is not None:
        logging.getLogger(__name__).error("a thread ended", exc_info=uncaught.exc_value)


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Hides the tracebacks that Beam's workers print: errors that abort a run are raised as well.

    A worker may print one when the run has been aborted by another: that is hidden for good.
    """
    sdk_worker.print = lambda *lines, file=None: None
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
