"""Waiting for a store that is busy or out of reach: as long as an outage may last, and once for all requests."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

WAIT_S = 120.0
"""How long a store may be out of reach, unless told otherwise: one that is restarted is waited for."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0

T = TypeVar("T")


class Patience:
    """What the requests of a process to one store have in common: since when the store has not answered any of them.

    A request that fails is repeated, with growing pauses, until it, or the store as a whole, has failed for long
    enough. The next request to a store that has been given up makes one try. So an outage is waited for however many
    requests meet it, and a run whose store is gone ends soon, however many requests it would still have made.

    >>> answers = iter(["busy", "here"])
    >>> def request():
    ...     if (answer := next(answers)) == "busy":
    ...         raise TimeoutError(answer)
    ...     return answer
    >>> Patience().repeated(request, lambda error: isinstance(error, TimeoutError))
    'here'

    Args:
        wait_s: How long failures are waited for; `WAIT_S` by default.
    """

    def __init__(self, wait_s: float | None = None) -> None:
        self._wait_s = WAIT_S if wait_s is None else wait_s
        self._failing_since: float | None = None

    def repeated(self, request: Callable[[], T], is_passing: Callable[[Exception], bool]) -> T:
        """Makes a request until it succeeds, fails for good, or has failed for too long; then with its last error.

        Args:
            request: Makes one try.
            is_passing: Whether another try may not meet an error; any other is an answer of the store.
        """
        first, pause = None, _FIRST_PAUSE_S
        while True:
            try:
                result = request()
            except Exception as error:
                if not is_passing(error):
                    self._failing_since = None
                    raise
                now = time.monotonic()
                first = now if first is None else first
                if now - min(first, self._failed(now)) >= self._wait_s:
                    raise
            else:
                self._failing_since = None
                return result
            time.sleep(random.uniform(0.5, 1.0) * pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _failed(self, now: float) -> float:
        """Notes that a request failed; returns since when the store has been failing."""
        since = self._failing_since  # another thread may set it back at any time
        if since is None:
            since = self._failing_since = now
        return since
