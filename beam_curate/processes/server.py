"""A server process: started, awaited, stopped, and never left behind."""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from beam_curate.processes import supervisor

_POLL_S = 0.1
_REPORT_S = 30.0
_END_S = 1.0  # for what remains to be done when a process has ended
_LINES_KEPT = 2000
_LINES_SHOWN = 15
_CHARACTERS_KEPT, _CHARACTERS_SHOWN = 2000, 300  # of a line


class ServerError(RuntimeError):
    """A server ended by itself or was not ready in time; the message holds its last lines."""


class Server:
    """A server process and everything that it starts; none of it outlives this process, however this one ends.

    It has a session of its own: Ctrl-C in a terminal does not reach it. Each line that it prints is logged at the level
    INFO, and the last ones are kept for error messages.

        with Server("Prism", ["prism", "--job_port=8073"]) as prism:
            prism.wait_until_ready(lambda: listens("localhost:8073"), timeout_s=60)

    Args:
        name: What messages call it.
        command: The program and its arguments.
        environment: All of its environment variables; those of this process by default.
        folder: Its working directory.
        grace_s: Time between SIGTERM and SIGKILL when it is stopped, in s.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        grace_s: float = 10.0,
    ) -> None:
        self._name = name
        self._grace_s = grace_s
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        self._log: Path | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-I", supervisor.__file__, str(os.getpid()), str(grace_s), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=folder,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        atexit.register(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of its supervisor, which is also that of its process group."""
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """The last lines that it printed."""
        return list(self._lines)

    def wait_until_ready(self, is_ready: Callable[[], bool], timeout_s: float, timeout_flag: str = "") -> None:
        """Waits until the server can be used.

        Args:
            is_ready: Tells whether it can, such as a look at its port or at its health check.
            timeout_s: Longest wait; the server is stopped after it.
            timeout_flag: The flag that sets this limit, for the message.

        Raises:
            ServerError: The server ended, or was not ready in time.
        """
        start = reported = time.monotonic()
        while not self.has_ended():
            if is_ready():
                return
            now = time.monotonic()
            if now - start > timeout_s:
                flag = f" ({timeout_flag})" if timeout_flag else ""
                message = f"{self._name} was not ready within {timeout_s:g} s{flag}; {self.last_lines()}"
                self.stop()
                raise ServerError(message)
            if now - reported >= _REPORT_S:
                reported = now
                logging.getLogger(__name__).info("waiting for %s: %.0f s", self._name, now - start)
            time.sleep(_POLL_S)
        raise ServerError(self.how_it_ended())

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether it has ended, or does so within a time: connections break before a process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self._process.returncode is not None

    def how_it_ended(self) -> str:
        """Returns a message about a server that ended by itself."""
        self._reader.join(_END_S)
        return f"{self._name} ended; {self.last_lines()}"

    def last_lines(self) -> str:
        """Returns the end of its output in one line, with the path of a file that holds more of it."""
        shown = [line.strip()[:_CHARACTERS_SHOWN] for line in self.lines[-_LINES_SHOWN:]]
        text = " | ".join(line for line in shown if line) or "nothing"
        try:
            return f"its last lines, from {self.save_log()}: {text}"
        except OSError:  # no place for the file
            return f"its last lines: {text}"

    def save_log(self) -> Path:
        """Writes the lines that were kept to a temporary file, so that a message can name it; returns its path."""
        if self._log is None:
            handle, name = tempfile.mkstemp(prefix="beam_curate_server_", suffix=".log")
            os.close(handle)
            self._log = Path(name)
        self._log.write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8")
        return self._log

    def stop(self) -> None:
        """Ends its whole process group: SIGTERM first, and SIGKILL for what is left after the grace time."""
        atexit.unregister(self.stop)
        if self.has_ended():
            return
        self._process.terminate()  # the supervisor passes it on
        if not self.has_ended(self._grace_s + _END_S):
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(_END_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        logger = logging.getLogger(f"beam_curate.{self._name}")
        with self._process.stdout as output:
            for line in output:
                self._lines.append(line.rstrip()[:_CHARACTERS_KEPT])
                logger.info("%s", line.rstrip())


def listens(endpoint: str, timeout_s: float = 1.0) -> bool:
    """Whether something accepts connections at ``host:port``.

    >>> with socket.create_server(("localhost", 0)) as server:
    ...     listens(f"localhost:{server.getsockname()[1]}")
    True
    """
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout_s):
            return True
    except (OSError, ValueError):
        return False


def free_ports(number: int) -> list[int]:
    """Returns ports of this computer that nothing uses now.

    >>> len(set(free_ports(2)))
    2
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in sockets]
