"""DataflowRunner: workers that Google Cloud Dataflow starts for a job and stops after it."""

from __future__ import annotations

import argparse
import functools
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from beam_curate.errors import UsageError
from beam_curate.plan.plan import Plan
from runners.base import Runner
from runners.dataflow import checks, machines
from runners.dataflow.machines import Accelerator

if TYPE_CHECKING:
    from apache_beam import Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult

    from beam_curate.report.workload import Workload

_DISK_GB = 200
_THREADS = 8  # where it is not known how many vCPUs a machine type has
_WORKER_ACCELERATOR = "worker_accelerator"
_ONE_PROCESS = "no_use_multiple_sdk_containers"
# Beam would stage a list of all packages of this environment, with the folders and URLs that some came from.
_WITHOUT_PACKAGES = "disable_logging_submission_environment"


class DataflowRunner(Runner):
    """Submits to Dataflow. Each worker is one process with threads, which share models and cache.

    >>> from beam_curate.plan.settings import RunnerSettings
    >>> runner = DataflowRunner(RunnerSettings("DataflowRunner", needs_gpu=True))
    >>> str(runner.accelerator), runner.machine_type, runner.gpu_gb, runner.units_in_hand
    ('type:nvidia-l4;count:1;install-nvidia-driver:5xx', 'g2-standard-8', 24, 24)
    """

    shares_folders = False
    can_detach = True

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Declares the flags of the job, its workers and the places that it is staged in."""
        super().add_flags(parser)
        for name in ("project", "region", "staging_location", "temp_location", "template_location"):
            parser.add_argument(f"--{name}")
        parser.add_argument("--sdk_container_image", "--worker_harness_container_image", dest="image")
        parser.add_argument("--machine_type", "--worker_machine_type", dest="machine_type")
        parser.add_argument("--disk_size_gb", type=int, default=_DISK_GB)
        parser.add_argument("--num_workers", type=int)
        parser.add_argument("--max_num_workers", type=int)
        parser.add_argument("--number_of_worker_harness_threads", type=int, dest="harness_threads")
        parser.add_argument("--sdk_location", default="container")
        parser.add_argument("--flexrs_goal")
        parser.add_argument("--no_auth", action="store_true")
        for name in ("dataflow_service_option", "resource_hint"):
            parser.add_argument(f"--{name}s", f"--{name}", action="append", default=[])

    def mistakes(self, plan: Plan) -> Iterator[str]:
        """Yields what would make the job fail; see `Runner`."""
        yield from checks.mistakes(self, plan)

    def doubts(self, plan: Plan) -> Iterator[str]:
        """Yields what may make it fail or slow; see `Runner`."""
        yield from checks.doubts(self, plan)

    def check(self) -> None:
        """Checks that there are credentials to submit with; see `Runner`."""
        super().check()
        if not self.flags.no_auth:
            check_credentials()

    def defaults(self) -> list[str]:
        """Returns what suits this program: one process a worker, its threads, GPUs for all where models need one."""
        experiments = [_WITHOUT_PACKAGES]
        if "use_multiple_sdk_containers" not in ",".join(self.flags.experiments).split(","):
            experiments.append(_ONE_PROCESS)
        given = [
            f"--job_name={self.job_name}",
            "--sdk_location=container",
            f"--experiments={','.join(experiments)}",
            f"--number_of_worker_harness_threads={self.units_in_hand}",
            f"--machine_type={self.machine_type}",
            f"--disk_size_gb={_DISK_GB}",
        ]
        if self.accelerator is not None and not self.accelerator_settings and not self.resource_hints:
            given.append(f"--dataflow_service_options={_WORKER_ACCELERATOR}={self.accelerator}")
        return given

    @property
    def accelerator_settings(self) -> list[str]:
        """The settings of GPUs for all workers that the user gave, as Beam would pass them on."""
        words = [*self.flags.dataflow_service_options, *self.flags.experiments]
        prefix = f"{_WORKER_ACCELERATOR}="
        return [part.removeprefix(prefix) for word in words for part in word.split(",") if part.startswith(prefix)]

    @property
    def hint_settings(self) -> list[str]:
        """The GPUs that the user asks for as a resource hint of all stages."""
        prefix = "accelerator="
        return [hint.removeprefix(prefix) for hint in self.flags.resource_hints if hint.startswith(prefix)]

    @functools.cached_property
    def accelerator(self) -> Accelerator | None:
        """The GPUs of a worker that has some; None where no stage needs them, or the setting cannot be understood."""
        if given := [*self.accelerator_settings, *self.hint_settings]:
            try:
                return Accelerator.parse(given[-1])
            except ValueError:
                return None
        if not self.settings.needs_gpu:
            return None
        if kind := self.settings.gpu_only_where_needed:
            known = machines.GPUS.get(kind)
            return Accelerator(kind, machine_type=known.machine_type if known else "")
        fitting = machines.gpu_for(self.flags.machine_type) if self.flags.machine_type else machines.DEFAULT_GPU
        if fitting is None:
            return None
        of_type = machines.machine(self.machine_type) if self.flags.machine_type else None
        return Accelerator(fitting.kind, (of_type.gpus if of_type else None) or 1)

    @property
    def machine_type(self) -> str:
        """The machine type of the workers; with GPUs only where needed, of those without."""
        if self.flags.machine_type:
            return str(self.flags.machine_type)
        if self.accelerator is None or self.settings.gpu_only_where_needed:
            return machines.DEFAULT_MACHINE_TYPE
        known = machines.GPUS.get(self.accelerator.kind)
        return known.machine_type if known else machines.DEFAULT_MACHINE_TYPE

    @property
    def resource_hints(self) -> Mapping[str, str]:
        """What stages with large models ask for; only where the user wants GPUs for them alone."""
        if self.settings.gpu_only_where_needed and self.accelerator is not None:
            return {"accelerator": str(self.accelerator)}
        return {}

    @property
    def gpu_gb(self) -> float | None:
        """Memory of a GPU of a worker; see `Runner`."""
        return self.settings.gpu_gb or (self.accelerator.memory_gb if self.accelerator else None)

    @property
    def threads(self) -> int:
        """How much a worker computes at once: its vCPUs."""
        known = machines.machine(self.machine_type)
        return known.vcpus if known else _THREADS

    @property
    def workers(self) -> int | None:
        """The number of workers, as far as the user has said it."""
        number: int | None = self.flags.max_num_workers or self.flags.num_workers
        return number

    @property
    def cores(self) -> int:
        """The cores of all workers, or of one where their number is not known."""
        return self.threads * (self.workers or 1)

    def submitted(self, result: PipelineResult, options: PipelineOptions) -> None:
        """Says where the job can be followed; see `Runner`."""
        from apache_beam.options.pipeline_options import GoogleCloudOptions

        job, cloud = result.job_id(), options.view_as(GoogleCloudOptions)
        print(f"Job {job}: {console_url(cloud.region, job, cloud.project)}", flush=True)

    def is_handed_over(self, result: PipelineResult) -> bool:
        """Whether Dataflow has the job: it has once it is submitted."""
        return True

    @property
    def page(self) -> str:
        """The page of all jobs; see `Runner`."""
        return f"https://console.cloud.google.com/dataflow/jobs?project={self.flags.project}"

    def describe(self) -> list[tuple[str, str]]:
        """Returns what the workers are; see `Runner`."""
        import apache_beam

        from beam_curate import __version__

        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        known = machines.machine(self.machine_type)
        size = f" ({known.vcpus} vCPUs, {known.memory_gb:g} GB)" if known else ""
        threads = self.flags.harness_threads or self.units_in_hand
        where = {True: "stages with large models", False: "all workers"}[bool(self.resource_hints)]
        return [
            ("project", f"{self.flags.project or '?'}, region {self.flags.region or '?'}"),
            ("image", self.flags.image or "?"),
            ("in it", f"Python {python}, Apache Beam {apache_beam.__version__}, beam-curate {__version__}: as here"),
            ("workers", f"{self.machine_type}{size}, {self.flags.disk_size_gb} GB of disk, {self._number}"),
            ("threads", f"{threads} in one process a worker"),
            ("accelerator", f"{self.accelerator}, {where}" if self.accelerator else "none"),
        ]

    @property
    def _number(self) -> str:
        if self.flags.max_num_workers:
            return f"up to {self.flags.max_num_workers} of them"
        return "as many as Dataflow finds right (--max_num_workers bounds it)"

    def estimate(self, plan: Plan, work: Workload, price_table: str | None = None) -> Iterator[str]:
        """Yields what workers may take and cost; see `Runner`."""
        from runners.dataflow import cost

        prices = cost.read_prices(price_table)
        yield from cost.lines(self, cost.pools(self, plan, work, prices), prices)

    def write_job(self, pipeline: Pipeline, options: PipelineOptions, folder: Path) -> None:
        """Writes the job as Beam would submit it; see `Runner`."""
        from runners.dataflow.offline import write_job

        write_job(pipeline, options, folder)


def console_url(region: str, job: str, project: str) -> str:
    """Returns the page of a job.

    >>> console_url("europe-west4", "2026-11-30_job", "footage-team")
    'https://console.cloud.google.com/dataflow/jobs/europe-west4/2026-11-30_job?project=footage-team'
    """
    return f"https://console.cloud.google.com/dataflow/jobs/{region}/{job}?project={project}"


def check_credentials() -> None:
    """Checks that there are credentials for Google Cloud; only where no file has any, the machine itself is asked.

    Raises:
        UsageError: There are none.
    """
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    logging.getLogger("google.auth").setLevel(logging.ERROR)  # it warns where no project belongs to them
    try:
        google.auth.default()
    except DefaultCredentialsError as error:
        why = str(error).partition(". ")[0].rstrip(".")
        raise UsageError(
            f"there are no credentials for Google Cloud ({why}): run `gcloud auth application-default login`, or name "
            "a file with GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
