"""Runs a server and ends it, with all that it started, as soon as the process that wants it is gone.

``python -I tether.py PARENT_PID COMMAND ARGUMENT...``, as the leader of a process group. It ends the server on SIGTERM
too, and when the server ends by itself it ends what that leaves behind.

PR_SET_PDEATHSIG on the server would not do: the kernel sends that signal when the *thread* that started a process ends,
as a runner's threads do while their process lives on, and it does not reach what the server started in its turn.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

GRACE_S = 10.0
"""What a server has to end by itself, in s."""

_LOOK_S = 0.1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Runs the command; what the server prints goes where this process prints."""
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    told = False

    def tell(*_: object) -> None:
        nonlocal told
        told = True

    signal.signal(signal.SIGTERM, tell)
    try:
        server = subprocess.Popen(command, preexec_fn=_end_with_this_process)
    except OSError as error:
        sys.exit(f"beam-curate: {command[0]} cannot be started: {error}")
    deadline = None
    while server.poll() is None:
        if deadline is None and (told or os.getppid() != parent_pid):
            deadline = time.monotonic() + GRACE_S
            os.killpg(0, signal.SIGTERM)
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(_LOOK_S)
    else:
        print(f"beam-curate: the server ended {_how(server.returncode)}", flush=True)
    os.killpg(0, signal.SIGKILL)


def _how(status: int) -> str:
    return f"with exit status {status}" if status >= 0 else f"by signal {signal.Signals(-status).name}"


def _end_with_this_process() -> None:
    """Runs in the server's process before it begins: not even SIGKILL to this one shall leave a server behind."""
    with contextlib.suppress(AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
