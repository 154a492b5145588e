"""Permits: no more at once than there are, and the most urgent first."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from beam_curate.processes.permits import Permits


def test_no_more_are_held_at_once_than_there_are() -> None:
    permits, lock = Permits(3), threading.Lock()
    held = most = 0

    def work(_: int) -> None:
        nonlocal held, most
        with permits.one():
            with lock:
                held += 1
                most = max(most, held)
            time.sleep(0.01)
            with lock:
                held -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(24)))
    assert (held, most) == (0, 3)


def test_the_most_urgent_is_served_first_and_equals_in_order() -> None:
    permits, served = Permits(1), []

    def ask(name: str, urgency: int) -> threading.Thread:
        def work() -> None:
            with permits.urgency(urgency), permits.one():
                served.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        while len(permits._waiting) < len(threads) + 1:
            time.sleep(0.001)
        return thread

    threads: list[threading.Thread] = []
    with permits.one():
        for name, urgency in (("shots a", 0), ("cut b", 1), ("shots c", 0), ("cut d", 1), ("windows e", 4)):
            threads.append(ask(name, urgency))
    for thread in threads:
        thread.join()
    assert served == ["windows e", "cut b", "cut d", "shots a", "shots c"]


def test_an_error_gives_the_permit_back() -> None:
    permits = Permits(1)
    for _ in range(3):
        try:
            with permits.one():
                raise ArithmeticError
        except ArithmeticError:
            pass
    with permits.one():
        pass


def test_urgency_is_of_a_thread_and_of_a_block() -> None:
    permits = Permits(1)
    with permits.urgency(3):
        with permits.urgency(5):
            assert permits._urgency.value == 5
        assert permits._urgency.value == 3
    assert permits._urgency.value == 0
