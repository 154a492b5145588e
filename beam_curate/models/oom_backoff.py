"""Batches that fit: memory that runs out halves a batch down to the item that causes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from beam_curate.errors import ModelMemoryError
from beam_curate.models.slot import free_memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Fitting:
    """Computes batches on a device, and remembers how much fitted. It belongs to one loaded model.

    Attributes:
        limit: Cost of the largest batch that is still tried as a whole; None before memory ran out once.
    """

    def __init__(self) -> None:
        self.limit: int | None = None

    def compute(
        self,
        items: Sequence[Item],
        cost: Callable[[Sequence[Item]], int],
        work: Callable[[Sequence[Item]], Sequence[Result]],
    ) -> list[Result | Exception]:
        """Works on items in one batch where that fits, in halves where it does not.

        A batch that fails for another reason is halved too, so that only the items that cause it fail.

        Args:
            items: At least one.
            cost: What a batch asks of memory, in any unit that grows with it (padded tokens, pixels).
            work: Computes a batch: a result for each item, in order.

        Returns:
            For each item its result, or the exception that it alone causes: a `ModelMemoryError` where one item is
            too large for the device by itself.
        """
        if len(items) == 1 or self.limit is None or cost(items) <= self.limit:
            try:
                return list(work(items))
            except Exception as error:  # noqa: BLE001 - it becomes the failure of the items that cause it
                out_of_memory = is_out_of_memory(error)
                failure = error.with_traceback(None)  # a traceback would hold the memory of what failed
            if out_of_memory:
                free_memory()
            if len(items) == 1:
                return [_too_large(failure) if out_of_memory else failure]
            if out_of_memory:
                self.limit = cost(items[: (len(items) + 1) // 2])
        middle = (len(items) + 1) // 2
        return [result for half in (items[:middle], items[middle:]) for result in self.compute(half, cost, work)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or in the computer."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # torch's; torch itself need not be imported for this
        return True
    return isinstance(error, RuntimeError) and ("out of memory" in str(error) or "can't allocate memory" in str(error))


def _too_large(error: Exception) -> ModelMemoryError:
    reason = " ".join(str(error).split())[:200]
    return ModelMemoryError(f"the memory of the device does not hold even one such item ({reason})")
