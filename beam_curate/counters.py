"""Counters that live in the process: stages add to them, the driver reads them while the pipeline runs.

A name is what is counted, ``{stage}: {what}`` where it belongs to a stage. Each stage counts in units of its own,
videos for shots and clips for the others: ``cached`` (found stored), ``begun`` and ``done`` (with or without
success); ``failed`` counts failures. Shot detection that reads frames counts those as well, ``frames to do``
and ``frames done``, of the videos that it could open (``opened``). `beam_curate.progress.stages` reads them.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping

Listener = Callable[[str, int], None]

_counts: dict[str, int] = {}
_listeners: dict[Listener, None] = {}  # a set that keeps its order
_lock = threading.Lock()
_in_hand = threading.local()  # the unit of work that a thread is at: name of the counter, what is left of it


def add(name: str, amount: int = 1) -> None:
    """Adds to a counter and tells the listeners, in the thread that calls. Nothing is no news.

    >>> reset()
    >>> add("clips cut", 3)
    >>> counts()
    {'clips cut': 3}
    >>> reset()
    """
    if not amount:
        return
    with _lock:
        _counts[name] = _counts.get(name, 0) + amount
        listeners = tuple(_listeners)
    for listener in listeners:
        try:
            listener(name, amount)
        except Exception:
            logging.getLogger(__name__).debug("a listener failed", exc_info=True)


def counts() -> dict[str, int]:
    """Returns all counters as they stand, in the order in which they first counted."""
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Sets all counters to nothing, at the start of a run. Listeners stay."""
    with _lock:
        _counts.clear()


def listen(listener: Listener) -> None:
    """Calls ``listener(name, amount)`` at each `add` from now on; given twice, it is still called once.

    A worker in another process forwards its counts to the driver in this way. What a listener raises is dropped.
    """
    with _lock:
        _listeners[listener] = None


def set_counts(counts: Mapping[str, int]) -> None:
    """Sets counters to what was polled from workers in other processes; the others stay."""
    with _lock:
        _counts.update(counts)


@contextlib.contextmanager
def working(stage: str, size: int) -> Iterator[None]:
    """Counts a unit of a stage's work as begun, and as done by the end of the block, however it ends.

    >>> reset()
    >>> with working("clips", 2):
    ...     step()  # one of two clips
    >>> counts()
    {'clips: begun': 2, 'clips: done': 2}
    >>> reset()

    Args:
        stage: Name of the stage.
        size: Of the unit of work, in the units that the stage counts.
    """
    add(f"{stage}: begun", size)
    _in_hand.name, _in_hand.left = f"{stage}: done", size
    try:
        yield
    finally:
        step(_in_hand.left)


def step(amount: int = 1) -> None:
    """Counts a part of what this thread is working on as done before the whole is."""
    amount = min(amount, getattr(_in_hand, "left", 0))
    if amount:
        _in_hand.left -= amount
        add(_in_hand.name, amount)
