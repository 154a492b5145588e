"""A Flink cluster as plain Java processes: its configuration, and the commands that start its parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"

# What the configuration of a Flink distribution (env.java.opts.all) opens of the Java modules, for Java 17.
ADD_OPENS = tuple(
    f"java.base/{package}"
    for package in (
        *("java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time"),
        *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"),
    )
)
ADD_EXPORTS = ("java.base/sun.net.util",)

# Elements hold identities and facts, a few KB each: the work and its memory are in the Python workers beside Flink.
# Without Flink's start scripts every part of a TaskManager's memory has to be named. The network's buffers are for the
# shuffles of the job, each of which reserves 512 of 32 KB unless told otherwise.
_CONFIGURATION = """\
jobmanager.rpc.address: {head}
jobmanager.rpc.port: {rpc_port}
jobmanager.bind-host: {bind}
jobmanager.memory.process.size: 1g
rest.address: {head}
rest.port: {rest_port}
rest.bind-port: "{rest_port}"
rest.bind-address: {bind}
blob.server.port: "0"
cluster.registration.error-delay: 500
taskmanager.host: {host}
taskmanager.bind-host: {bind}
taskmanager.numberOfTaskSlots: {slots}
taskmanager.cpu.cores: {slots}
taskmanager.memory.task.heap.size: 256m
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.task.off-heap.size: 0m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.managed.size: 256m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.network.sort-shuffle.min-buffers: 16
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 128m
taskmanager.memory.jvm-overhead.max: 128m
io.tmp.dirs: {folder}/tmp
"""
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = Out
appender.out.name = Out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} %m%n
"""


@dataclasses.dataclass(frozen=True)
class Standalone:
    """One node's part of a cluster.

    >>> node = Standalone(Path("/scratch"), Path("/opt/flink/lib"), "node1", 6123, 8081, host="node2", slots=8)
    >>> node.master
    'node1:8081'
    >>> "taskmanager.host: node2" in node.configuration().splitlines()
    True

    Attributes:
        folder: A folder of this node, for the configuration and temporary files.
        lib: The folder with Flink's jars.
        head: Host of the JobManager.
        rpc_port: Port at which the JobManager takes TaskManagers.
        rest_port: Port of Flink's REST interface and page.
        host: This node, as others reach it.
        slots: Of the TaskManager of this node.
        bind: Address at which servers of this node listen.
    """

    folder: Path
    lib: Path
    head: str
    rpc_port: int
    rest_port: int
    host: str
    slots: int
    bind: str = "0.0.0.0"

    @property
    def master(self) -> str:
        """Value of ``--flink_master``."""
        return f"{self.head}:{self.rest_port}"

    def configuration(self) -> str:
        """Returns what stands in ``config.yaml``."""
        return _CONFIGURATION.format(**vars(self))

    def write(self, more: str = "") -> None:
        """Writes the configuration; the folder is made if it is not there.

        Args:
            more: Further lines of the configuration, in YAML.
        """
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(self.configuration() + more)
        (self.folder / "log4j.properties").write_text(_LOGGING)

    def command(self, main: str, java: str = "java") -> list[str]:
        """Returns the command that starts a part of the cluster.

        Args:
            main: `JOB_MANAGER` or `TASK_MANAGER`.
            java: The program.
        """
        command = [java, f"-Dlog4j.configurationFile={self.folder}/log4j.properties", "-Xmx512m"]
        command += [f"--add-opens={package}=ALL-UNNAMED" for package in ADD_OPENS]
        command += [f"--add-exports={package}=ALL-UNNAMED" for package in ADD_EXPORTS]
        return [*command, "-cp", f"{self.lib}/*", main, "--configDir", str(self.folder)]
