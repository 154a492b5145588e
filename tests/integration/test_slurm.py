"""Two nodes of a Slurm job, on this computer: what `srun` starts on each, with the variables that Slurm sets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needed import need
from tests.support.program import DESCRIBED, FIXED_STRIDE, snapshot, start, wait_for
from tools import engines

HERE_S = 300


def nodes(job: int, videos: Path, output: Path) -> list[subprocess.Popen[str]]:
    """Starts both nodes; the first is the one with the driver."""
    command = [sys.executable, "-m", "runners.slurm.node", "--flink-home", str(engines.FLINK_LIB.parent)]
    command += ["--boot", str(engines.BOOT), "--slots", "2", "--wait-s", "240", "--"]
    command += [flag for flag in DESCRIBED if not flag.startswith("--runner")]
    command += [f"--flink_job_server_jar={engines.JOB_SERVER_JAR}", *FIXED_STRIDE]
    command += ["--input-video-path", str(videos), "--output-clip-path", str(output)]
    of_job = {"SLURM_JOB_ID": str(job), "SLURM_NNODES": "2", "BEAM_CURATE_HEAD": "localhost"}
    of_job["SLURMD_NODENAME"] = "localhost"
    return [start(command, of_job | {"SLURM_NODEID": str(node)}) for node in range(2)]


@pytest.fixture(autouse=True)
def engines_are_there() -> None:
    need("java", engines.FLINK_LIB, engines.JOB_SERVER_JAR, engines.BOOT)


def test_the_output_equals_direct_runners(
    videos: Path, direct: tuple[Path, dict[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, expected, _ = direct
    monkeypatch.chdir(tmp_path)
    ends_well(nodes(os.getpid(), videos, output))
    assert not list(tmp_path.iterdir())  # the user's folder stays as it was
    assert snapshot(output) == expected
    shutil.rmtree(output)


@pytest.mark.soak
def test_after_a_signal_the_same_job_again_resumes(videos: Path, direct: tuple[Path, dict[str, str], str]) -> None:
    output, expected, _ = direct
    both = nodes(os.getpid(), videos, output)
    wait_for(lambda: list((output / ".work" / "clips").rglob("*.json")), both[0], HERE_S)
    for node in both:
        node.send_signal(signal.SIGTERM)  # as Slurm does before the time is up
    for node in both:
        printed, _ = node.communicate(timeout=60)
        assert node.returncode == 143, printed
        assert "the same job again resumes" in printed and "Traceback" not in printed
    ends_well(nodes(os.getpid(), videos, output))
    assert snapshot(output) == expected
    shutil.rmtree(output)


def ends_well(both: list[subprocess.Popen[str]]) -> None:
    """Waits for both nodes."""
    printed, _ = both[0].communicate(timeout=HERE_S)
    assert both[0].returncode == 0, printed
    assert "waiting for 4 slots of 2 nodes" in printed and "4 videos found" in printed
    printed, _ = both[1].communicate(timeout=60)
    assert both[1].returncode == 0, printed


def test_the_batch_script_is_one_that_bash_reads() -> None:
    script = Path(__file__).parents[2] / "runners" / "slurm" / "curate.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
