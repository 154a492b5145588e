"""The number of threads that torch computes with is the same in every run: last bits of results depend on it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from beam_curate.models import torch_threads
from beam_curate.models.slot import ModelRef


def in_threads(*works: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def seen_by_a_new_thread() -> int:
    seen: list[int] = []
    in_threads(lambda: seen.append(torch.get_num_threads()))
    return seen[0]


def test_threads_that_set_their_own_number_at_the_same_time_leave_others_theirs() -> None:
    default = torch_threads.default()
    for _ in range(200):
        barrier = threading.Barrier(2)

        def own(barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            torch_threads.use_own(default + 1)

        in_threads(own, own)
        assert seen_by_a_new_thread() == default


def test_who_borrows_a_model_computes_with_the_default() -> None:
    ref = ModelRef("a model", lambda device: torch.nn.Linear(1, 1))
    seen: list[int] = []

    def work() -> None:
        torch.set_num_threads(torch_threads.default() + 1)  # as another one may have for those that come after it
        with ref.use():
            seen.append(torch.get_num_threads())

    in_threads(work)
    assert seen == [torch_threads.default()]
