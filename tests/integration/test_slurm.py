"""The nodes of a Slurm job are a Flink cluster with a TaskManager each, and curate as one computer does."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.needed import need
from tests.support.program import FIXED_STRIDE, snapshot, wait_for
from tests.support.slurm_nodes import NEEDED, ended_well, run_on_two_nodes, start_nodes


def test_the_output_equals_direct_runners(
    videos: Path, direct: tuple[Path, dict[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(*NEEDED)
    output, expected, _ = direct
    monkeypatch.chdir(tmp_path)
    assert "4 videos found" in run_on_two_nodes(videos, output, *FIXED_STRIDE)
    assert not list(tmp_path.iterdir())  # the user's folder stays as it was
    assert snapshot(output) == expected
    shutil.rmtree(output)


@pytest.mark.soak
def test_after_a_signal_the_same_job_again_resumes(videos: Path, direct: tuple[Path, dict[str, str], str]) -> None:
    need(*NEEDED)
    output, expected, _ = direct
    nodes = start_nodes(videos, output, *FIXED_STRIDE)
    wait_for(lambda: list((output / ".work" / "clips").rglob("*.json")), nodes[0], 300)
    for node in nodes:
        node.send_signal(signal.SIGTERM)  # as Slurm does before the time is up
    for node in nodes:
        printed, _ = node.communicate(timeout=60)
        assert node.returncode == 143, printed
        assert "the same job again resumes" in printed and "Traceback" not in printed
    ended_well(start_nodes(videos, output, *FIXED_STRIDE))
    assert snapshot(output) == expected
    shutil.rmtree(output)


def test_the_batch_script_is_one_that_bash_reads() -> None:
    script = Path(__file__).parents[2] / "runners" / "slurm" / "curate.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
