"""On out-of-memory, splits a batch in half until only the offending item fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from beam_curate.errors import ModelMemoryError
from beam_curate.models.slot import free_memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class OomBackoff:
    """Computes batches on a device and remembers which size fitted. One instance belongs to one loaded model.

    Attributes:
        limit: Cost of the largest batch that is still tried as a whole; None until memory ran out once.
    """

    def __init__(self) -> None:
        self.limit: int | None = None

    def compute(
        self,
        items: Sequence[Item],
        cost: Callable[[Sequence[Item]], int],
        work: Callable[[Sequence[Item]], Sequence[Result]],
    ) -> list[Result | Exception]:
        """Computes items in one batch where that fits in memory, and in halves where it does not.

        A batch that fails for another reason is split too, so that only the offending items fail.

        >>> OomBackoff().compute([1, 2, 0], cost=sum, work=lambda batch: [6 // item for item in batch])
        [6, 3, ZeroDivisionError('integer division or modulo by zero')]

        Args:
            items: At least one item.
            cost: Memory that a batch needs, in any unit that grows with it (padded tokens, pixels).
            work: Computes a batch; returns one result per item, in order.

        Returns:
            For each item its result, or the exception that it alone causes: a `ModelMemoryError` where a single item
            does not fit on the device.
        """
        if len(items) == 1 or self.limit is None or cost(items) <= self.limit:
            try:
                return list(work(items))
            except Exception as error:  # noqa: BLE001 - becomes the failure of the offending items
                out_of_memory = is_out_of_memory(error)
                failure = error.with_traceback(None)  # a traceback would keep the tensors of the failed batch alive
            if out_of_memory:
                free_memory()
            if len(items) == 1:
                return [_too_large(failure) if out_of_memory else failure]
            if out_of_memory:
                self.limit = cost(items[: (len(items) + 1) // 2])
        middle = (len(items) + 1) // 2
        return [result for half in (items[:middle], items[middle:]) for result in self.compute(half, cost, work)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the memory of a GPU or of the machine ran out.

    >>> is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    True
    """
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # torch's; torch itself need not be imported for this
        return True
    return isinstance(error, RuntimeError) and ("out of memory" in str(error) or "can't allocate memory" in str(error))


def _too_large(error: Exception) -> ModelMemoryError:
    reason = " ".join(str(error).split())[:200]
    return ModelMemoryError(f"a single item does not fit in the device's memory ({reason})")
