"""The lease of a run on an object store, where files cannot be locked: an object that is written again while it lasts.

Times are those of the store, so that clocks of computers may differ. A run that was killed is taken for a living one
until its lease is old, except on the computer where it ran.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from beam_curate.processes import holder
from beam_curate.store import layout
from beam_curate.store.base import Key, LockState, unique_name

if TYPE_CHECKING:
    from beam_curate.store.objects import ObjectStore

RENEWED_S = 60.0
EXPIRES_S = 4 * RENEWED_S


@contextlib.contextmanager
def lease(output: ObjectStore) -> Iterator[LockState]:
    """Holds a lease while the block lasts and says whether other runs hold one.

    A run that is alone deletes the temporary objects of killed runs, unless a job of theirs may go on.

    Args:
        output: The output.

    Raises:
        OSError: The lease cannot be written or the others not be listed.
    """
    from beam_curate.store.runs import Runs  # what has nothing to do needs no validation

    own, process = layout.LEASES / unique_name(), json.dumps(holder.this_process()).encode()
    output.write(own, process)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(output, own, process, ended), daemon=True)
    try:
        # What is there before the others are listed: a run that begins meanwhile has its own.
        left, runs = output.list_files(layout.TMP, recursive=True), Runs(output)
        leases = _leases(output)
        now_s = max(leases.values())  # that of the own one, which was written last
        others = _others(output, own, leases, now_s) or runs.going_on(lambda: now_s)
        if not others:
            for key in left:
                output.delete(key)
            runs.clear()
        renewing.start()
        yield LockState.SHARED if others else LockState.EXCLUSIVE
    finally:
        ended.set()
        if renewing.ident is not None:
            renewing.join()
        with contextlib.suppress(OSError):  # it expires
            output.delete(own)


def is_held(output: ObjectStore) -> bool:
    """Whether a run holds a lease, as far as the clock of this computer tells.

    Raises:
        OSError: They cannot be listed.
    """
    oldest_s = time.time() - EXPIRES_S
    return any(
        written_s > oldest_s and not _has_died(output, layout.LEASES / name)
        for name, written_s in _leases(output).items()
    )


def _renew(output: ObjectStore, own: Key, process: bytes, ended: threading.Event) -> None:
    while not ended.wait(RENEWED_S):
        with contextlib.suppress(OSError):  # the next time, perhaps
            output.write(own, process)


def _leases(output: ObjectStore) -> dict[str, float]:
    """Returns when each lease was written, by the clock of the store, in s."""
    return {one.key.rpartition("/")[2]: one.modified_s for one in output.facts(layout.LEASES)}


def _others(output: ObjectStore, own: Key, leases: dict[str, float], now_s: float) -> bool:
    """Whether other runs hold a lease; those that ended without giving it back are deleted."""
    others = False
    for name, written_s in leases.items():
        key = layout.LEASES / name
        if key == own:
            continue
        if now_s - written_s > EXPIRES_S or _has_died(output, key):
            output.delete(key)
        else:
            others = True
    return others


def _has_died(output: ObjectStore, key: Key) -> bool:
    """Whether the holder of a lease was a process of this computer that is no longer there."""
    try:
        return holder.is_alive(json.loads(output.read(key))) is False
    except (OSError, ValueError, AttributeError):
        return False
