"""How many units of work a process takes on at once, where its runner sets no bound itself.

Prism divides work for as long as there is some left to divide, whatever the number of cores.
"""

from __future__ import annotations

import contextlib
import threading
from contextlib import AbstractContextManager

_turn: AbstractContextManager[object] = contextlib.nullcontext()


def bound(number: int) -> None:
    """Lets ``number`` units be worked on at once in this process from now on."""
    global _turn
    _turn = threading.BoundedSemaphore(number)


def turn() -> AbstractContextManager[object]:
    """Waits for its turn to work on a unit, and holds it while the block lasts."""
    return _turn
