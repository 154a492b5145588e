"""FlinkRunner: worker processes beside the TaskManagers of a Flink cluster."""

from __future__ import annotations

import argparse
import contextlib
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from beam_curate.buckets.base import scheme_of
from beam_curate.errors import UsageError
from beam_curate.processes.server import listens
from beam_curate.store.base import Store
from beam_curate.store.runs import Job
from runners.base import ANSWER_S, Runner, serving
from runners.flink import rest

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult, PipelineRunner

_LOCAL_MASTERS = ("[local]", "[auto]")  # values of --flink_master that mean a Flink inside Beam's job server


class FlinkRunner(Runner):
    """Submits through Beam's job server for Flink, started beside this process unless ``--job_endpoint`` names one."""

    reshuffle_waits = False

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Declares the flags of the job, the cluster and the job server."""
        super().add_flags(parser)
        parser.add_argument("--flink_master", default="[auto]")
        parser.add_argument("--flink_version")
        parser.add_argument("--parallelism", type=int)
        parser.add_argument("--flink_submit_uber_jar", action="store_true")
        parser.add_argument("--flink_job_server_jar")
        parser.add_argument("--artifacts_dir")
        parser.add_argument("--job_server_java_launcher", default="java")
        parser.add_argument("--output_executable_path")

    def check(self) -> None:
        """Checks for workers, the cluster, Java and the job server's jar; see `Runner`."""
        super().check()
        flags = self.flags
        if not flags.environment_type and (not self._is_embedded or flags.output_executable_path):
            raise UsageError(
                "--runner=FlinkRunner runs the stages in workers beside Flink, which must have beam-curate: add "
                "--environment_type=EXTERNAL --environment_config=HOST:PORT for a worker pool, or "
                "--environment_type=LOOPBACK for a trial in this process (docs/runners.md)"
            )
        if not self._is_embedded and not listens(rest.endpoint(flags.flink_master), ANSWER_S):
            raise UsageError(f"no Flink answers at {flags.flink_master}; start it, or correct --flink_master")
        self._check_version()
        if not self._starts_job_server:
            return
        if shutil.which(flags.job_server_java_launcher) is None:
            raise UsageError(
                f"--runner=FlinkRunner starts Beam's job server, and the program {flags.job_server_java_launcher} is "
                "missing; install Java 17, name it with --job_server_java_launcher, or add --job_endpoint=HOST:PORT"
            )
        jar = flags.flink_job_server_jar
        if jar and "://" not in jar and not Path(jar).is_file():
            raise UsageError(f"--flink_job_server_jar {jar} does not exist; leave it out and Beam downloads its own")

    def defaults(self) -> list[str]:
        """Returns a job name to cancel it by, and a parallelism for a Flink in the job server."""
        embedded = self._is_embedded and not self.flags.parallelism
        return [f"--job_name={self.job_name}", *([f"--parallelism={self.units_in_hand}"] if embedded else [])]

    def learned(self) -> list[str]:
        """Returns all slots of a cluster as parallelism, of which Flink itself would use one, and its version."""
        asked = not self._is_embedded and not self.flags.parallelism
        slots = rest.slots(self.flags.flink_master) if asked else 0
        version = self._version
        return [
            *([f"--parallelism={slots}"] if slots else []),
            *([f"--flink_version={version}"] if version else []),
        ]

    @functools.cached_property
    def _version(self) -> str | None:
        """The version of the cluster, where it decides the job server; None also where it does not tell."""
        return rest.version(self.flags.flink_master) if self._chooses_job_server else None

    def _check_version(self) -> None:
        """Checks that Beam has a job server for the cluster's Flink, and that none for another one was asked for.

        Raises:
            UsageError: With the versions.
        """
        flags, there = self.flags, self._version
        if there is None:
            return
        from apache_beam.options.pipeline_options import FlinkRunnerOptions

        known = FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
        if there not in known:
            raise UsageError(
                f"the Flink at {flags.flink_master} is {there}, and Beam has job servers for {', '.join(known)}: use "
                "one of these, or name a job server's jar with --flink_job_server_jar"
            )
        if flags.flink_version not in (None, there):
            raise UsageError(
                f"--flink_version={flags.flink_version}, and the Flink at {flags.flink_master} is {there}: leave it out"
            )

    @property
    def can_detach(self) -> bool:
        """Whether workers are elsewhere, and Flink is not inside the job server of this process."""
        return self.workers_elsewhere and (bool(self.flags.job_endpoint) or not self._is_embedded)

    def check_detached(self, output: Store) -> None:
        """Checks also that what workers need to start is kept where they find it; see `Runner`."""
        super().check_detached(output)
        if self._starts_job_server and not self.flags.artifacts_dir and scheme_of(output.location()):
            raise UsageError(
                "--detach with an output in an object store needs --artifacts_dir=FOLDER, which this computer and all "
                "TaskManagers see at the same path: workers are started from what is staged there (docs/runners.md)"
            )

    @property
    def page(self) -> str:
        """Flink's page, if it is known; see `Runner`."""
        return "" if self._is_embedded else rest.page(self.flags.flink_master)

    @classmethod
    def state_of(cls, job: Job) -> str | None:
        """Asks Flink; see `Runner`."""
        return rest.state(job.page, job.name) if job.page else None

    @classmethod
    def cancel_job(cls, job: Job) -> bool:
        """Asks Flink; see `Runner`."""
        return bool(job.page) and rest.cancel(job.page, job.name)

    @property
    def workers_elsewhere(self) -> bool:
        """Whether workers are other processes; in a Flink inside the job server they are not, by default."""
        return super().workers_elsewhere and (not self._is_embedded or bool(self.flags.environment_type))

    @contextlib.contextmanager
    def running(self, options: PipelineOptions, output: Store) -> Iterator[PipelineRunner]:
        """Starts the job server; see `Runner`."""
        if not self._starts_job_server:
            with super().running(options, output) as runner:
                yield runner
            return
        from apache_beam.options.pipeline_options import FlinkRunnerOptions, JobServerOptions, PortableOptions
        from apache_beam.runners.portability import flink_runner

        flink, jobs = options.view_as(FlinkRunnerOptions), options.view_as(JobServerOptions)
        flink.flink_master = flink_runner.FlinkRunner.add_http_scheme(flink.flink_master)
        with output.scratch() as staged:
            jobs.artifacts_dir = jobs.artifacts_dir or str(staged)
            command, endpoint = flink_runner.FlinkJarJobServer(options).subprocess_cmd_and_endpoint()
            options.view_as(PortableOptions).job_endpoint = endpoint
            with serving("Beam's job server for Flink", command, endpoint):
                yield flink_runner.FlinkRunner()

    def stage(self, options: PipelineOptions, output: Store, run: PurePosixPath) -> None:
        """Has artifacts staged in the folder of the run.

        TaskManagers read them as files, so they must be where TaskManagers see the output as well.
        """
        from apache_beam.options.pipeline_options import JobServerOptions

        jobs = options.view_as(JobServerOptions)
        if self._starts_job_server and not jobs.artifacts_dir and (folder := output.shared_folder(run / "staged")):
            jobs.artifacts_dir = str(folder)

    def is_handed_over(self, result: PipelineResult) -> bool:
        """Whether Flink has the job: the job server says that it runs before it has submitted it."""
        if self._is_embedded:
            return super().is_handed_over(result)
        return rest.state(self.flags.flink_master, self.job_name) is not None

    def cancel(self, result: PipelineResult | None, options: PipelineOptions) -> None:
        """Cancels the job on the cluster, which Beam's job server does not; see `Runner`."""
        from apache_beam.options.pipeline_options import GoogleCloudOptions

        master, name = self.flags.flink_master, options.view_as(GoogleCloudOptions).job_name
        if not self._is_embedded and not rest.cancel(master, name):
            print(f"The job {name} could not be cancelled; cancel it on Flink's page, {master}", flush=True)
        super().cancel(result, options)

    @property
    def _is_embedded(self) -> bool:
        return self.flags.flink_master in _LOCAL_MASTERS

    @property
    def _chooses_job_server(self) -> bool:
        """Whether Beam's job server is the one for the cluster's version."""
        return self._starts_job_server and not self.flags.flink_job_server_jar and not self._is_embedded

    @property
    def _starts_job_server(self) -> bool:
        return not self.flags.job_endpoint and not self.flags.flink_submit_uber_jar
