"""One model in memory at a time on each device: a reference that weighs nothing travels, a slot holds the model.

Beam loads the model of every inference stage when the stage starts, empty or not, and frees it when the run
ends. With slots, a run that has nothing to do loads nothing, and the peak is the largest model, not the sum.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from beam_curate import counters


@dataclasses.dataclass(frozen=True)
class ModelRef:
    """A model by name, with the function that loads it. Cheap to pickle and to hold.

    Attributes:
        name: What users call it; two references with equal fields are the same model.
        load: Loads it onto a device that torch names so (``cuda:0``, ``cpu``): a module-level function or a
            `functools.partial` of one. If what it returns has a method ``close``, that is called before it is freed.
        shared: Whether several threads may use it at once, as with a server that batches by itself.
    """

    name: str
    load: Callable[[str], Any]
    shared: bool = False

    @contextlib.contextmanager
    def use(self) -> Iterator[Any]:
        """Borrows the model; one user at a time unless it is shared. It is loaded when no slot holds it.

        What is borrowed is a weak reference: a variable that outlives the ``with`` does not keep the model.
        """
        with SLOTS.borrow(self) as model:
            yield model


def torch_devices() -> list[str]:
    """Returns the devices that models are loaded onto: every GPU, else the processor."""
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


@dataclasses.dataclass
class _Slot:
    """Holds at most one model on one device; `users` of it are at work, the first of them perhaps still loading."""

    device: str
    key: tuple[Any, ...] | None = None
    model: Any = None
    users: int = 0

    def takes(self, key: tuple[Any, ...], shared: bool) -> bool:
        return self.users == 0 or (shared and self.key == key and self.model is not None)


class ModelSlots:
    """A slot for each device, so that several GPUs work side by side.

    Args:
        devices: Names the devices when the first model is borrowed.
    """

    def __init__(self, devices: Callable[[], Sequence[str]] = torch_devices) -> None:
        self._devices = devices
        self._slots: list[_Slot] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def borrow(self, ref: ModelRef) -> Iterator[Any]:
        """Gives the model to one user, or to several where it is shared, loading it first where no free slot has it."""
        key = _key(ref)
        slot = self._claim(key, ref.shared)
        try:
            if slot.model is None or slot.key != key:
                self._load(slot, key, ref)
            yield weakref.proxy(slot.model)
        finally:
            with self._changed:
                slot.users -= 1
                self._changed.notify_all()

    def clear(self) -> None:
        """Frees the models that nobody uses."""
        with self._changed:
            for slot in self._slots:
                if slot.users == 0:
                    _free(slot)

    def _claim(self, key: tuple[Any, ...], shared: bool) -> _Slot:
        """Waits for a slot and becomes one of its users: best one that has the model, then an empty one."""
        with self._changed:
            if not self._slots:
                self._slots = [_Slot(device) for device in self._devices()]
            while not (fitting := [slot for slot in self._slots if slot.takes(key, shared)]):
                self._changed.wait()
            slot = min(fitting, key=lambda slot: (slot.users, slot.key != key, slot.key is not None))
            slot.users += 1
            return slot

    def _load(self, slot: _Slot, key: tuple[Any, ...], ref: ModelRef) -> None:
        _free(slot)
        model = ref.load(slot.device)
        with self._changed:
            slot.key, slot.model = key, model
            self._changed.notify_all()
        counters.add(f"models loaded: {ref.name}")


def free_memory() -> None:
    """Gives memory that no tensor uses any more back to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _free(slot: _Slot) -> None:
    if slot.model is None:
        return
    close = getattr(slot.model, "close", None)
    slot.key = slot.model = None
    if close is not None:
        close()
    del close
    free_memory()


def _key(ref: ModelRef) -> tuple[Any, ...]:
    """Partials do not compare by value, so their parts are compared."""
    load = ref.load
    parts = (
        getattr(load, "func", load),
        getattr(load, "args", ()),
        tuple(getattr(load, "keywords", {}).items()),
    )
    return (ref.name, *parts)


SLOTS = ModelSlots()
