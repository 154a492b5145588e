"""Computing with one thread, in which models as small as the tests' are fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from beam_curate.models import torch_threads


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch compute with one thread in the calling thread, and leaves later tests the number it began with.

    `torch.set_num_threads` alone would not: what then first asks for the default would be told one, ever after.
    """
    torch_threads.use_own(1)
    try:
        yield
    finally:
        torch_threads.use_default()
