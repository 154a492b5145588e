"""Whether a pickle is, opcode by opcode, what `pickle` writes for a list with one array: then it may be loaded."""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

import numpy as np

_STORES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_RECALLS = frozenset({"GET", "BINGET", "LONG_BINGET"})


def is_as_written(data: bytes, array: np.ndarray) -> bool:
    """Whether a pickle differs from that of ``[array]`` in nothing but its frames, its memo and numpy's module names.

    Args:
        data: A whole pickle that has been read within bounds, of protocol 0 to 4.
        array: What was found in it.

    Returns:
        False, too, where unpickling fails, for a frame of a wrong length, say, or gives another array.
    """
    form = _form(data)
    protocol = next((argument for name, argument in form if name == "PROTO"), None)
    protocols = (0, 1) if protocol is None else (protocol,)
    if all(form != _form(pickle.dumps([array], number)) for number in protocols):
        return False
    try:
        content = pickle.loads(data)
    except Exception:  # noqa: BLE001 - it raises many kinds
        return False
    return (
        type(content) is list
        and len(content) == 1
        and type(content[0]) is np.ndarray
        and content[0].dtype == array.dtype
        and np.array_equal(content[0], array)
    )


def _form(data: bytes) -> list[tuple[str, Any]]:
    """Returns the opcodes without frames and stores; what recalls a stored thing names the opcode that made it."""
    form: list[tuple[str, Any]] = []
    memo: dict[int, int] = {}
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _STORES:
            memo[len(memo) if argument is None else int(argument)] = len(form) - 1
        elif opcode.name in _RECALLS:
            place = memo[int(str(argument))]
            # Whether an equal text is written again or recalled hangs on the interpreter.
            form.append(form[place] if isinstance(form[place][1], str) else ("recalled", place))
        elif opcode.name != "FRAME":
            text = argument.replace("numpy.core.", "numpy._core.") if isinstance(argument, str) else argument
            form.append((opcode.name, text))
    return form
