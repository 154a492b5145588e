"""Ends processes when their parent is gone, however the parent ended.

As a program it does so for a command that knows nothing of it: ``python -I supervisor.py PARENT_PID GRACE_S COMMAND
ARGUMENT...``, started as the leader of a process group, ends the whole group when the parent is gone, on SIGTERM, or
when the command ends by itself. Our own child processes call `exit_with` instead.

PR_SET_PDEATHSIG alone is not enough: the kernel sends that signal when the *thread* that started a process ends, as a
runner's threads do while their process lives on, and it does not reach grandchildren.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time

_POLL_S = 0.1
_PARENT_POLL_S = 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def exit_with(parent_pid: int) -> None:
    """Ends this process, from a background thread, as soon as its parent is gone."""
    threading.Thread(target=_exit_after, args=(parent_pid,), daemon=True).start()


def main() -> None:
    """Runs the command; its output goes to this process's own stdout and stderr."""
    parent_pid, grace_s, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        process = subprocess.Popen(command, preexec_fn=_end_with_this_process)
    except OSError as error:
        sys.exit(f"beam-curate: {command[0]} cannot be started: {error}")
    deadline = math.inf
    while (status := process.poll()) is None and time.monotonic() < deadline:
        if deadline == math.inf and (stop.is_set() or os.getppid() != parent_pid):
            deadline = time.monotonic() + grace_s
            os.killpg(0, signal.SIGTERM)
        time.sleep(_POLL_S)
    if status is not None:
        with contextlib.suppress(OSError):  # nobody reads what is printed when the parent is gone
            print(f"beam-curate: the server ended {_ending(status)}", flush=True)
    os.killpg(0, signal.SIGKILL)


def _exit_after(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_PARENT_POLL_S)
    os._exit(1)


def _ending(status: int) -> str:
    return f"with exit status {status}" if status >= 0 else f"by signal {signal.Signals(-status).name}"


def _end_with_this_process() -> None:
    """Runs in the command's process before it starts: even SIGKILL to the supervisor must not leave it behind."""
    with contextlib.suppress(AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
