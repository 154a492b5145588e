"""The lock of an output folder: whether another run works on it, and deleting what killed runs left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from beam_curate.buckets.flocks import HELD_BY_ANOTHER
from beam_curate.store.base import LockState


@contextlib.contextmanager
def run_lock(work: Path, tmp: Path) -> Iterator[LockState]:
    """Holds a shared lock while a run lasts, where locks can be had, and says whether other runs hold one.

    Each run shares the lock; a run is known to be alone when it had the lock exclusively for a moment. Only then are
    the temporary files of killed runs deleted.

    Args:
        work: Folder of the lock, created where it is not there.
        tmp: Folder of temporary files.

    Raises:
        OSError: The folder of the lock cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, run_lock(Path(folder), Path(folder, "tmp")) as state:
        ...     print(state.name)
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
        if state is LockState.EXCLUSIVE and not os.path.islink(work) and not os.path.islink(tmp):
            shutil.rmtree(tmp, ignore_errors=True)  # never through a link, which may lead anywhere
        if state is not LockState.UNAVAILABLE:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)
        yield state


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
