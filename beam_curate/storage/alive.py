"""Knowing whether another run works on the same output, and clearing what killed runs left."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator

from beam_curate.layout import Layout


@contextlib.contextmanager
def sole_run(layout: Layout) -> Iterator[bool]:
    """Holds a lock on the output while a run lasts; gives False when other runs hold one already.

    Two runs at once are allowed. Only a run that is alone removes the temporary files of runs that were killed:
    each run shares the lock, and to be alone is to have it exclusively for a moment.
    """
    layout.work.mkdir(parents=True, exist_ok=True)
    with (layout.work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
            shutil.rmtree(layout.tmp, ignore_errors=True)
        except OSError:
            alone = False
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield alone
