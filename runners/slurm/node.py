"""`python -m runners.slurm.node [options] -- FLAGS`: makes the nodes of a Slurm job a Flink cluster and curates on it.

`srun` starts it on each node. The first node has the JobManager and the driver, `python -m beam_curate.run FLAGS`;
every node has a TaskManager, which starts the Python workers beside it. All of it ends when the driver has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from beam_curate.plan.settings import RunnerSettings
from beam_curate.processes.server import Server, ServerError
from runners.base import Runner
from runners.flink import rest
from runners.flink.standalone import JOB_MANAGER, TASK_MANAGER, Standalone

_POLL_S = 1.0
_GONE_S = 10.0  # without an answer of the JobManager
_LEAVE_S = 30.0  # a driver cancels its job and leaves within seconds
_RESTARTS = 3  # of a TaskManager
_FIRST_PORT, _PORTS = 20_000, 12_000  # below those that Linux gives to outgoing connections


@dataclasses.dataclass(frozen=True)
class Job:
    """What Slurm says of a job, to each of its nodes.

    Attributes:
        job_id: Number of the job.
        nodes: How many nodes it has.
        node: Number of this node, from 0.
        head: Host name of the first node.
        host: Host name of this node.
    """

    job_id: int
    nodes: int
    node: int
    head: str
    host: str

    @property
    def ports(self) -> tuple[int, int]:
        """Ports of the JobManager for TaskManagers and for REST: of this job alone, and known without asking."""
        first = _FIRST_PORT + 2 * self.job_id % _PORTS
        return first, first + 1


def job_of(environment: Mapping[str, str]) -> Job:
    """Returns what the environment variables of a task say.

    >>> slurm = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NODEID": "1", "SLURMD_NODENAME": "gpu-2"}
    >>> job_of(slurm | {"BEAM_CURATE_HEAD": "gpu-1"})
    Job(job_id=7, nodes=2, node=1, head='gpu-1', host='gpu-2')

    Raises:
        UsageError: This is no task of a Slurm job, or the name of the first node is not given.
    """
    try:
        job, nodes, node = (int(environment[name]) for name in ("SLURM_JOB_ID", "SLURM_NNODES", "SLURM_NODEID"))
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"this is no task of a Slurm job ({error}): start it with srun, as curate.sbatch does"
        ) from error
    head = environment.get("BEAM_CURATE_HEAD")
    if not head:
        raise UsageError(
            "BEAM_CURATE_HEAD is not set, the host name of the first node: "
            'export BEAM_CURATE_HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
        )
    return Job(job, nodes, node, head, environment.get("SLURMD_NODENAME") or socket.gethostname())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a node; returns the exit status: on the first node that of the driver."""
    given, flags = _parsed(sys.argv[1:] if argv is None else list(argv))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # what Slurm sends before it kills
    try:
        job = job_of(os.environ)
        with tempfile.TemporaryDirectory(prefix=f"beam-curate-{job.job_id}-{job.node}-") as folder:
            node = Node(job, _standalone(job, given, Path(folder)), given)
            return node.lead(flags) if job.node == 0 else node.follow()
    except UsageError as error:
        _say(f"error: {error}")
        return EXIT_USAGE
    except ServerError as error:
        _say(f"error: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        _say("ended by a signal; the same job again resumes")
        return 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


class Node:
    """What runs on one node of a job.

    Args:
        job: The job.
        flink: The node's part of Flink.
        given: The options.
    """

    def __init__(self, job: Job, flink: Standalone, given: argparse.Namespace) -> None:
        self._job = job
        self._flink = flink
        self._given = given
        self._task_manager: Server | None = None
        self._starts = 0

    def lead(self, flags: Sequence[str]) -> int:
        """Runs the JobManager, a TaskManager and the driver; returns the driver's exit status."""
        slots = self._job.nodes * self._flink.slots
        with Server("JobManager", self._flink.command(JOB_MANAGER, self._given.java)) as job_manager, self._tasks():
            _say(f"waiting for {slots} slots of {self._job.nodes} nodes; Flink's page: http://{self._flink.master}")
            job_manager.wait_until_ready(lambda: self._has(slots), self._given.wait_s, "--wait-s")
            return self._drive(flags)

    def follow(self) -> int:
        """Runs a TaskManager for as long as the JobManager answers."""
        with self._tasks():
            seen, deadline = False, time.monotonic() + self._given.wait_s
            while time.monotonic() < deadline:
                if self._has(1):
                    seen, deadline = True, time.monotonic() + _GONE_S
                time.sleep(_POLL_S)
        if not seen:
            raise ServerError(
                f"no JobManager answered at {self._flink.master} within {self._given.wait_s:g} s (--wait-s)"
            )
        return EXIT_DONE

    def _has(self, slots: int) -> bool:
        """Whether the cluster has so many slots; the TaskManager is kept running meanwhile."""
        self._keep_tasks()
        return rest.slots(self._flink.master) >= slots

    def _drive(self, flags: Sequence[str]) -> int:
        """Runs the driver; on a signal it cancels its job."""
        driver = subprocess.Popen([sys.executable, "-m", "beam_curate.run", *flags, *self._runner()])
        try:
            while driver.poll() is None:
                self._keep_tasks()
                time.sleep(_POLL_S)
            return driver.returncode if driver.returncode >= 0 else 128 - driver.returncode
        finally:
            if driver.poll() is None:
                driver.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(_LEAVE_S)
                driver.kill()

    def _runner(self) -> list[str]:
        """Returns the flags of the runner: TaskManagers start the workers as processes of their own."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {"PATH": path, "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}
        process = {"command": str(self._given.boot), "env": environment}
        return [
            "--runner=FlinkRunner",
            f"--flink_master={self._flink.master}",
            "--environment_type=PROCESS",
            f"--environment_config={json.dumps(process)}",
        ]

    @contextlib.contextmanager
    def _tasks(self) -> Iterator[None]:
        """Runs a TaskManager while the block lasts."""
        try:
            self._keep_tasks()
            yield
        finally:
            if self._task_manager:
                self._task_manager.stop()

    def _keep_tasks(self) -> None:
        """Starts the TaskManager, again where it has ended; ServerError when it ends again and again."""
        if self._task_manager and not self._task_manager.has_ended():
            return
        if self._task_manager:
            _say(f"{self._job.host}: {self._task_manager.how_it_ended()}")
            if self._starts > _RESTARTS:
                raise ServerError(f"the TaskManager of {self._job.host} ended {self._starts} times")
        self._starts += 1
        command = self._flink.command(TASK_MANAGER, self._given.java)
        self._task_manager = Server("TaskManager", command, folder=self._flink.folder)  # workers leave files there


def _parsed(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options and, after ``--``, the flags of the driver."""
    parser = argparse.ArgumentParser(
        prog="python -m runners.slurm.node",
        usage="%(prog)s [options] -- FLAGS OF python -m beam_curate.run",
        description="Makes the nodes of a Slurm job a Flink cluster and curates on it. srun starts it on each node; "
        "see docs/slurm.md.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--flink-home", default=os.environ.get("FLINK_HOME"), help="A Flink distribution. (default: $FLINK_HOME)")
    add("--boot", type=Path, default=Path("/opt/apache/beam/boot"), help="Beam's boot program. (default: %(default)s)")
    add("--java", default="java", help="Java 17 or 11. (default: %(default)s)")
    add("--slots", type=int, help="Units in hand on a node. (default: four for each of its cores, at most 16 more)")
    add("--flink-config", type=Path, help="A file with further lines for Flink's configuration, in YAML.")
    add("--wait-s", type=float, default=600.0, help="Longest wait for all nodes, in s. (default: %(default)s)")
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return parser.parse_args(own), arguments[len(own) + 1 :]


def _standalone(job: Job, given: argparse.Namespace, folder: Path) -> Standalone:
    """Returns the node's part of Flink, with its configuration written.

    Raises:
        UsageError: Flink, Java or the boot program is not there.
    """
    lib = Path(given.flink_home or "", "lib")
    if not given.flink_home or not list(lib.glob("flink-dist*.jar")):
        raise UsageError(f"{lib} has no flink-dist*.jar: unpack Flink on a shared disk and set FLINK_HOME to it")
    for program, flag in ((given.java, "--java"), (given.boot, "--boot")):
        if not shutil.which(program):
            raise UsageError(f"{job.host} has no program {program}: install it there, or name it with {flag}")
    rpc_port, rest_port = job.ports
    slots = given.slots or Runner(RunnerSettings()).units_in_hand
    node = Standalone(folder, lib, job.head, rpc_port, rest_port, job.host, slots)
    node.write(given.flink_config.read_text() if given.flink_config else "")
    return node


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
