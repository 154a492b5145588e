"""Doing something now and then beside what a block does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(interval_s: float, work: Callable[[], None]) -> Iterator[None]:
    """Calls `work` in another thread again and again while the block lasts, and waits for its last call.

    Args:
        interval_s: Seconds before each call.
        work: What is done.
    """
    end = threading.Event()

    def go_on() -> None:
        while not end.wait(interval_s):
            work()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
