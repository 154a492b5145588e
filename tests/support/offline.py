"""Running a program with the network closed, and seeing whether it tries to reach it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Python imports it in each process that it starts; attempts are written down, since a program may hide the errors.
_GUARD = """
import os, socket

def closed(what):
    def attempt(*arguments, **named):
        with open(os.environ["NETWORK_ATTEMPTS"], "a") as file:
            print(what, arguments[-1:], file=file)
        raise OSError("the network is closed")
    return attempt

socket.getaddrinfo = closed("getaddrinfo")
socket.create_connection = closed("create_connection")
_connect = socket.socket.connect

def connect(self, address):
    return _connect(self, address) if self.family == socket.AF_UNIX else closed("connect")(address)

socket.socket.connect = connect
"""


def run_offline(
    arguments: list[str], folder: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs Python with arguments; where the system allows it, in a network of its own that reaches nothing.

    Args:
        arguments: After ``python``.
        folder: For what this needs itself.
        environment: More variables.
        cwd: The working directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_GUARD)
    attempts = folder / "attempts.txt"
    attempts.touch()
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    alone = ["unshare", "--map-root-user", "--net"]
    try:
        separated = subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        separated = False
    return subprocess.run(
        [*(alone if separated else []), sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "NETWORK_ATTEMPTS": str(attempts)} | (environment or {}),
    )


def attempts_of(folder: Path) -> list[str]:
    """Returns what the programs run in a folder have tried to reach."""
    return (folder / "attempts.txt").read_text().splitlines()
