"""Which process of which computer holds something, and whether it is still there."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Returns what tells this process from all others, as JSON values.

    >>> sorted(this_process())
    ['computer', 'pid', 'started']
    """
    return {"computer": _computer(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(holder: Mapping[str, Any]) -> bool | None:
    """Whether a process is still there; None for one of another computer, of which nothing is known.

    >>> is_alive(this_process()), is_alive(this_process() | {"started": "1"}), is_alive({"computer": "another"})
    (True, False, None)

    Args:
        holder: What `this_process` returned there.
    """
    if holder.get("computer") != _computer():
        return None
    return _started(holder.get("pid")) == holder.get("started")


def _computer() -> str:
    """Returns what tells this computer, or container, from others, since it was started."""
    with contextlib.suppress(OSError):
        boot, pids = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")
        return f"{socket.gethostname()} {boot} {pids}"
    return socket.gethostname()


def _started(pid: Any) -> str | None:
    """Returns when a process began, in the kernel's ticks; None if it is not there."""
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, ValueError, IndexError, TypeError):
        return None
