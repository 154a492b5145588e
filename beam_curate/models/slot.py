"""One model in memory at a time: a reference that weighs nothing travels, the slot of the process holds the model.

Beam loads the model of every inference stage when the stage starts, empty or not, and frees it when the run
ends. With the slot, a run that has nothing to do loads nothing, and the peak is the largest model, not the sum.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from beam_curate import progress


@dataclasses.dataclass(frozen=True)
class ModelRef:
    """A model by name, with the function that loads it. Cheap to pickle and to hold.

    Attributes:
        name: What users call it; two references with equal fields are the same model.
        load: Loads it into memory: a module-level function or a `functools.partial` of one.
    """

    name: str
    load: Callable[[], Any]

    @contextlib.contextmanager
    def use(self) -> Iterator[Any]:
        """Borrows the model; one user at a time. It is loaded when it is not in the slot already.

        What is borrowed is a weak reference: a variable that outlives the ``with`` does not keep the model.
        """
        with SLOT.borrow(self) as model:
            yield model


class ModelSlot:
    """Holds at most one model.

    Attributes:
        most_alive: How many models that it loaded were in memory at once, at most.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[Any, ...] | None = None
        self._model: Any = None
        self._alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most_alive = 0

    @contextlib.contextmanager
    def borrow(self, ref: ModelRef) -> Iterator[Any]:
        """Gives the model to one user, loading it first where another or none is held."""
        with self._lock:
            key = _key(ref)
            if key != self._key:
                self._free()
                self._model = ref.load()
                self._key = key
                self._alive.add(self._model)
                self.most_alive = max(self.most_alive, len(self._alive))
                progress.add(f"models loaded: {ref.name}")
            yield weakref.proxy(self._model)

    def clear(self) -> None:
        """Frees the model."""
        with self._lock:
            self._free()

    def _free(self) -> None:
        if self._key is None:
            return
        self._key = self._model = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def _key(ref: ModelRef) -> tuple[Any, ...]:
    """Partials do not compare by value, so their parts are compared."""
    load = ref.load
    parts = (
        getattr(load, "func", load),
        getattr(load, "args", ()),
        tuple(getattr(load, "keywords", {}).items()),
    )
    return (ref.name, *parts)


SLOT = ModelSlot()
