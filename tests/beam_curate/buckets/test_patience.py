"""A store that fails for a while is waited for; one that is gone is not waited for by each request anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from beam_curate.buckets.patience import Patience


class Store:
    """Answers, while it is up, and counts how often it was asked."""

    def __init__(self, *, up: bool) -> None:
        self.up = up
        self.asked = 0

    def ask(self) -> str:
        self.asked += 1
        if not self.up:
            raise TimeoutError("no answer")
        return "answer"


def is_passing(error: Exception) -> bool:
    return isinstance(error, TimeoutError)


def seconds(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def test_many_requests_wait_for_the_end_of_an_outage() -> None:
    store, patience = Store(up=False), Patience(20)
    threading.Timer(1.5, setattr, (store, "up", True)).start()
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: patience.repeated(store.ask, is_passing), range(64)))
    assert answers == ["answer"] * 64


def test_a_refusal_is_not_repeated() -> None:
    tries: list[int] = []

    def refuse() -> None:
        tries.append(1)
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        Patience(20).repeated(refuse, is_passing)
    assert len(tries) == 1


def test_a_store_that_has_been_given_up_is_tried_once_by_each_request() -> None:
    store, patience = Store(up=False), Patience(1)

    def fail() -> None:
        with pytest.raises(TimeoutError, match="no answer"):
            patience.repeated(store.ask, is_passing)

    assert 0.9 < seconds(fail) < 3
    before = store.asked
    assert seconds(lambda: [fail() for _ in range(50)]) < 0.5
    assert store.asked == before + 50


def test_an_answer_ends_an_outage() -> None:
    store, patience = Store(up=False), Patience(0.5)
    with pytest.raises(TimeoutError):
        patience.repeated(store.ask, is_passing)
    store.up = True
    assert patience.repeated(store.ask, is_passing) == "answer"
    store.up = False
    threading.Timer(0.2, setattr, (store, "up", True)).start()
    assert patience.repeated(store.ask, is_passing) == "answer"
