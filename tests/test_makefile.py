"""`make` finds a Python that the project supports, or says what to install."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("make", "sh", "touch", "mkdir", "chmod", "cp")
# Answers the version check with the status that it is made for, and makes an environment of itself.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-c "*) exit {status} ;;
    "-m venv") echo "{name} $*" >> log && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""


def make(folder: Path, pythons: dict[str, int], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Makes the environment with nothing on the PATH but some Pythons, each fit (0) or not (1)."""
    programs = folder / "programs"
    programs.mkdir()
    for name in NEEDED:
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, status in pythons.items():
        (programs / name).write_text(PYTHON.format(name=name, status=status))
        (programs / name).chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder)
    return subprocess.run(
        ["make", ".venv/made", *arguments],
        cwd=folder,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("pythons", "arguments", "chosen"),
    [
        ({"python3.12": 0, "python3.11": 0, "python3": 0}, (), "python3.12"),
        ({"python3.11": 0}, (), "python3.11"),
        ({"python3.12": 1, "python3.11": 0}, (), "python3.11"),  # without venv, or the shim of another version
        ({"python3": 0}, (), "python3"),
        ({"python3.12": 0, "mine": 0}, ("PYTHON=mine",), "mine"),
    ],
)
def test_a_python_that_is_there_is_taken(
    tmp_path: Path, pythons: dict[str, int], arguments: tuple[str, ...], chosen: str
) -> None:
    done = make(tmp_path, pythons, *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text().splitlines()[0] == f"{chosen} -m venv --clear .venv"


@pytest.mark.parametrize("pythons", [{}, {"python3": 1}])
def test_without_one_it_is_said_what_to_install(tmp_path: Path, pythons: dict[str, int]) -> None:
    done = make(tmp_path, pythons)
    assert done.returncode != 0
    assert "No Python 3.12 or 3.11 was found. Install one" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_python_of_these_tests_is_one() -> None:
    check = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "import ensurepip" in line)
    assert subprocess.run([sys.executable, "-c", check.split("'")[1]]).returncode == 0
