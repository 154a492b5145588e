"""A small pool of child processes that read source videos, so that a damaged file costs one video only.

The pools of the standard library do not fit: a crash breaks the entire pool of `concurrent.futures`, none streams
results (shot detection reads frames while they are decoded), and `multiprocessing` in spawn mode imports the parent's
main module, which on a Beam worker is Beam.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from beam_curate.errors import (
    CurateError,
    DecoderCrashedError,
    DecoderKilledError,
    DecoderTimeoutError,
    MachineError,
)
from beam_curate.processes.permits import CORES

TASKS_PER_CHILD = 200  # then it is replaced, which bounds leaks of decoders

# One arena per thread (glibc) and one stack per core (numpy's linear algebra, unused here) would take address space
# that depends on the machine, and with it what the memory limit means.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
# Environment variables that Python, its libraries and drivers need. Others may hold credentials, which a process that
# reads untrusted files must not have.
_INHERITED = (
    *("PATH", "LANG", "TZ", "TMPDIR", "HOME", "USER", "LOGNAME", "VIRTUAL_ENV", "CONDA_PREFIX", "OMP_NUM_THREADS"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"),
    *("PYTHONHOME", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE"),
    *("PYTHONPYCACHEPREFIX", "COVERAGE_PROCESS_START"),
)
_INHERITED_PREFIXES = ("LC_", "LD_", "DYLD_", "MALLOC_", "GLIBC_")
_POLL_S = 0.5
# Signals of a process's own faults; others are sent from outside.
_CRASH_SIGNALS = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a child process may use.

    Attributes:
        timeout_s: Maximum time without progress, in seconds; time in which the child was stopped does not count.
        memory_mb: Address space in MiB.
    """

    timeout_s: float = 300.0
    memory_mb: int = 4096


class _Child:
    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):  # a default timeout, which Beam's login at Google sets, would make reads fail early
            end.setblocking(True)
        self.limits = limits
        self.tasks = 0
        self.busy = False
        self.ready = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "beam_curate.video.decoder_process"]
            + [str(number) for number in (theirs.fileno(), os.getpid(), limits.memory_mb)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=_environment(),
        )
        theirs.close()
        self.connection = Connection(ours.detach())

    def run(self, task: str, arguments: tuple[Any, ...]) -> Iterator[Any]:
        self.tasks += 1
        self.busy = True
        try:
            self.connection.send((task, arguments))
            while True:
                self._await_message()
                kind, value = self._receive()
                if kind == "ready":
                    self.ready = True
                elif kind == "item":
                    if value is not None:  # None is a heartbeat
                        yield value
                elif kind == "error":
                    raise value  # still busy, so it is replaced: a bad file must not affect the next one
                else:
                    self.busy = False
                    return
        except (EOFError, ConnectionError) as error:
            raise self._cause_of_death() from error

    def _receive(self) -> Any:
        """Receives a message; raises EOFError or ConnectionError if the child died."""
        try:
            return self.connection.recv()
        except OSError as error:
            if error.errno is None:  # in the middle of the message
                raise EOFError from error
            raise

    def _await_message(self) -> None:
        """Waits for a message; time in which this process or the child was stopped does not count.

        Polls of known length are added up: a clock would include the time between SIGSTOP and SIGCONT.
        """
        limit_s = self.limits.timeout_s
        waited_s = 0.0
        while not self.connection.poll(poll_s := min(_POLL_S, limit_s - waited_s)):
            waited_s += 0 if self._is_stopped() else poll_s
            if waited_s >= limit_s:
                raise DecoderTimeoutError(f"no progress in reading it for {limit_s:g} s (--decode-timeout-s)")

    def _is_stopped(self) -> bool:
        """Whether the child is stopped by a signal or a debugger; False without procfs (proc(5), stat)."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in ("T", "t")

    def _cause_of_death(self) -> CurateError:
        code = self.process.wait()
        if -code in _CRASH_SIGNALS:
            # Some libraries crash when memory runs out.
            return DecoderCrashedError(
                f"FFmpeg crashed ({signal.Signals(-code).name}) while reading it: "
                "a bug in FFmpeg, or frames too large for --decode-memory-mb"
            )
        if code == -signal.SIGKILL:
            return DecoderKilledError("the process reading it was killed; the machine may be out of memory")
        if code < 0:
            return DecoderKilledError(f"the process reading it was terminated from outside ({_signal_name(-code)})")
        if not self.ready:
            return MachineError(f"the process that reads videos failed to start (exit status {code})")
        return DecoderCrashedError(f"the process reading it exited with status {code}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _environment() -> dict[str, str]:
    """Returns the environment of a child process, without anything that could be a credential."""
    own = {
        name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    return own | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class _Pool:
    """At most one child per core that this process may use; idle children wait for the next task."""

    def __init__(self) -> None:
        self.idle: list[_Child] = []
        self.busy: set[_Child] = set()
        self.lock = threading.Lock()
        atexit.register(self.close)

    @contextlib.contextmanager
    def borrow(self, limits: Limits) -> Iterator[_Child]:
        with CORES.one():
            child = self._take(limits)
            self.busy.add(child)
            try:
                yield child
            finally:
                self.busy.discard(child)
                if child.busy or child.tasks >= TASKS_PER_CHILD:
                    child.kill()
                else:
                    with self.lock:
                        self.idle.append(child)

    def start_ahead(self, limits: Limits) -> None:
        child = _Child(limits)
        with self.lock:
            self.idle.append(child)

    def _take(self, limits: Limits) -> _Child:
        with self.lock:
            while self.idle:
                child = self.idle.pop()
                if child.limits == limits and child.process.poll() is None:
                    return child
                child.kill()  # it died while idle, or has other limits
        return _Child(limits)

    def close(self) -> None:
        with self.lock:
            for child in (*self.idle, *self.busy):
                child.process.kill()
                child.process.wait()
            self.idle.clear()


_pool = _Pool()


def start_ahead(limits: Limits) -> None:
    """Starts a child process for the first task, so that it imports what it needs while this process does the same.

    >>> start_ahead(Limits())
    """
    with contextlib.suppress(OSError):  # the first task meets it again
        _pool.start_ahead(limits)


def stream(task: str, *arguments: Any, limits: Limits) -> Iterator[Any]:
    """Runs a task of `decoder_process.TASKS` in a child process and yields its items as they arrive.

    For example ``header, times = stream("packet_times", path, limits=Limits())``.

    Raises:
        UnreadableSourceError: The file is not a video that can be decoded.
        DecoderCrashedError: The child crashed.
        DecoderKilledError: The child was terminated from outside.
        DecoderTimeoutError: The child made no progress for ``limits.timeout_s``.
        DecoderMemoryError: The child needed more than ``limits.memory_mb``.
        DiskError: The source cannot be read from its disk.
        MachineError: No child process or thread can be started.
        InternalError: A bug in this program.
    """
    with _pool.borrow(limits) as child:
        yield from child.run(task, arguments)


def call(task: str, *arguments: Any, limits: Limits) -> Any:
    """Runs a task that yields exactly one item, and returns it. Raises the errors of `stream`."""
    (item,) = list(stream(task, *arguments, limits=limits))
    return item
