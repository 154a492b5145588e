"""What each runner does for a run: checks, flags of Beam, servers beside the driver, and cancelling a job.

Importing Beam takes seconds, and checks come before it: modules of runners import it in `running` only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, NoReturn

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.plan.settings import RunnerSettings
from beam_curate.processes.server import Server, listens
from beam_curate.store.base import Store
from beam_curate.store.runs import Job

if TYPE_CHECKING:
    from apache_beam import PCollection, Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult, PipelineRunner

    from beam_curate.plan.plan import Plan
    from beam_curate.report.workload import Workload

PIPELINE = "pipeline.pb"
"""The file with a job's graph, as Beam's protocol buffer ``Pipeline``."""

ANSWER_S = 5.0
"""How long a server may take to answer a check."""

_TIMED_FLUSH = "data_buffer_time_limit_ms"
_START_S = 120.0
_HAND_OVER_S = 300.0
_POLL_S = 0.2
_FINAL_STATES = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")
_GRACE_S = 1.0  # the driver leaves within seconds of Ctrl-C


class Runner:
    """A runner of Apache Beam; a subclass overrides what is different there.

    >>> runner = Runner(RunnerSettings("PortableRunner", beam_args=("--job_endpoint=localhost:8099",)))
    >>> runner.arguments()
    ['--job_endpoint=localhost:8099', '--runner=PortableRunner']
    >>> runner.flags.job_endpoint, runner.is_local
    ('localhost:8099', False)

    Args:
        settings: Its name, threads, and flags of Beam.

    Attributes:
        is_local: Whether the stages always run on this computer, so that it is checked for models, memory and threads.
        reshuffle_waits: Whether a Reshuffle holds elements back until all of them have arrived.
        shares_folders: Whether its workers can see folders of this computer, perhaps since they mount them, too.
        job_name: What the cluster calls the job.
        settings: As given.
        flags: The flags of Beam that `add_flags` declares.
    """

    is_local: ClassVar[bool] = False
    reshuffle_waits: ClassVar[bool] = True
    shares_folders: ClassVar[bool] = True

    def __init__(self, settings: RunnerSettings) -> None:
        self.settings = settings
        parser = _Parser(add_help=False, allow_abbrev=False)
        self.add_flags(parser)
        self.flags = parser.parse_known_args(settings.beam_args)[0]
        self.job_name: str = self.flags.job_name or f"beam-curate-{uuid.uuid4().hex[:8]}"

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Declares the flags of Beam that this class reads itself; Beam gets all of them."""
        parser.add_argument("--job_endpoint")
        parser.add_argument("--job_name")
        parser.add_argument("--environment_type")
        parser.add_argument("--experiments", "--experiment", action="append", default=[])

    def mistakes(self, plan: Plan) -> Iterator[str]:
        """Yields what would make a job of a plan fail, as far as that is known without asking a server.

        Args:
            plan: What is done.

        Yields:
            A sentence each: the problem, the flag, what to do.
        """
        yield from ()

    def doubts(self, plan: Plan) -> Iterator[str]:
        """Yields what may make such a job fail, or slow, a sentence each."""
        yield from ()

    def check(self) -> None:
        """Checks, before the first video, that everything the runner needs is there.

        Raises:
            UsageError: With the problem, the flag and what to do.
        """
        if any(_TIMED_FLUSH in experiment for experiment in self.flags.experiments):
            raise UsageError(
                f"--experiments={_TIMED_FLUSH} makes Beam lose elements: its timer empties buffers that are being "
                "written; leave it out"
            )
        endpoint = self.flags.job_endpoint
        if endpoint and endpoint != "embed" and not listens(endpoint, ANSWER_S):
            raise UsageError(f"no job server answers at {endpoint}; start it, or correct --job_endpoint")

    @property
    def can_detach(self) -> bool:
        """Whether a job goes on when this process ends, once it is submitted."""
        return False

    def check_detached(self, output: Store) -> None:
        """Checks that the job can go on without this process.

        Args:
            output: The output.

        Raises:
            UsageError: It cannot; with what to do.
        """
        if not self.can_detach:
            raise UsageError(
                f"--detach leaves the job to a cluster, and --runner={self.settings.name} with these flags works in "
                "this process or needs it: leave out --detach, or use a cluster whose workers are elsewhere "
                "(--runner=FlinkRunner --flink_master=HOST:8081 --environment_type=EXTERNAL; docs/runners.md)"
            )

    @property
    def page(self) -> str:
        """Where the cluster shows its jobs; empty where that is not known."""
        return ""

    @property
    def job(self) -> Job | None:
        """The job, where it goes on if this process is killed."""
        return Job(self.settings.name, self.job_name, self.page) if self.can_detach else None

    @classmethod
    def state_of(cls, job: Job) -> str | None:
        """Asks a cluster for the state of a job.

        Returns:
            ``running``, ``finished``, ``failed`` or ``cancelled``; None where it does not tell.
        """
        return None

    @classmethod
    def cancel_job(cls, job: Job) -> bool:
        """Cancels a job of an earlier process on its cluster; returns whether the cluster accepted it."""
        return False

    def defaults(self) -> list[str]:
        """Returns flags of Beam that apply where the user gives no others."""
        return []

    def learned(self) -> list[str]:
        """Returns further defaults, which a server of the runner is asked for."""
        return []

    def fixed(self) -> list[str]:
        """Returns flags of Beam that the user cannot override."""
        return [f"--runner={self.settings.name}"]

    def arguments(self, *, ask: bool = True) -> list[str]:
        """Returns all flags for Beam.

        Args:
            ask: Whether servers may be asked; see `learned`.
        """
        return [*self.defaults(), *(self.learned() if ask else ()), *self.settings.beam_args, *self.fixed()]

    @property
    def threads(self) -> int:
        """How much is computed at once where this process decides it; by default as much as it may use cores."""
        return self.settings.threads or len(os.sched_getaffinity(0))

    @property
    def units_in_hand(self) -> int:
        """How many units are worked on at once, most of which wait for a model, a server or a core.

        Starting a thread of Beam's local runner takes 0.2 s, which bounds their number on many cores.
        """
        return min(4 * self.threads, self.threads + 16)

    def deals_out_chunks(self, videos: Sequence[Video]) -> bool:
        """Whether the chunks of a video are distributed over the workers.

        Where that makes all chunks wait for the last video's shots, only if a video is more than half of what a core
        would have to do: below that, it can begin last and still end with the others.
        """
        sizes = [video.size_bytes for video in videos]
        return not self.reshuffle_waits or 2 * self.cores * max(sizes, default=0) > sum(sizes)

    @property
    def cores(self) -> int:
        """The cores that a job has, as far as that is known."""
        return self.threads

    @property
    def gpu_gb(self) -> float | None:
        """Memory of a worker's GPU in GB (10^9 bytes); None where it is that of this computer, or not known."""
        return self.settings.gpu_gb

    @property
    def resource_hints(self) -> Mapping[str, str]:
        """Hints of Beam for the stages with models that need a GPU; none where all workers are alike."""
        return {}

    def end(self, recorded: PCollection[str]) -> None:
        """Adds what the runner needs behind the last step of a pipeline.

        Args:
            recorded: What the last step gives.
        """

    @property
    def workers_elsewhere(self) -> bool:
        """Whether the stages run in other processes than this one."""
        return self.flags.environment_type != "LOOPBACK"

    @contextlib.contextmanager
    def running(self, options: PipelineOptions, output: Store) -> Iterator[PipelineRunner]:
        """Yields Beam's runner, with the servers that it needs running beside this process.

        Args:
            options: Of the job; addresses of servers are added.
            output: The output folder.

        Raises:
            ServerError: A server did not start.
        """
        from apache_beam.runners import create_runner

        yield create_runner(self.settings.name)

    def describe(self) -> list[tuple[str, str]]:
        """Returns what a user should know of the workers: names and values."""
        if self.is_local:
            return [("workers", f"threads of this process; {self.threads} compute, {self.units_in_hand} units in hand")]
        kind = self.flags.environment_type
        return [("workers", f"--environment_type={kind}" if kind else "as the job server decides")]

    def estimate(self, plan: Plan, work: Workload, price_table: str | None = None) -> Iterator[str]:
        """Yields what a run may take, and cost where there are prices, a sentence each.

        Args:
            plan: What is done.
            work: How much that is.
            price_table: A file with other prices than those of this program.

        Raises:
            UsageError: The table cannot be read.
        """
        yield f"clips: about {rounded(work.clips_core_hours)} hours of a core"
        if work.shots_core_hours:
            yield f"shots: about {rounded(work.shots_core_hours)} hours of a core without a GPU, much less with one"
        if work.windows:
            yield f"captions: {rounded(work.windows)} windows; how long these take depends on the model and the GPU"

    def write_job(self, pipeline: Pipeline, options: PipelineOptions, folder: Path) -> None:
        """Writes what would be submitted into a folder, without asking anybody: at least ``pipeline.pb``.

        Args:
            pipeline: With the graph of the run.
            options: Of the job.
            folder: Exists.
        """
        (folder / PIPELINE).write_bytes(pipeline.to_runner_api().SerializeToString())

    def submitted(self, result: PipelineResult, options: PipelineOptions) -> None:
        """Says where a job can be followed, if it can; called as soon as it was submitted."""

    def stage(self, options: PipelineOptions, output: Store, run: PurePosixPath) -> None:
        """Prepares what the job needs until it ends, perhaps without this process.

        Args:
            options: Of the job.
            output: The output.
            run: The folder of the run.
        """
        return

    def hand_over(self, result: PipelineResult) -> None:
        """Waits until a job needs this process no more.

        Raises:
            RuntimeError: It failed before, or this took too long.
        """
        deadline = time.monotonic() + _HAND_OVER_S
        while not self.is_handed_over(result):
            if result.state in _FINAL_STATES:
                result.wait_until_finish()  # which raises the reason
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the job {self.job_name} was not accepted within {_HAND_OVER_S:.0f} s")
            time.sleep(_POLL_S)

    def is_handed_over(self, result: PipelineResult) -> bool:
        """Whether a job needs this process no more."""
        return str(result.state) == "RUNNING"

    def cancel(self, result: PipelineResult | None, options: PipelineOptions) -> None:
        """Cancels a job.

        Args:
            result: Of the job; None where it was interrupted before it was submitted.
            options: Of the job.
        """
        if result is not None:
            result.cancel()


class _Parser(argparse.ArgumentParser):
    """Tells of a wrong value as all mistakes are told."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.removeprefix('argument ')} (a flag of Apache Beam)")


def rounded(number: float) -> str:
    """Returns a number with two digits that count: an estimate is no better.

    >>> rounded(1234.5), rounded(37.2), rounded(0.123), rounded(0)
    ('1,200', '37', '0.12', '0')
    """
    if number >= 100:
        return f"{float(f'{number:.2g}'):,.0f}"
    return f"{number:.2g}"


@contextlib.contextmanager
def serving(name: str, command: Sequence[object], endpoint: str) -> Iterator[None]:
    """Runs a server while the block lasts, from when it accepts connections at ``host:port``.

    Beam starts Prism and the job server for Flink too, but leaves them behind when the driver is killed, lets the
    terminal's Ctrl-C reach them before a job can be cancelled, and takes seconds to stop them.
    """
    with Server(name, [str(word) for word in command], grace_s=_GRACE_S) as server:
        server.wait_until_ready(lambda: listens(endpoint), _START_S)
        yield
