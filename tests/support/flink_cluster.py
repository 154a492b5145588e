"""A Flink cluster with a worker pool, as separate processes on free ports: what a job meets in production."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from beam_curate.processes.server import Server, free_ports
from runners.flink import rest as flink_rest
from runners.flink.standalone import JOB_MANAGER, TASK_MANAGER, Standalone
from tests.support.program import started_by
from tools import engines

SLOTS = 2
_START_S = 180
GivenPool: TypeAlias = tuple[int, list[str], Mapping[str, str]]
"""The port, the command and the environment of a worker pool."""


class FlinkCluster:
    """A JobManager, a TaskManager with two slots, and a pool of Python workers; what is killed can be restarted.

    There is one TaskManager, since all of a job have one address for their pools: on one computer they would share one,
    and each calls its worker by the same name there.

    Attributes:
        master: Value of `--flink_master`.
        pool: Address of the worker pool.
    """

    def __init__(self, folder: Path, given_pool: GivenPool | None = None, more: str = "") -> None:
        self._folder = folder
        self._given_pool = given_pool
        rpc, rest, pool = free_ports(3)
        if given_pool:
            pool = given_pool[0]
        self.pool = f"localhost:{pool}"
        self._servers: list[tuple[str, Server]] = []
        self._node = Standalone(folder, engines.FLINK_LIB, "localhost", rpc, rest, "localhost", SLOTS, "localhost")
        self._node.write(more)
        self.master = self._node.master

    @property
    def flags(self) -> tuple[str, ...]:
        """What a user adds to the command to run on this cluster."""
        return (
            "--runner=FlinkRunner",
            f"--flink_master={self.master}",
            f"--flink_job_server_jar={engines.JOB_SERVER_JAR}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self.pool}",
        )

    def start(self) -> None:
        """Starts all of it and waits until all slots are offered."""
        self._start("JobManager", self._node.command(JOB_MANAGER))
        task_manager = self.start_task_manager()
        self.start_pool()
        task_manager.wait_until_ready(lambda: flink_rest.slots(self.master) == SLOTS, _START_S)

    def start_task_manager(self) -> Server:
        """Starts a TaskManager."""
        return self._start("TaskManager", self._node.command(TASK_MANAGER))

    def kill_task_manager(self) -> None:
        """Kills the TaskManager at once, as a lost machine does."""
        self._kill("TaskManager")

    def start_pool(self, more: Mapping[str, str] | None = None) -> None:
        """Starts the worker pool; its workers are this environment's Python, unless a pool was given.

        Args:
            more: Further environment variables of the pool and its workers.
        """
        if self._given_pool:
            self._start("pool", *self._given_pool[1:])
            return
        command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
        command += [f"--service_port={self.pool.rpartition(':')[2]}", f"--container_executable={engines.BOOT}"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}
        self._start("pool", command, environment | (more or {}))

    def kill_pool(self) -> None:
        """Kills the pool and its workers at once, as a lost machine does."""
        self._kill("pool")

    def _kill(self, name: str) -> None:
        """Kills the one of a name that was started last."""
        _kill_tree([server for known, server in self._servers if known == name][-1].pid)

    def job_states(self) -> list[str]:
        """The states of all jobs so far, such as RUNNING or CANCELED."""
        with urllib.request.urlopen(f"http://{self.master}/jobs", timeout=10) as answer:
            return [job["status"] for job in json.load(answer)["jobs"]]

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Adds what all servers printed last to what fails in the block."""
        try:
            yield
        except Exception as error:
            error.add_note("\n".join(f"--- {name}\n" + "\n".join(server.lines) for name, server in self._servers))
            raise

    def stop(self) -> None:
        """Ends everything that was started: workers have process groups of their own, so the pool's go one by one."""
        for name, server in self._servers:
            if name == "pool":
                _kill_tree(server.pid)
            server.stop()

    def _start(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> Server:
        server = Server(name, command, environment=environment, folder=self._folder)
        self._servers.append((name, server))
        return server


@contextlib.contextmanager
def flink_cluster(folder: Path, given_pool: GivenPool | None = None, more: str = "") -> Iterator[FlinkCluster]:
    """Runs a cluster and stops all of it at the end.

    Args:
        folder: For its configuration and temporary files.
        given_pool: A pool that is not this environment's.
        more: Further lines of Flink's configuration.
    """
    cluster = FlinkCluster(folder, given_pool, more)
    try:
        with cluster.explained():
            cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _kill_tree(pid: int) -> None:
    """Kills a process and all that it started, also what has become leader of a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # so that it starts nothing while its children are counted
    for child in started_by(pid):
        _kill_tree(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
