"""The lease of a run on an object store, where files cannot be locked: an object that is written again while it lasts.

Times are those of the store, so that clocks of computers may differ. A run that was killed is taken for a living one
until its lease is old, except on the computer where it ran.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from beam_curate.store import layout
from beam_curate.store.base import Key, LockState, unique_name

if TYPE_CHECKING:
    from beam_curate.store.objects import ObjectStore

RENEWED_S = 60.0
EXPIRES_S = 4 * RENEWED_S


@contextlib.contextmanager
def lease(output: ObjectStore) -> Iterator[LockState]:
    """Holds a lease while the block lasts and says whether other runs hold one.

    A run that is alone deletes the temporary objects of killed runs.

    Args:
        output: The output.

    Raises:
        OSError: The lease cannot be written or the others not be listed.
    """
    own, holder = layout.LEASES / unique_name(), _holder()
    output.write(own, holder)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(output, own, holder, ended), daemon=True)
    try:
        # What is there before the others are listed: a run that begins meanwhile has its own.
        left = output.list_files(layout.TMP, recursive=True)
        others = _others(output, own)
        if not others:
            for key in left:
                output.delete(key)
        renewing.start()
        yield LockState.SHARED if others else LockState.EXCLUSIVE
    finally:
        ended.set()
        if renewing.ident is not None:
            renewing.join()
        with contextlib.suppress(OSError):  # it expires
            output.delete(own)


def _renew(output: ObjectStore, own: Key, holder: bytes, ended: threading.Event) -> None:
    while not ended.wait(RENEWED_S):
        with contextlib.suppress(OSError):  # the next time, perhaps
            output.write(own, holder)


def _others(output: ObjectStore, own: Key) -> bool:
    """Whether other runs hold a lease; those that ended without giving it back are deleted."""
    leases = {one.key.rpartition("/")[2]: one.modified_s for one in output.facts(layout.LEASES)}
    now = max(leases.values())  # that of the own one, which was written last
    others = False
    for name, written in leases.items():
        key = layout.LEASES / name
        if key == own:
            continue
        if now - written > EXPIRES_S or _has_died(output, key):
            output.delete(key)
        else:
            others = True
    return others


def _holder() -> bytes:
    """Returns which process of which computer holds a lease."""
    return json.dumps({"computer": _computer(), "pid": os.getpid(), "started": _started(os.getpid())}).encode()


def _has_died(output: ObjectStore, key: Key) -> bool:
    """Whether the holder of a lease was a process of this computer that is no longer there."""
    try:
        holder = json.loads(output.read(key))
        return holder["computer"] == _computer() and _started(holder["pid"]) != holder["started"]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _computer() -> str:
    """Returns what tells this computer, or container, from others, since it was started."""
    with contextlib.suppress(OSError):
        boot, pids = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")
        return f"{socket.gethostname()} {boot} {pids}"
    return socket.gethostname()


def _started(pid: int) -> str | None:
    """Returns when a process began, in the kernel's ticks; None if it is not there."""
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, ValueError, IndexError):
        return None
