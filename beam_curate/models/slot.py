"""Models in memory: stages carry lightweight references, and each device holds the models that fit into it together.

Beam loads the model of every inference stage when the stage starts, even an empty one, and frees it when the run ends.
Here a model is loaded on first use, or a little before, so that a run that has nothing to do loads none, and the least
recently used one makes room where the next does not fit beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from beam_curate import counters
from beam_curate.models import torch_threads
from beam_curate.models.devices import gpus_gb, memory_gb


@dataclasses.dataclass(frozen=True)
class ModelRef:
    """A lazy handle of a model: its name and the function that loads it. Cheap to pickle and to hold.

    >>> ref = ModelRef("set", lambda device: {device, "disk"})
    >>> with ModelSlots(lambda: {"cpu": 16.0}).borrow(ref) as model:
    ...     print(sorted(model))
    ['cpu', 'disk']

    Attributes:
        name: The name that users see; two references with equal fields are the same model.
        load: Loads it onto a device, by torch's name (``cuda:0``, ``cpu``): a module-level function or a
            `functools.partial` of one. A loaded model's method ``close``, if any, is called before it is freed.
        identity: All that its results depend on: id, revision, precision and the engine; not where its files lie.
        shared: Whether several threads may use it at once, as with a server that does its own batching.
        gpu_gb: Memory that it needs on a GPU, in GB (10^9 bytes).
        ram_gb: The same without a GPU.
    """

    name: str
    load: Callable[[str], Any]
    identity: str = ""
    shared: bool = False
    gpu_gb: float = 0.0
    ram_gb: float = 0.0

    @contextlib.contextmanager
    def use(self) -> Iterator[Any]:
        """Borrows the model, loading it where it is not in memory; one user at a time unless it is shared.

        It yields a weak reference: a variable that outlives the ``with`` block does not keep the model in memory.
        """
        with SLOTS.borrow(self) as model:
            yield model


def torch_devices() -> dict[str, float]:
    """Returns the memory in GB (10^9 bytes) of the devices that models are loaded onto: all GPUs, or else the CPU."""
    return gpus_gb() or {"cpu": memory_gb()}


@dataclasses.dataclass
class _Loaded:
    """A model on a device; the model itself is None while its first user loads it."""

    ref: ModelRef
    users: int = 0
    model: Any = None


class _Device:
    """The models of one device, least recently used first, and whether one of them computes for a user of its own.

    Only one does at a time, so that the peak is all weights and the activations of one model.
    """

    def __init__(self, name: str, capacity_gb: float) -> None:
        self.name = name
        self.capacity_gb = capacity_gb
        self.loaded: dict[tuple[Any, ...], _Loaded] = {}
        self.computes = False

    def gigabytes(self, ref: ModelRef) -> float:
        return ref.ram_gb if self.name == "cpu" else ref.gpu_gb

    def idle(self) -> list[tuple[Any, ...]]:
        return [key for key, one in self.loaded.items() if not one.users]

    def excess_gb(self, ref: ModelRef) -> float:
        """How much has to be freed before a model fits; a model that is larger than the device has it to itself."""
        used = sum(self.gigabytes(one.ref) for one in self.loaded.values())
        return min(used, used + self.gigabytes(ref) - self.capacity_gb)

    def has_room_for(self, key: tuple[Any, ...], ref: ModelRef) -> bool:
        """Whether it has a model, or can load it without freeing another."""
        return key in self.loaded or self.excess_gb(ref) <= 0

    def takes(self, key: tuple[Any, ...], ref: ModelRef) -> bool:
        """Whether a model can be used now, after it was loaded and others were freed if need be."""
        if self.computes and not ref.shared:
            return False
        if key in self.loaded:
            return self.loaded[key].model is not None
        if any(one.model is None for one in self.loaded.values()):
            return False  # one is being loaded, in the place of others that may still be in memory
        freeable = sum(self.gigabytes(self.loaded[one].ref) for one in self.idle())
        return self.excess_gb(ref) <= freeable

    def make_room(self, ref: ModelRef) -> list[_Loaded]:
        """Takes the least recently used models off the device until another fits, and returns them."""
        freed = []
        while self.excess_gb(ref) > 0:
            key = next(one for one in self.idle() if self.gigabytes(self.loaded[one].ref))
            freed.append(self.loaded.pop(key))
        return freed


class ModelSlots:
    """The models of each device, so that several GPUs work in parallel.

    >>> slots = ModelSlots(lambda: {"cpu": 16.0})
    >>> with slots.borrow(ModelRef("set", lambda device: {device})) as model:
    ...     len(model)
    1
    >>> slots.clear()

    Args:
        devices: Returns the memory of each device in GB (10^9 bytes) by its name; called when the first model is
            borrowed.
    """

    def __init__(self, devices: Callable[[], Mapping[str, float]] = torch_devices) -> None:
        self._find_devices = devices
        self._devices: list[_Device] = []
        self._ahead: set[tuple[Any, ...]] = set()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def borrow(self, ref: ModelRef) -> Iterator[Any]:
        """Yields the model to one user, or to several where it is shared, loading it first if need be."""
        claim = self._claim(ref)
        assert claim is not None
        with self._claimed(*claim) as model:
            torch_threads.use_default()
            yield model

    def load_ahead(self, refs: Sequence[ModelRef]) -> None:
        """Begins to load models that will be needed soon, in the background, each of them once.

        In the order given; one that would not fit beside those in memory is left to its first user, and so is one that
        cannot be loaded, who meets the error again.
        """
        with self._changed:
            new = [ref for ref in refs if _key(ref) not in self._ahead]
            self._ahead.update(_key(ref) for ref in new)
        if new:
            threading.Thread(target=self._load_those_that_fit, args=(new,), daemon=True).start()

    def _load_those_that_fit(self, refs: Sequence[ModelRef]) -> None:
        for ref in refs:
            with contextlib.suppress(Exception):
                if claim := self._claim(ref, if_it_fits=True):
                    with self._claimed(*claim):
                        pass

    @contextlib.contextmanager
    def _claimed(self, device: _Device, loaded: _Loaded, freed: list[_Loaded]) -> Iterator[Any]:
        try:
            if loaded.model is None:
                self._load(device, loaded, freed)
            yield weakref.proxy(loaded.model)
        finally:
            with self._changed:
                loaded.users -= 1
                device.computes = device.computes and loaded.ref.shared
                self._changed.notify_all()

    def clear(self) -> None:
        """Frees the models that are not in use."""
        with self._changed:
            self._ahead.clear()
            for device in self._devices:
                for key in device.idle():
                    _free(device.loaded.pop(key))

    def _claim(self, ref: ModelRef, *, if_it_fits: bool = False) -> tuple[_Device, _Loaded, list[_Loaded]] | None:
        """Waits for a device and becomes a user of the model there; returns also those that have to be freed for it.

        Args:
            ref: The model.
            if_it_fits: Return None instead where others would have to be freed on each device.
        """
        key = _key(ref)
        with self._changed:
            if not self._devices:
                self._devices = [_Device(name, capacity_gb) for name, capacity_gb in self._find_devices().items()]
            while True:
                devices = [one for one in self._devices if not if_it_fits or one.has_room_for(key, ref)]
                if not devices:
                    return None
                if usable := [one for one in devices if one.takes(key, ref)]:
                    break
                self._changed.wait()
            device = min(usable, key=functools.partial(_preference, key, ref))
            freed = device.make_room(ref) if key not in device.loaded else []
            loaded = device.loaded.pop(key) if key in device.loaded else _Loaded(ref)
            device.loaded[key] = loaded  # the last one is the most recently used
            loaded.users += 1
            device.computes = device.computes or not ref.shared
            return device, loaded, freed

    def _load(self, device: _Device, loaded: _Loaded, freed: list[_Loaded]) -> None:
        try:
            for one in freed:
                _free(one)
            model = loaded.ref.load(device.name)
        except BaseException:
            with self._changed:
                del device.loaded[_key(loaded.ref)]
            raise
        with self._changed:
            loaded.model = model
            self._changed.notify_all()
        counters.add(f"models loaded: {loaded.ref.name}")


def _preference(key: tuple[Any, ...], ref: ModelRef, device: _Device) -> tuple[int, bool, bool, int]:
    """Orders devices: fewer users first, then one that has the model, one where no other has to go, an empty one."""
    own = device.loaded.get(key)
    return own.users if own else 0, own is None, device.excess_gb(ref) > 0, len(device.loaded)


def free_memory() -> None:
    """Returns memory that no tensor uses to the device.

    >>> free_memory()
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _free(loaded: _Loaded) -> None:
    close = getattr(loaded.model, "close", None)
    loaded.model = None
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


def load_ahead(*refs: ModelRef) -> None:
    """Begins to load models into this process, in the background; see `ModelSlots.load_ahead`.

    >>> load_ahead()
    """
    SLOTS.load_ahead(refs)
