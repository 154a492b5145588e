"""Two nodes of a Slurm job, on this computer: what `srun` starts on each, with the variables that Slurm sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.program import DESCRIBED, start
from tools import engines

NEEDED = ("java", engines.FLINK_LIB, engines.JOB_SERVER_JAR, engines.BOOT)
_HERE_S = 300


def start_nodes(source: str | Path, output: str | Path, *flags: str) -> list[subprocess.Popen[str]]:
    """Starts both nodes, each with a TaskManager of two slots; the first is the one with the driver."""
    command = [sys.executable, "-m", "runners.slurm.node", "--flink-home", str(engines.FLINK_LIB.parent)]
    command += ["--boot", str(engines.BOOT), "--slots", "2", "--wait-s", "240", "--"]
    command += [flag for flag in DESCRIBED if not flag.startswith("--runner")]
    command += [f"--flink_job_server_jar={engines.JOB_SERVER_JAR}", *flags]
    command += ["--input-video-path", str(source), "--output-clip-path", str(output)]
    of_job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NNODES": "2", "BEAM_CURATE_HEAD": "localhost"}
    of_job["SLURMD_NODENAME"] = "localhost"
    return [start(command, of_job | {"SLURM_NODEID": str(node)}) for node in range(2)]


def ended_well(nodes: list[subprocess.Popen[str]]) -> str:
    """Waits for both nodes and returns what the first printed."""
    printed, _ = nodes[0].communicate(timeout=_HERE_S)
    assert nodes[0].returncode == 0, printed
    assert "waiting for 4 slots of 2 nodes" in printed
    of_other, _ = nodes[1].communicate(timeout=60)
    assert nodes[1].returncode == 0, of_other
    return printed


def run_on_two_nodes(source: str | Path, output: str | Path, *flags: str) -> str:
    """Curates on both nodes and returns what was printed."""
    return ended_well(start_nodes(source, output, *flags))
