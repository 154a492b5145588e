"""What can be known of a Dataflow job before it is submitted, without asking anybody.

Beam checks the project, the places for staging and few other things, when it submits; the rest fails on Dataflow,
after minutes. The patterns are Beam's own (`apache_beam.options.pipeline_options_validator`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from beam_curate.buckets.base import scheme_of
from beam_curate.engines.endpoint import Endpoint
from beam_curate.models import requirements
from beam_curate.plan.plan import Plan
from runners.dataflow import machines
from runners.dataflow.machines import Accelerator

if TYPE_CHECKING:
    from runners.dataflow.runner import DataflowRunner

PROJECT = r"[a-z][-a-z0-9:.]+[a-z0-9]"
JOB = r"[a-z]([-a-z0-9]*[a-z0-9])?"
BUCKET = r"[a-z0-9][-_a-z0-9.]+[a-z0-9]"

_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
_ZONE = re.compile(rf"({_REGION.pattern})-[a-z]")
_IMAGE_OF_BEAM = re.compile(r"beam_python(\d+\.\d+)_sdk")
# Of flags whose values are keys. Beam writes every flag into the job, which all who may view jobs can read.
_KEY_FLAG = re.compile(r"--\w*(secret|token|password|access_key|connection_string)\w*")
_KEY_IN_URL = re.compile(r"://[^/\s]*:[^/\s]*@")
# These let workers install, or the driver build or download, what the image has.
_INSTALLING = ("requirements_file", "setup_file", "extra_package", "extra_packages", "prebuild_sdk_container_engine")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
_SYSTEM_GB = 60  # of a worker's disk: the operating system, and an image with torch and CUDA, packed and unpacked
_GUIDE = "(docs/dataflow.md)"


def mistakes(runner: DataflowRunner, plan: Plan) -> Iterator[str]:
    """Yields what would make a job fail, a sentence each: the problem, the flag, what to do.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> from runners.registry import make_runner
    >>> plan = make_plan(parse("--runner=DataflowRunner --input-video-path=in --output-clip-path=gs://b/out".split()))
    >>> next(mistakes(make_runner(plan.runner), plan))
    '--runner=DataflowRunner runs the stages in containers that have beam-curate: add --sdk_container_image=IMAGE ...'

    Args:
        runner: With the flags of the job.
        plan: What is done.
    """
    yield from _keys(runner.settings.beam_args)
    yield from _image(runner.flags.image)
    yield from _not_for_this(runner.settings.beam_args)
    yield from _job(runner)
    yield from _staging(runner)
    yield from _places(plan)
    yield from _accelerator(runner)
    if runner.gpu_gb is not None:
        yield from requirements.too_large(plan.required, runner.gpu_gb)


def doubts(runner: DataflowRunner, plan: Plan) -> Iterator[str]:
    """Yields what may make a job fail, or slow, a sentence each."""
    cache_gb = plan.sources.reader.cache.max_bytes / 1e9
    needed = _SYSTEM_GB + cache_gb + sum(one.model.disk_gb for one in plan.required)
    if 0 < runner.flags.disk_size_gb < needed:
        yield (
            f"--disk_size_gb {runner.flags.disk_size_gb} may be too little for a worker's image, models and --cache-gb "
            f"{cache_gb:g}: about {needed:.0f}"
        )
    if runner.flags.sdk_location != "container":
        yield "--sdk_location lets each worker install Beam again when it starts; the image has it: leave it out"
    if runner.settings.needs_gpu and runner.gpu_gb is None and runner.accelerator is not None:
        yield (
            f"the memory of {runner.accelerator.kind} is not known here: add --gpu-memory-gb, so that models which fit "
            "together stay loaded side by side"
        )
    of_type = machines.machine(runner.machine_type)
    if runner.resource_hints and of_type and of_type.gpus:
        yield (
            f"--machine_type {runner.machine_type} is of the workers without models, which do not use its GPUs: "
            f"take one such as {machines.DEFAULT_MACHINE_TYPE}"
        )
    if runner.accelerator is not None and not runner.settings.needs_gpu:
        yield "no stage of this run has a model that needs a GPU: leave out the accelerator, which is paid for"


def _keys(beam_args: tuple[str, ...]) -> Iterator[str]:
    for word in beam_args:
        flag = word.partition("=")[0]
        if _KEY_FLAG.fullmatch(flag):
            yield (
                f"{flag} would be written into the job, where everybody who may view it can read it: leave it out, and "
                "give the workers' service account access, or the image a profile"
            )
        elif _KEY_IN_URL.search(word):
            yield f"{flag if flag != word else 'a flag'} holds a URL with a password, which would be in the job"


def _image(image: str | None) -> Iterator[str]:
    if not image:
        yield (
            "--runner=DataflowRunner runs the stages in containers that have beam-curate: add "
            f"--sdk_container_image=IMAGE {_GUIDE}"
        )
        return
    if "://" in image or re.search(r"\s", image):
        yield f"--sdk_container_image {image!r} is no name of an image: give HOST/PATH/NAME:TAG, without https://"
    elif "/" not in image:
        yield (
            f"--sdk_container_image {image} names no registry, so that workers cannot fetch it: push it, and give "
            "REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME:TAG"
        )
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if (of_beam := _IMAGE_OF_BEAM.search(image)) and of_beam[1] != ours:
        yield (
            f"--sdk_container_image {image} has Python {of_beam[1]} and this program runs on {ours}: functions that "
            "are sent to workers need the same one"
        )


def _not_for_this(beam_args: tuple[str, ...]) -> Iterator[str]:
    """Yields which flags of Beam have no place in a job whose program is in an image and whose input ends."""
    given = {word.partition("=")[0].removeprefix("--") for word in beam_args}
    for name in _INSTALLING:
        if name in given:
            yield f"--{name} adds packages to workers, whose image has all that they need: put others into it as well"
    if "save_main_session" in given:
        yield "--save_main_session sends along what the image has: leave it out"
    if "streaming" in given:
        yield "--streaming is for input that does not end: leave it out"


def _job(runner: DataflowRunner) -> Iterator[str]:
    flags = runner.flags
    if not flags.project:
        yield "--project is missing: name the Google Cloud project that the job belongs to"
    elif flags.project.isdecimal():
        yield f"--project {flags.project} is the number of a project: give its id"
    elif not re.fullmatch(PROJECT, flags.project):
        yield f"--project {flags.project!r} is no id of a project: lower-case letters, digits and hyphens"
    region = flags.region or os.environ.get("CLOUDSDK_COMPUTE_REGION")
    if not region:
        yield "--region is missing: name the region of the workers, such as europe-west4, best that of your buckets"
    elif zone := _ZONE.fullmatch(region):
        yield f"--region {region} is a zone: give --region={zone[1]} (and --worker_zone={region} to stay in it)"
    elif not _REGION.fullmatch(region):
        yield f"--region {region!r} is no region: give one such as europe-west4"
    if flags.job_name and not re.fullmatch(JOB, flags.job_name):
        yield (
            f"--job_name {flags.job_name!r} must consist of lower-case letters, digits and hyphens, begin with a "
            "letter and not end with a hyphen"
        )
    for flag in ("num_workers", "max_num_workers", "harness_threads"):
        number = getattr(flags, flag)
        if number is not None and number < 1:
            name = "number_of_worker_harness_threads" if flag == "harness_threads" else flag
            yield f"--{name} is {number}: it must be at least 1"
    if flags.num_workers and flags.max_num_workers and flags.num_workers > flags.max_num_workers:
        yield f"--num_workers {flags.num_workers} is more than --max_num_workers {flags.max_num_workers}"
    if flags.template_location:
        yield (
            "--template_location would keep today's list of videos in a template: leave it out, and submit each run; "
            "beam-curate plan shows the job"
        )


def _staging(runner: DataflowRunner) -> Iterator[str]:
    given = {name: getattr(runner.flags, name) for name in ("temp_location", "staging_location")}
    if not any(given.values()):
        yield "--temp_location is missing: name a place in Google Cloud Storage for the job, gs://BUCKET/PREFIX"
    for name, value in given.items():
        if value and not re.fullmatch(rf"gs://{BUCKET}/.*", value):
            yield f"--{name} {value} is no place in Google Cloud Storage: give gs://BUCKET/PREFIX"


def _places(plan: Plan) -> Iterator[str]:
    sources = plan.sources
    for flag, value in (
        ("--input-video-path", sources.path),
        ("--output-clip-path", plan.output.location()),
        ("--model-weights-path", str(plan.models.weights) if plan.models.weights else None),
    ):
        if value is not None and not scheme_of(value):
            yield f"{flag} {value} is on this computer, where workers cannot reach it: give a gs:// or s3:// URL"
    if plan.required and plan.models.weights is None:
        names = ", ".join(one.model.name for one in plan.required)
        yield (
            f"workers have no models ({names}): copy the folder models/ of your workspace to a bucket and add "
            f"--model-weights-path=gs://BUCKET/models {_GUIDE}"
        )
    server = plan.model_server
    if isinstance(server, Endpoint) and urlsplit(server.url).hostname in _LOCAL_HOSTS:
        yield f"--captioning-endpoint {server.url} is this computer, which workers cannot reach: name its host"


def _accelerator(runner: DataflowRunner) -> Iterator[str]:
    for_all, hinted = runner.accelerator_settings, runner.hint_settings
    kind = runner.settings.gpu_only_where_needed
    if for_all and (hinted or kind):
        other = "--gpu-only-where-needed" if kind else "--resource_hints=accelerator"
        yield f"{other} and worker_accelerator cannot be combined: one is for some stages, the other for all workers"
    if len({*for_all, *hinted}) > 1:
        yield f"there are several settings of accelerators ({', '.join([*for_all, *hinted])}): give one"
    if kind and runner.flags.flexrs_goal:
        yield "--flexrs_goal does not go with --gpu-only-where-needed: leave out one of them"
    for setting in [*for_all, *hinted]:
        try:
            Accelerator.parse(setting)
        except ValueError as error:
            yield f"the accelerator {setting!r} cannot be understood: {error}"
    accelerator = runner.accelerator
    if accelerator is None:
        if runner.settings.needs_gpu and not [*for_all, *hinted]:
            yield (
                f"--machine_type {runner.machine_type} is not known to take a GPU, and models of this run need one: "
                f"take {machines.DEFAULT_GPU.machine_type}, or say which with "
                "--dataflow_service_options='worker_accelerator=type:...;count:1;install-nvidia-driver:5xx'"
            )
        return
    if not accelerator.driver:
        yield f"the accelerator {accelerator} comes without a driver: append ;{machines.DRIVER}"
    yield from _fitting(runner, accelerator)


def _fitting(runner: DataflowRunner, accelerator: Accelerator) -> Iterator[str]:
    """Yields why a machine type and GPUs do not belong together; with hints Dataflow chooses the machine."""
    gpu = machines.GPUS.get(accelerator.kind)
    if gpu is None or runner.resource_hints or runner.hint_settings:
        return
    machine_type = runner.machine_type
    if not machine_type.startswith(gpu.series):
        yield (
            f"--machine_type {machine_type} cannot have {gpu.kind}: take {gpu.machine_type}, or another that begins "
            f"with {' or '.join(gpu.series)}"
        )
        return
    known = machines.machine(machine_type)
    if known and known.gpus is not None and known.gpus != accelerator.count:
        yield f"--machine_type {machine_type} has {known.gpus} GPUs: give count:{known.gpus}, not {accelerator.count}"
