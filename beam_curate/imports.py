"""Imports of libraries without the parts of them that are not used here and take long to import."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*modules: str) -> Iterator[None]:
    """Makes imports of modules fail while the block runs, as if they were not installed.

    For modules that a library tries to import and can do without. Those that are imported already stay, and the others
    can be imported after the block.

    >>> with without("turtle"):
    ...     import turtle
    Traceback (most recent call last):
    ModuleNotFoundError: import of turtle halted; None in sys.modules

    Args:
        modules: Their full names.
    """
    missing = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        yield
    finally:
        for name in missing:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
