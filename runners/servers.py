"""Servers that a runner needs beside the driver, such as Prism or Beam's job server for Flink.

Beam starts them too, but leaves them behind when the driver is killed, hands them the terminal's Ctrl-C before a job
can be cancelled, and waits for seconds when it ends them.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

_START_S = 120.0
_END_S = 1.0
_LINES_KEPT = 30

# The kernel ends the server when the driver is gone, however it went. Linux only; elsewhere nothing is asked for.
_TETHERED = """
import ctypes, os, signal, sys
try:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
except AttributeError:
    pass
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class ServerError(RuntimeError):
    """A server did not start; the message holds the end of what it printed."""


@contextlib.contextmanager
def server(name: str, command: Sequence[str], endpoint: str) -> Iterator[None]:
    """Runs a server while the block lasts; the block begins when it takes connections.

    What it prints is logged at the level INFO. It is in a process group of its own, so that Ctrl-C in a terminal
    reaches the driver alone, which still needs the server to cancel the job.

    Args:
        name: For messages.
        command: The program and its arguments.
        endpoint: ``host:port`` on which it will listen.

    Raises:
        ServerError: It ended before that, or did not listen within two minutes.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _TETHERED, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    last_lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
    reader = threading.Thread(target=_read, args=(name, process.stdout, last_lines), daemon=True)
    reader.start()
    try:
        if not _listens(process, endpoint):
            process.kill()
            reader.join(_END_S)
            raise ServerError("\n".join([*last_lines, f"{name} did not start ({command[0]})"]))
        yield
    finally:
        _end(process)


def listens(endpoint: str, timeout_s: float) -> bool:
    """Whether something takes connections at ``host:port``."""
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout_s):
            return True
    except (OSError, ValueError):
        return False


def _listens(process: subprocess.Popen[str], endpoint: str) -> bool:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        if listens(endpoint, 1.0):
            return True
        time.sleep(0.1)
    return False


def _read(name: str, lines: IO[str], last_lines: collections.deque[str]) -> None:
    logger = logging.getLogger(f"beam_curate.{name}")
    for line in lines:
        last_lines.append(line.rstrip())
        logger.info("%s", line.rstrip())


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
