"""The scheduling of the process that runs the tests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def unchanged_priority() -> Iterator[None]:
    """Undoes what SVT-AV1 does as root: it gives the thread that opens it a real-time priority of 99.

    Children inherit that, and threads that wait in a loop, as OpenMP's do, then keep the others from running.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
