"""The runners by the name that ``--runner`` takes."""

from __future__ import annotations

from beam_curate.errors import UsageError
from beam_curate.plan.settings import RunnerSettings
from beam_curate.store.runs import Job
from runners.base import Runner
from runners.dataflow.runner import DataflowRunner
from runners.direct import DirectRunner
from runners.flink.runner import FlinkRunner
from runners.portable import CustomRunner, PortableRunner
from runners.prism import PrismRunner

RUNNERS: dict[str, type[Runner]] = {
    "DirectRunner": DirectRunner,
    "PrismRunner": PrismRunner,
    "FlinkRunner": FlinkRunner,
    "DataflowRunner": DataflowRunner,
    "PortableRunner": PortableRunner,
}


def state_of(job: Job) -> str | None:
    """Asks the cluster of a job for its state; see `Runner.state_of`.

    >>> state_of(Job("PortableRunner", "curate")) is None  # a job server is not asked
    True
    """
    runner = RUNNERS.get(job.runner)
    return runner.state_of(job) if runner else None


def cancel(job: Job) -> bool:
    """Cancels a job on its cluster; see `Runner.cancel_job`.

    >>> cancel(Job("PortableRunner", "curate"))  # a job server is not asked
    False
    """
    runner = RUNNERS.get(job.runner)
    return runner is not None and runner.cancel_job(job)


def make_runner(settings: RunnerSettings) -> Runner:
    """Returns the runner that the settings name.

    >>> type(make_runner(RunnerSettings("FlinkRunner"))).__name__
    'FlinkRunner'

    Raises:
        UsageError: There is none of that name.
    """
    if settings.name in RUNNERS:
        return RUNNERS[settings.name](settings)
    if "." in settings.name:
        return CustomRunner(settings)
    raise UsageError(f"--runner {settings.name} is not supported; choose {', '.join(RUNNERS)} (docs/runners.md)")
