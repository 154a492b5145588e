"""One model in memory at a time per device: stages carry lightweight references, a slot holds the loaded model.

Beam loads the model of every inference stage when the stage starts, even an empty one, and frees it when the run ends.
With slots, a run that has nothing to do loads no model, and the peak is the largest model, not the sum.
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
    """A lazy handle of a model: its name and the function that loads it. Cheap to pickle and to hold.

    >>> ref = ModelRef("set", lambda device: {device, "disk"})
    >>> with ModelSlots(lambda: ["cpu"]).borrow(ref) as model:
    ...     print(sorted(model))
    ['cpu', 'disk']

    Attributes:
        name: The name that users see; two references with equal fields are the same model.
        load: Loads it onto a device, by torch's name (``cuda:0``, ``cpu``): a module-level function or a
            `functools.partial` of one. A loaded model's method ``close``, if any, is called before it is freed.
        identity: All that its results depend on: id, revision, precision and the engine; not where its files lie.
        shared: Whether several threads may use it at once, as with a server that does its own batching.
    """

    name: str
    load: Callable[[str], Any]
    identity: str = ""
    shared: bool = False

    @contextlib.contextmanager
    def use(self) -> Iterator[Any]:
        """Borrows the model, loading it when no slot holds it; one user at a time unless it is shared.

        It yields a weak reference: a variable that outlives the ``with`` block does not keep the model in memory.
        """
        with SLOTS.borrow(self) as model:
            yield model


def torch_devices() -> list[str]:
    """Returns the devices that models are loaded onto: all GPUs, or else the CPU."""
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


@dataclasses.dataclass
class _Slot:
    """Holds at most one model on one device, with its number of users; the first of them may still be loading it."""

    device: str
    key: tuple[Any, ...] | None = None
    model: Any = None
    users: int = 0

    def takes(self, key: tuple[Any, ...], shared: bool) -> bool:
        return self.users == 0 or (shared and self.key == key and self.model is not None)


class ModelSlots:
    """One slot per device, so that several GPUs work in parallel.

    >>> slots = ModelSlots(lambda: ["cpu"])
    >>> with slots.borrow(ModelRef("set", lambda device: {device})) as model:
    ...     len(model)
    1
    >>> slots.clear()

    Args:
        devices: Returns the names of the devices; called when the first model is borrowed.
    """

    def __init__(self, devices: Callable[[], Sequence[str]] = torch_devices) -> None:
        self._devices = devices
        self._slots: list[_Slot] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def borrow(self, ref: ModelRef) -> Iterator[Any]:
        """Yields the model to one user, or to several where it is shared, loading it first if need be."""
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
        """Frees the models that are not in use."""
        with self._changed:
            for slot in self._slots:
                if slot.users == 0:
                    _free(slot)

    def _claim(self, key: tuple[Any, ...], shared: bool) -> _Slot:
        """Waits for a slot and becomes a user of it, preferring one that has the model, then an empty one."""
        with self._changed:
            if not self._slots:
                self._slots = [_Slot(device) for device in self._devices()]
            while not (usable := [slot for slot in self._slots if slot.takes(key, shared)]):
                self._changed.wait()
            slot = min(usable, key=lambda slot: (slot.users, slot.key != key, slot.key is not None))
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
    """Returns memory that no tensor uses to the device.

    >>> free_memory()
    """
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
    """Returns what identifies a model; partials do not compare by value, so their parts are returned."""
    load = ref.load
    parts = (
        getattr(load, "func", load),
        getattr(load, "args", ()),
        tuple(getattr(load, "keywords", {}).items()),
    )
    return (ref.name, *parts)


SLOTS = ModelSlots()
