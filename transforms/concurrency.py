"""A limit on the units that this process works on at once, for runners that set none themselves.

Prism splits work for as long as it can be split, whatever the number of cores.
"""

from __future__ import annotations

import contextlib
import threading
from contextlib import AbstractContextManager

_permit: AbstractContextManager[object] = contextlib.nullcontext()


def set_limit(number: int) -> None:
    """Lets at most ``number`` units be worked on at once in this process from now on."""
    global _permit
    _permit = threading.BoundedSemaphore(number)


def permit() -> AbstractContextManager[object]:
    """Returns a context that waits until a unit may be worked on, and counts it while the block runs.

    >>> with permit():
    ...     print("one unit at work")
    one unit at work
    """
    return _permit
