"""What each runner needs to be told: checked before the first video, and set where the user left it out."""

from __future__ import annotations

import argparse
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.plan.settings import RunnerSettings
from runners import flink
from runners.servers import listens

PRISM_PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
_RUNNERS = ("DirectRunner", "PrismRunner", "FlinkRunner", "PortableRunner")
_ANSWER_S = 5.0
_TIMED_FLUSH = "data_buffer_time_limit_ms"


def flags_of(beam_args: Sequence[str]) -> argparse.Namespace:
    """Reads those flags of Beam that launching depends on; the others are left alone."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("prism_location", "job_endpoint", "job_name", "environment_type", "flink_job_server_jar"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--flink_master", default="[auto]")
    parser.add_argument("--flink_submit_uber_jar", action="store_true")
    parser.add_argument("--job_server_java_launcher", default="java")
    parser.add_argument("--output_executable_path")
    parser.add_argument("--parallelism", type=int)
    parser.add_argument("--experiments", "--experiment", action="append", default=[])
    return parser.parse_known_args(list(beam_args))[0]


def check_runner(run: RunnerSettings) -> None:
    """Checks that what a runner needs is there.

    Raises:
        UsageError: With the problem, the flag and the mend.
    """
    flags = flags_of(run.beam_args)
    if any(_TIMED_FLUSH in experiment for experiment in flags.experiments):
        raise UsageError(
            f"--experiments={_TIMED_FLUSH} makes Beam lose elements: its timer empties buffers that are being written; "
            "leave it out"
        )
    if run.name not in _RUNNERS and "." not in run.name:  # a dotted name is a class of the user's own
        raise UsageError(f"--runner {run.name} is not supported; choose {', '.join(_RUNNERS)} (docs/runners.md)")
    if run.name == "PrismRunner" and not flags.job_endpoint:
        prism(flags)
    if run.name == "FlinkRunner":
        _check_flink(flags)
    if run.name == "PortableRunner" and not flags.job_endpoint:
        raise UsageError(
            "--runner=PortableRunner needs the job server to send the job to; add --job_endpoint=HOST:PORT, "
            "or take --runner=FlinkRunner or PrismRunner, which start one"
        )
    if flags.job_endpoint and flags.job_endpoint != "embed" and not listens(flags.job_endpoint, _ANSWER_S):
        raise UsageError(f"no job server answers at {flags.job_endpoint}; start it, or correct --job_endpoint")


def prism(flags: argparse.Namespace) -> str:
    """Returns where Prism is: where the user says, or on the PATH. Beam would download one unasked.

    Raises:
        UsageError: It is at neither.
    """
    how = f"install it with: go install {PRISM_PACKAGE}"
    if flags.prism_location:
        if found := shutil.which(flags.prism_location):
            return found
        raise UsageError(f"--prism_location {flags.prism_location} is no program; {how}")
    if found := shutil.which("prism"):
        return found
    raise UsageError(f"--runner=PrismRunner needs the program prism; {how}, and add --prism_location=PATH/TO/prism")


def with_defaults(run: RunnerSettings) -> list[str]:
    """Returns flags for Beam: what is right for this pipeline, and then, overruling it, what the user said."""
    return [*_defaults(run, flags_of(run.beam_args)), *run.beam_args, *_ours(run)]


def _defaults(run: RunnerSettings, flags: argparse.Namespace) -> list[str]:
    if run.name == "PrismRunner":
        return ["--prism_log_kind=text"]
    if run.name != "FlinkRunner":
        return []
    # Flink itself would take one slot of all that it has.
    slots = 0 if flags.parallelism else _slots(run, flags)
    return [f"--job_name=beam-curate-{uuid.uuid4().hex[:8]}", *([f"--parallelism={slots}"] if slots else [])]


def _ours(run: RunnerSettings) -> list[str]:
    if run.name == "DirectRunner":
        return ["--direct_running_mode=multi_threading", f"--direct_num_workers={workers(run)}"]
    return [f"--runner={run.name}"]


def workers(run: RunnerSettings) -> int:
    """Returns how many units are worked on at once where that is for this process to say: one a core it may use."""
    return run.threads or len(os.sched_getaffinity(0))


def workers_elsewhere(run: RunnerSettings) -> bool:
    """Whether the stages run in other processes than this one."""
    flags = flags_of(run.beam_args)
    if run.name in ("DirectRunner", "PrismRunner") or flags.environment_type == "LOOPBACK":
        return False
    return run.name != "FlinkRunner" or flags.flink_master not in flink.LOCAL_MASTERS or bool(flags.environment_type)


def _check_flink(flags: argparse.Namespace) -> None:
    local = flags.flink_master in flink.LOCAL_MASTERS
    if not flags.environment_type and (not local or flags.output_executable_path):
        raise UsageError(
            "--runner=FlinkRunner runs the stages in workers beside Flink, which must have beam-curate: add "
            "--environment_type=EXTERNAL --environment_config=HOST:PORT for a worker pool, or "
            "--environment_type=LOOPBACK for a trial in this process (docs/runners.md)"
        )
    if not local and not listens(flink.endpoint(flags.flink_master), _ANSWER_S):
        raise UsageError(f"no Flink answers at {flags.flink_master}; start it, or correct --flink_master")
    if flags.job_endpoint or flags.flink_submit_uber_jar:
        return
    if shutil.which(flags.job_server_java_launcher) is None:
        raise UsageError(
            f"--runner=FlinkRunner starts Beam's job server, and the program {flags.job_server_java_launcher} is not "
            "there; install Java 17, name it with --job_server_java_launcher, or add --job_endpoint=HOST:PORT"
        )
    jar = flags.flink_job_server_jar
    if jar and "://" not in jar and not Path(jar).is_file():
        raise UsageError(f"--flink_job_server_jar {jar} is not there; leave it out and Beam downloads its own")


def _slots(run: RunnerSettings, flags: argparse.Namespace) -> int:
    return workers(run) if flags.flink_master in flink.LOCAL_MASTERS else flink.slots(flags.flink_master)
