"""A model server as a process on this computer: started, waited for, stopped, and never left behind."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from beam_curate.errors import ModelServerError
from beam_curate.processes import supervisor

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.3
_REPORT_S = 30.0
_LINES_SHOWN = 15
_MOST_OF_A_LINE = 300  # characters
_TAIL_BYTES = 1 << 16  # of a log
_ERROR_LINE = re.compile(r"\b[A-Z]\w*(?:Error|Exception)\b|\bout of memory\b|\bCUDA error\b", re.IGNORECASE)
_NO_REASON = re.compile(r"HTTP/1|EngineDeadError|\(above\)|Exception in ASGI", re.IGNORECASE)
_PAGES = ("/health", "/v1/models")  # of servers that do not have the first, the second one tells


class ServerProcess:
    """A server and all processes that it starts, in a session of their own.

    Args:
        command: The program and its arguments.
        port: On which it will listen, at 127.0.0.1.
        environment: All that it sees of the environment.

    Attributes:
        log: What it prints. The file is removed when the server is stopped, and stays when it ends by itself or when
            `keep_log` was called.
    """

    def __init__(self, command: Sequence[str], port: int, environment: Mapping[str, str]) -> None:
        self._port = port
        self._keeps_log = False
        handle, name = tempfile.mkstemp(prefix="beam_curate_server_", suffix=".log")
        self.log = Path(name)
        with open(handle, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C in a terminal is the business of the program
            )
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._port}/v1"

    def wait_until_ready(self, timeout_s: float) -> None:
        """Waits until the server answers.

        Raises:
            ModelServerError: It ended before that, or was stopped since it did not answer in time.
        """
        start = reported = time.monotonic()
        while not self.has_ended():
            if self._answers():
                return
            now = time.monotonic()
            if now - start > timeout_s:
                self.keep_log()
                shown = self.last_lines()
                self.stop()
                raise ModelServerError(
                    f"the model server was not ready within {timeout_s:g} s (--vllm-start-timeout-s); its last lines, "
                    f"from {self.log}: {shown}"
                )
            if now - reported >= _REPORT_S:
                reported = now
                _LOG.info("waiting for the model server since %.0f s; it prints to %s", now - start, self.log)
            time.sleep(_LOOK_S)
        raise ModelServerError(self.how_it_ended())

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether it is gone, or is so after a moment: connections break before a process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self._process.returncode is not None

    def how_it_ended(self) -> str:
        """Returns what to say of a server that ended by itself."""
        return f"the model server ended; its last lines, from {self.log}: {self.last_lines()}"

    def last_lines(self) -> str:
        """Returns the end of what it printed, in one line."""
        lines = self._tail()[-_LINES_SHOWN:]
        return " | ".join(line.strip()[:_MOST_OF_A_LINE] for line in lines if line.strip()) or "nothing"

    def _tail(self) -> list[str]:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()
        return []

    def keep_log(self) -> None:
        """Leaves the log where it is when the server is stopped, since a message names it."""
        self._keeps_log = True

    def own_reason(self) -> str:
        """Returns the last line of the log that names an error, else the end of the log, in one line."""
        found = [line.strip() for line in self._tail() if _ERROR_LINE.search(line) and not _NO_REASON.search(line)]
        return found[-1][:_MOST_OF_A_LINE] if found else self.last_lines()

    def stop(self) -> None:
        """Ends it and all that it started, if it has not ended yet."""
        atexit.unregister(self.stop)
        if self.has_ended():
            return
        self._process.terminate()
        try:
            self._process.wait(supervisor.GRACE_S + 1)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if not self._keeps_log:
            self.log.unlink(missing_ok=True)

    def _answers(self) -> bool:
        for page in _PAGES:
            try:
                _opener().open(f"http://127.0.0.1:{self._port}{page}", timeout=5).close()
                return True
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    return False
            except OSError:
                return False
        return False


def free_port() -> int:
    """Returns a port of this computer that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to this computer
