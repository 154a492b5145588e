"""Watching the resident memory of a program and of the processes that it starts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.program import started_by

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclasses.dataclass(frozen=True)
class Sample:
    """Resident memory at one moment.

    Attributes:
        seconds: Since the program began.
        driver_mb: Of the program itself, in 10^6 bytes.
        children_mb: Of all processes below it together; pages that they share count once each.
    """

    seconds: float
    driver_mb: float
    children_mb: float

    @property
    def total_mb(self) -> float:
        """Of the program and its children."""
        return self.driver_mb + self.children_mb


def watch(command: Sequence[str], every_s: float = 0.25) -> list[Sample]:
    """Runs a command to its end and returns its memory over time.

    Raises:
        RuntimeError: It ended with an error; the message is what it printed.
    """
    samples = []
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            now = time.monotonic() - start
            samples.append(Sample(now, _resident_mb(process.pid), sum(map(_resident_mb, below(process.pid)))))
            time.sleep(every_s)
        if process.returncode:
            printed.seek(0)
            raise RuntimeError(printed.read())
    return samples


def _resident_mb(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    return 0.0  # it has just ended


def below(pid: int) -> Iterator[int]:
    """Yields the processes that a process started, and those that they started."""
    for child in started_by(pid):
        yield child
        yield from below(child)
