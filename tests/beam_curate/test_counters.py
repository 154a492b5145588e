"""Counting while several threads work, and passing the counts on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from beam_curate import counters


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(counters, "_listeners", {})
    counters.reset()
    yield
    counters.reset()


def test_threads_lose_no_count() -> None:
    def work() -> None:
        for _ in range(2000):
            counters.add("clips: done")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.counts() == {"clips: done": 8000}


def test_a_listener_hears_each_count_in_the_thread_that_counts() -> None:
    heard: list[tuple[str, int, int]] = []
    counters.listen(lambda name, amount: heard.append((name, amount, threading.get_ident())))
    counters.add("a", 2)
    counters.add("nothing", 0)
    counters.add("a")
    assert heard == [("a", 2, threading.get_ident()), ("a", 1, threading.get_ident())]


def test_a_listener_that_is_given_again_hears_once() -> None:
    heard: list[tuple[str, int]] = []

    def listener(name: str, amount: int) -> None:
        heard.append((name, amount))

    counters.listen(listener)
    counters.listen(listener)
    counters.add("a")
    assert heard == [("a", 1)]


def test_a_listener_that_fails_breaks_nothing() -> None:
    heard: list[str] = []

    def broken(name: str, amount: int) -> None:
        raise RuntimeError("no metrics here")

    counters.listen(broken)
    counters.listen(lambda name, amount: heard.append(name))
    counters.add("a")
    assert counters.counts() == {"a": 1} and heard == ["a"]


def test_polled_counts_take_the_place_of_those_of_the_same_name() -> None:
    counters.add("videos to do", 8)
    counters.set_counts({"clips: done": 5})
    counters.set_counts({"clips: done": 7})
    assert counters.counts() == {"videos to do": 8, "clips: done": 7}


@pytest.mark.parametrize("steps", [0, 3, 4, 9])
def test_a_unit_of_work_counts_as_its_size_however_many_steps_were_counted(steps: int) -> None:
    with counters.working("clips", 4):
        for _ in range(steps):
            counters.step()
        assert counters.counts().get("clips: done", 0) == min(steps, 4)
    counters.step()  # no unit is in hand
    assert counters.counts() == {"clips: begun": 4, "clips: done": 4}


def test_a_unit_of_work_that_fails_is_done_as_well() -> None:
    with pytest.raises(ValueError), counters.working("clips", 4):
        counters.step()
        raise ValueError
    assert counters.counts()["clips: done"] == 4
