"""A node of a Slurm job, before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_curate.errors import UsageError
from runners.slurm import node
from runners.slurm.node import Job, job_of

TASK = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NODEID": "1", "BEAM_CURATE_HEAD": "gpu-1"}


@pytest.mark.parametrize("name", TASK)
def test_what_slurm_has_to_say_is_told_where_it_is_missing(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        job_of({key: value for key, value in TASK.items() if key != name})


def test_jobs_have_ports_of_their_own_below_those_of_connections() -> None:
    ports = [Job(number, 1, 0, "a", "a").ports for number in range(1000, 1200)]
    assert len({port for pair in ports for port in pair}) == 400
    assert all(20_000 <= port < 32_768 for pair in ports for port in pair)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "set FLINK_HOME"),
        (["--flink-home", "/nowhere"], "/nowhere/lib has no flink-dist"),
        (["--flink-home", "{flink}", "--java", "no-java"], "gpu-2 has no program no-java: install it there, or name"),
        (["--flink-home", "{flink}", "--java", "sh"], "gpu-2 has no program /opt/apache/beam/boot"),
    ],
)
def test_what_is_not_on_a_node_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    if "boot" in told and Path("/opt/apache/beam/boot").exists():
        pytest.skip("this computer has the boot program")
    monkeypatch.delenv("FLINK_HOME", raising=False)
    for name, value in (TASK | {"SLURMD_NODENAME": "gpu-2"}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "flink-dist-1.20.jar").touch()
    assert node.main([option.format(flink=tmp_path) for option in options]) == 2
    assert told in capsys.readouterr().out
