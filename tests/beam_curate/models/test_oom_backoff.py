"""Batches that do not fit are split down to the offending item."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from beam_curate.errors import ModelMemoryError
from beam_curate.models.oom_backoff import OomBackoff


class Device:
    """Doubles numbers; its memory holds numbers with a sum of `capacity`, and 13 is an error."""

    def __init__(self, capacity: int, error: type[BaseException] = torch.OutOfMemoryError) -> None:
        self.capacity, self.error = capacity, error
        self.batches: list[list[int]] = []

    def work(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        if sum(batch) > self.capacity:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        if 13 in batch:
            raise ValueError("13")
        return [2 * item for item in batch]


def test_items_that_fit_are_one_batch() -> None:
    device, fitting = Device(10), OomBackoff()
    assert fitting.compute([1, 2, 3], sum, device.work) == [2, 4, 6]
    assert device.batches == [[1, 2, 3]]
    assert fitting.limit is None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_a_batch_is_split_until_it_fits_and_the_limit_is_kept(error: type[BaseException]) -> None:
    device, fitting = Device(4, error), OomBackoff()
    assert fitting.compute([1] * 16, sum, device.work) == [2] * 16
    assert [len(batch) for batch in device.batches] == [16, 8, 4, 4, 4, 4]
    device.batches.clear()
    assert fitting.compute([1] * 8, sum, device.work) == [2] * 8
    assert [len(batch) for batch in device.batches] == [4, 4], "what did not fit is not tried again"


def test_only_the_item_that_does_not_fit_fails() -> None:
    results = OomBackoff().compute([1, 2, 99, 3], sum, Device(10).work)
    assert results[:2] == [2, 4] and results[3] == 6
    assert isinstance(results[2], ModelMemoryError)
    assert results[2].retriable and "Tried to allocate" in str(results[2])
    assert results[2].__traceback__ is None


def test_one_large_item_does_not_make_later_batches_small_permanently() -> None:
    device, fitting = Device(10), OomBackoff()
    fitting.compute([99], sum, device.work)
    assert fitting.limit is None
    device.batches.clear()
    assert fitting.compute([1] * 10, sum, device.work) == [2] * 10
    assert len(device.batches) == 1


def test_another_error_fails_its_item_alone_and_lowers_no_limit() -> None:
    device, fitting = Device(100), OomBackoff()
    results = fitting.compute([1, 13, 2, 3], sum, device.work)
    assert [results[0], *results[2:]] == [2, 4, 6]
    assert isinstance(results[1], ValueError)
    assert fitting.limit is None
