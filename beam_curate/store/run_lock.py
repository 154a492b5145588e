"""Knowing whether another run works on the same output, and clearing what killed runs left."""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from typing import IO

from beam_curate.store.layout import Layout

_HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES)  # the second is how some network file systems say it


class Alone(enum.Enum):
    """Whether a run is the only one on an output."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # the file system has no locks


@contextlib.contextmanager
def sole_run(layout: Layout) -> Iterator[Alone]:
    """Holds a lock on the output while a run lasts, where locks can be had, and says whether other runs hold one.

    Two runs at once are allowed. Only a run that is known to be alone removes the temporary files of runs that were
    killed: each run shares the lock, and to be alone is to have it exclusively for a moment.

    Raises:
        OSError: The folder for the lock cannot be made.
    """
    layout.work.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        lock = _opened(layout)
        if lock is None:
            yield Alone.UNKNOWN
            return
        stack.enter_context(lock)
        alone = _take(lock)
        if alone is Alone.YES:
            _clear(layout)
        if alone is not Alone.UNKNOWN:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)
        yield alone


def _opened(layout: Layout) -> IO[bytes] | None:
    """Opens the file of the lock, for reading where another user made it; None where it cannot be had."""
    path = layout.work / "lock"
    for mode in ("ab", "rb"):
        with contextlib.suppress(OSError):
            return path.open(mode)
    return None


def _take(lock: IO[bytes]) -> Alone:
    """Tries to take the lock exclusively."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Alone.NO if error.errno in _HELD_BY_ANOTHER else Alone.UNKNOWN
    return Alone.YES


def _clear(layout: Layout) -> None:
    """Removes temporary files; never through a link, which may lead anywhere."""
    if not os.path.islink(layout.work) and not os.path.islink(layout.tmp):
        shutil.rmtree(layout.tmp, ignore_errors=True)
