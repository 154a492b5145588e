"""The lock of an output folder: whether another run works on it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from beam_curate.buckets.flocks import HELD_BY_ANOTHER
from beam_curate.store.base import LockState


@contextlib.contextmanager
def run_lock(work: Path, alone: Callable[[], LockState]) -> Iterator[LockState]:
    """Holds a shared lock while a run lasts, where locks can be had, and says whether other runs hold one.

    Each run shares the lock; a run is known to be alone when it had the lock exclusively for a moment.

    Args:
        work: Folder of the lock, created where it is not there.
        alone: Is called in that moment; it clears what killed runs left, and returns the state.

    Raises:
        OSError: The folder of the lock cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with run_lock(Path(folder), lambda: LockState.EXCLUSIVE) as state:
        ...         print(state.name)
        EXCLUSIVE
    """
    work.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        lock = _open(work / "lock")
        if lock is None:
            yield LockState.UNAVAILABLE
            return
        stack.enter_context(lock)
        state = _take(lock)
        if state is LockState.EXCLUSIVE:
            state = alone()
        if state is not LockState.UNAVAILABLE:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)
        yield state


def is_locked(work: Path) -> bool | None:
    """Whether a run holds the lock; None where that cannot be told.

    Example:
        >>> is_locked(Path("/no/such/folder")) is None
        True
    """
    try:
        with (work / "lock").open("rb") as lock:
            state = _take(lock)
    except OSError:
        return None
    return None if state is LockState.UNAVAILABLE else state is LockState.SHARED


def _open(path: Path) -> IO[bytes] | None:
    """Opens the file of the lock, for reading where another user made it; None where it cannot be had."""
    for mode in ("ab", "rb"):
        with contextlib.suppress(OSError):
            return path.open(mode)
    return None


def _take(lock: IO[bytes]) -> LockState:
    """Tries to take the lock exclusively."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return LockState.SHARED if error.errno in HELD_BY_ANOTHER else LockState.UNAVAILABLE
    return LockState.EXCLUSIVE
