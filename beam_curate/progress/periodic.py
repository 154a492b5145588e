"""Calls a function periodically in a background thread while a `with` block runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(interval_s: float, work: Callable[[], None]) -> Iterator[None]:
    """Calls a function periodically while the block runs, and waits for its last call to return.

    >>> called = threading.Event()
    >>> with every(0.001, called.set):
    ...     called.wait()
    True

    Args:
        interval_s: Seconds before each call.
        work: The function; it runs in one background thread.
    """
    end = threading.Event()

    def repeat() -> None:
        while not end.wait(interval_s):
            work()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
