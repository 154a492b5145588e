"""A small pool of child processes that read source videos, so that a rotten file costs one video and no more.

Standard process pools do not fit: a crash breaks the whole of `concurrent.futures`' pool, none streams
results (shot detection reads frames while they are decoded), and spawning through `multiprocessing` imports
the parent's main module, which on a Beam worker is Beam.
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
from typing import Any

from beam_curate.errors import DecoderCrashedError, DecoderMemoryError, DecoderTimeoutError

TASKS_PER_CHILD = 200  # then it is replaced, so that a leak in a decoder stays small

# An arena a thread (glibc) and a stack a core (numpy's linear algebra, unused here) would take address space by
# chance, so that the memory limit would mean something else on each machine.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a child process may use.

    Attributes:
        timeout_s: Longest time without any progress, in seconds.
        memory_mb: Address space in MiB.
    """

    timeout_s: float = 300.0
    memory_mb: int = 4096


class _Child:
    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        self.limits = limits
        self.tasks = 0
        self.busy = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "beam_curate.video.child"]
            + [str(number) for number in (theirs.fileno(), os.getpid(), limits.memory_mb)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        theirs.close()
        self.connection = Connection(ours.detach())

    def run(self, task: str, arguments: tuple[Any, ...]) -> Iterator[Any]:
        self.tasks += 1
        self.busy = True
        try:
            self.connection.send((task, arguments))
            while True:
                if not self.connection.poll(self.limits.timeout_s):
                    raise DecoderTimeoutError(
                        f"no progress in reading it for {self.limits.timeout_s:g} s (--decode-timeout-s)"
                    )
                kind, value = self.connection.recv()
                if kind == "item":
                    if value is not None:  # None is a sign of life
                        yield value
                    continue
                if kind == "error":
                    raise value  # still busy, so that it is replaced: what a bad file left in it costs no other
                self.busy = False
                return
        except (EOFError, ConnectionError) as error:
            raise self._cause_of_death() from error

    def _cause_of_death(self) -> DecoderCrashedError | DecoderMemoryError:
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return _KilledError("the process reading it was killed; the machine may be out of memory")
        if code < 0:
            name = signal.Signals(-code).name
            # Some libraries crash where memory runs out.
            return DecoderCrashedError(
                f"FFmpeg crashed ({name}) while reading it: a bug of it, or pictures too large for --decode-memory-mb"
            )
        return DecoderCrashedError(f"the process reading it ended with exit status {code}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


class _KilledError(DecoderMemoryError):
    """Killed from outside: worth another try."""

    retriable = True


class _Pool:
    """At most one child per core; children wait for the next task when idle."""

    def __init__(self) -> None:
        self.slots = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))
        self.idle: list[_Child] = []
        self.busy: set[_Child] = set()
        self.lock = threading.Lock()
        atexit.register(self.close)

    @contextlib.contextmanager
    def borrow(self, limits: Limits) -> Iterator[_Child]:
        with self.slots:
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


def stream(task: str, *arguments: Any, limits: Limits) -> Iterator[Any]:
    """Runs a task of `child.TASKS` in a child process and yields its items as they come.

    Raises:
        UnreadableSourceError: The file is not a video that can be decoded.
        DecoderCrashedError: The child died.
        DecoderTimeoutError: The child made no progress for ``limits.timeout_s``.
        DecoderMemoryError: The child ran into ``limits.memory_mb``.
        OSError: The file system refused to read or write.
    """
    with _pool.borrow(limits) as child:
        yield from child.run(task, arguments)


def call(task: str, *arguments: Any, limits: Limits) -> Any:
    """Runs a task that yields exactly one item, and returns it. Raises as `stream` does."""
    (item,) = list(stream(task, *arguments, limits=limits))
    return item
