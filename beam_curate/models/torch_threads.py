"""How many threads torch computes with in each of this process's threads: last bits of results depend on it.

Torch gives the number to a thread when it first computes. Setting it sets it for the calling thread, and for all that
come after it.
"""

from __future__ import annotations

import sys
import threading

_LOCK = threading.Lock()
_default: int | None = None


def default() -> int:
    """Returns the number that torch began with, whatever threads have set for themselves since."""
    with _LOCK:
        return _known_default()


def _known_default() -> int:
    global _default
    if _default is None:
        import torch

        _default = torch.get_num_threads()
    return _default


def use_own(number: int) -> None:
    """Sets the number of the calling thread, and leaves that of all others as it was.

    >>> use_own(default())
    """
    import torch

    with _LOCK:
        before = _known_default()
        torch.set_num_threads(number)
        restoring = threading.Thread(target=torch.set_num_threads, args=(before,))  # for threads that come after this
        restoring.start()
        restoring.join()


def use_default() -> None:
    """Gives the calling thread the default: it may have begun while another one set its own. Nothing without torch.

    >>> use_default()
    """
    if "torch" in sys.modules:
        use_own(default())
