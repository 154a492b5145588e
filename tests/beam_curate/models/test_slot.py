"""Models in memory: loaded on first use, together while they fit, one user at a time."""

from __future__ import annotations

import functools
import gc
import pickle
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from beam_curate.models.slot import SLOTS, ModelRef, ModelSlots


class Model:
    """Counts its living instances, and their maximum."""

    alive: ClassVar[weakref.WeakSet[Model]] = weakref.WeakSet()
    most_alive = 0
    loads: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.name = name
        self.itself = self  # so that only the garbage collector frees it, like a real network
        Model.alive.add(self)
        Model.most_alive = max(Model.most_alive, len(Model.alive))
        Model.loads.append(name)

    def __call__(self, number: int) -> int:
        return number + 1

    def fail(self) -> None:
        raise ArithmeticError("of the model")


def load(device: str, name: str, fails: bool = False) -> Model:
    assert device
    model = Model(name)
    if fails:
        raise OSError("no such file")
    return model


def ref(name: str, gigabytes: float = 10.0, **how: bool) -> ModelRef:
    return ModelRef(name, functools.partial(load, name=name, **how), gpu_gb=gigabytes, ram_gb=gigabytes)


@pytest.fixture(autouse=True)
def _forget() -> None:
    gc.collect()
    Model.alive.clear()
    Model.most_alive = 0
    Model.loads = []


@pytest.fixture
def slot() -> ModelSlots:
    """One device, with room for one model of 10 GB."""
    return ModelSlots(lambda: {"cpu": 16.0})


def test_a_reference_is_lightweight_and_loads_nothing() -> None:
    one = ref("a")
    assert len(pickle.dumps(one)) < 500
    assert pickle.loads(pickle.dumps(one)).name == "a"
    assert Model.loads == []


def test_the_same_model_is_loaded_once(slot: ModelSlots) -> None:
    for _ in range(3):
        with slot.borrow(ref("a")) as model:  # another reference each time, equal to the first
            assert model.name == "a"
    with slot.borrow(pickle.loads(pickle.dumps(ref("a")))) as model:
        assert model(1) == 2
    assert Model.loads == ["a"]


def test_another_argument_is_another_model(slot: ModelSlots) -> None:
    for argument in "ab":
        with slot.borrow(ModelRef("same name", functools.partial(load, name=argument))) as model:
            assert model.name == argument
    assert Model.loads == ["a", "b"]


def test_one_model_is_freed_before_the_next_is_loaded(slot: ModelSlots) -> None:
    for name in "aba":
        with slot.borrow(ref(name)):
            assert len(Model.alive) == 1
    assert Model.loads == list("aba")
    assert Model.most_alive == 1
    slot.clear()
    gc.collect()
    assert not Model.alive


def test_a_user_who_keeps_a_model_does_not_keep_it_in_memory(slot: ModelSlots) -> None:
    kept = []
    for name in "ab":
        with slot.borrow(ref(name)) as model:
            kept.append(model)
    assert Model.most_alive == 1
    with pytest.raises(ReferenceError):
        _ = kept[0].name


def test_an_error_of_the_user_keeps_the_model_loaded(slot: ModelSlots) -> None:
    with pytest.raises(ArithmeticError), slot.borrow(ref("a")) as model:
        model.fail()
    with slot.borrow(ref("a")) as model:
        assert model(1) == 2
    assert Model.loads == ["a"]


@pytest.mark.parametrize("first", [False, True])
def test_a_failed_load_leaves_the_slot_usable(slot: ModelSlots, first: bool) -> None:
    if not first:
        with slot.borrow(ref("a")):
            pass
    for _ in range(2):
        with pytest.raises(OSError, match="no such file"), slot.borrow(ref("broken", fails=True)):
            pass
    gc.collect()
    assert not Model.alive
    with slot.borrow(ref("a")) as model:
        assert model.name == "a"


def test_threads_exclude_each_other(slot: ModelSlots) -> None:
    inside = 0
    most = 0
    lock = threading.Lock()

    def use(number: int) -> None:
        nonlocal inside, most
        with slot.borrow(ref("ab"[number % 2])) as model:
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.005)
            assert model.name == "ab"[number % 2]
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(4)))
    assert most == 1
    assert Model.most_alive == 1


def test_models_that_fit_together_stay_in_memory() -> None:
    slots = ModelSlots(lambda: {"cuda:0": 16.0})
    for name, gigabytes in (("a", 6.0), ("b", 10.0), ("a", 6.0), ("b", 10.0)):
        with slots.borrow(ref(name, gigabytes)) as model:
            assert model.name == name
    assert Model.loads == ["a", "b"]


def test_the_least_recently_used_makes_room() -> None:
    slots = ModelSlots(lambda: {"cuda:0": 16.0})
    for name in "abacac":  # with 8 GB each, b is the one that has to go for c
        with slots.borrow(ref(name, 8.0)):
            assert len(Model.alive) <= 2
    assert Model.loads == ["a", "b", "c"]


def test_a_model_larger_than_its_device_has_it_to_itself() -> None:
    slots = ModelSlots(lambda: {"cuda:0": 16.0})
    for name, gigabytes in (("a", 6.0), ("huge", 80.0), ("a", 6.0)):
        with slots.borrow(ref(name, gigabytes)):
            assert len(Model.alive) == 1


def test_a_shared_model_does_not_wait_for_one_that_computes() -> None:
    slots = ModelSlots(lambda: {"cuda:0": 16.0})
    shared = ModelRef("server", functools.partial(load, name="server"), shared=True, gpu_gb=6.0)
    with slots.borrow(ref("a")), ThreadPoolExecutor(1) as pool:

        def name() -> str:
            with slots.borrow(shared) as model:
                return str(model.name)

        assert pool.submit(name).result(timeout=10) == "server"


def loaded_ahead(slots: ModelSlots, *refs: ModelRef) -> list[str]:
    """Waits until nothing is loaded any more, and returns what was."""
    before = set(threading.enumerate())
    slots.load_ahead(refs)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    return Model.loads


def test_models_are_loaded_ahead_in_order_and_only_where_they_fit() -> None:
    slots = ModelSlots(lambda: {"cuda:0": 16.0})
    assert loaded_ahead(slots, ref("a", 8.0), ref("large", 10.0), ref("b", 8.0)) == ["a", "b"]
    with slots.borrow(ref("a", 8.0)), slots.borrow(ModelRef("b", ref("b", 8.0).load, shared=True, gpu_gb=8.0)):
        assert Model.loads == ["a", "b"]
    with slots.borrow(ref("large", 10.0)):
        assert Model.loads == ["a", "b", "large"]
    assert loaded_ahead(slots, ref("a", 8.0)) == ["a", "b", "large"]  # once is enough


def test_a_model_that_is_loaded_ahead_is_waited_for_and_not_loaded_twice(slot: ModelSlots) -> None:
    go_on = threading.Event()

    def slow(device: str) -> Model:
        go_on.wait(10)
        return load(device, "a")

    a = ModelRef("a", slow, ram_gb=10.0)
    slot.load_ahead([a])
    with ThreadPoolExecutor(1) as pool:

        def name() -> str:
            with slot.borrow(a) as model:
                return str(model.name)

        found = pool.submit(name)
        time.sleep(0.05)
        assert not found.done()
        go_on.set()
        assert found.result(timeout=10) == "a"
    assert Model.loads == ["a"]


def test_a_model_that_cannot_be_loaded_ahead_is_left_to_its_user(slot: ModelSlots) -> None:
    broken = ref("broken", fails=True)
    assert loaded_ahead(slot, broken, ref("a")) == ["broken", "a"]
    with pytest.raises(OSError, match="no such file"), slot.borrow(broken):
        pass


def test_references_share_the_models_of_the_process() -> None:
    with ref("a").use() as model:
        assert model.name == "a"
    with ref("a").use():
        assert Model.loads == ["a"]
    SLOTS.clear()
    gc.collect()
    assert not Model.alive


def test_each_device_has_a_slot_and_threads_take_the_one_that_has_the_model() -> None:
    slots = ModelSlots(lambda: {"cuda:0": 16.0, "cuda:1": 16.0})
    both_inside = threading.Barrier(2, timeout=10)

    def use(name: str) -> None:
        with slots.borrow(ref(name)):
            both_inside.wait()

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(use, "aa"))
    assert Model.loads == ["a", "a"], "a copy a device, and each is found again"
    assert Model.most_alive == 2
    with slots.borrow(ref("b")):
        assert len(Model.alive) == 2


def test_a_shared_model_is_loaded_once_and_used_by_all_at_once(slot: ModelSlots) -> None:
    shared = ModelRef("server", functools.partial(load, name="server"), shared=True, ram_gb=10.0)
    all_inside = threading.Barrier(4, timeout=10)

    def use(_: int) -> None:
        with slot.borrow(shared):
            all_inside.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert Model.loads == ["server"]


def test_a_shared_model_is_not_freed_under_its_users(slot: ModelSlots) -> None:
    shared = ModelRef("server", functools.partial(load, name="server"), shared=True, ram_gb=10.0)
    with ThreadPoolExecutor(1) as pool:
        with slot.borrow(shared) as server, slot.borrow(shared):
            other = pool.submit(lambda: slot.borrow(ref("a")).__enter__().name)
            time.sleep(0.05)
            assert not other.done()
            assert server.name == "server"
        assert other.result(timeout=10) == "a"
    assert Model.most_alive == 1


def test_a_model_that_can_be_closed_is_closed_before_the_next_is_loaded(slot: ModelSlots) -> None:
    events: list[str] = []

    class Server:
        def close(self) -> None:
            events.append("closed")

    with slot.borrow(ModelRef("server", lambda device: Server(), ram_gb=10.0)):
        pass
    with slot.borrow(ModelRef("next", lambda device: events.append("loaded") or Server(), ram_gb=10.0)):
        pass
    assert events == ["closed", "loaded"]


def test_a_model_that_cannot_be_closed_holds_up_no_other(slot: ModelSlots) -> None:
    class Server:
        def close(self) -> None:
            raise OSError("it does not end")

    with slot.borrow(ModelRef("server", lambda device: Server(), ram_gb=10.0)):
        pass
    with pytest.raises(OSError, match="it does not end"), slot.borrow(ref("a")):
        pass
    with slot.borrow(ref("a")) as model:
        assert model.name == "a"
