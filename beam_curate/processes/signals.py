"""Ctrl-C, and SIGTERM as clusters and `timeout` send it: the program reports its progress and exits within seconds."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

# Time to unwind, for instance to cancel a job on a cluster; then the process ends, unwound or not.
GRACE_S = 5.0
_FAREWELL_S = 0.5
_NOT_PRINTED = 120  # the status with which Python ends when it cannot print
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def handled(farewell: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Handles signals while the block runs; the process ends with the status 128 + the signal's number.

    The first signal raises `KeyboardInterrupt` in the main thread; later ones are ignored. The process ends when
    this has left the block, or after `GRACE_S`: a runner's threads would run until their stage ends, and an
    exception raised in a finaliser is lost.

    >>> with handled(lambda number: print(f"Stopped by {number.name}.")):
    ...     print("at work")
    at work

    Args:
        farewell: Prints the progress; it may be called in another thread than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    interruption = _Interruption(farewell)
    # Shells start background jobs with SIGINT ignored, as does nohup: then it stays ignored.
    former = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in former.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interruption.begin)
    try:
        yield
    except KeyboardInterrupt:
        interruption.leave()
    finally:
        if interruption.begun:  # the exception was swallowed or replaced by another one
            interruption.leave()
        for number, handler in former.items():
            signal.signal(number, handler)


def end(status: int) -> NoReturn:
    """Ends the process with a status; signals are ignored from now on, since everything is done and reported.

    It does not free each object first, as the interpreter does, for seconds once torch and Beam are in memory.
    """
    _ignore_signals()
    _call_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # it is where the program was started without one
                stream.flush()
        except OSError:  # a full disk, or a pipe that nobody reads
            status = status or _NOT_PRINTED
    os._exit(status)


def _call_exit_functions() -> None:
    """Calls what was registered for the end, which `os._exit` would skip: it ends child processes, for one."""
    with contextlib.suppress(Exception):  # it was printed, and the others were called
        atexit._run_exitfuncs()


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class _Interruption:
    def __init__(self, farewell: Callable[[signal.Signals], None]) -> None:
        self._farewell = farewell
        self._number = signal.SIGINT
        self._leaving = threading.Lock()
        self.begun = False

    def begin(self, number: int, _frame: object) -> None:
        """The handler of the first signal."""
        self.begun = True
        self._number = signal.Signals(number)
        _ignore_signals()
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)  # errors of threads that lose everything they work with
        try:
            threading.Thread(target=self._leave_after_grace, daemon=True).start()
        except RuntimeError:  # no more threads can be started, which may be why the program hangs
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(math.ceil(GRACE_S + _FAREWELL_S))  # ends the process where the farewell does not
            self.leave()
        raise KeyboardInterrupt

    def leave(self) -> NoReturn:
        """Calls the farewell and ends the process; only one thread does so."""
        if not self._leaving.acquire(blocking=False):
            threading.Event().wait()
        with contextlib.suppress(Exception):  # a closed pipe, for one
            self._farewell(self._number)
        _call_exit_functions()
        self._end()

    def _leave_after_grace(self) -> None:
        time.sleep(GRACE_S)
        threading.Thread(target=self.leave, daemon=True).start()
        time.sleep(_FAREWELL_S)
        self._end()

    def _end(self) -> NoReturn:
        os._exit(128 + self._number)
