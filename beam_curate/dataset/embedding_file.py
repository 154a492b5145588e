"""The dataset's embedding file: a pickle of a list with one float16 array [num_tokens, 1024].

The trainer unpickles these files, which runs whatever code they name. So a file is read without unpickling first, see
`pickle_reader`, and is loaded only if its opcodes are those that pickle writes for such a list.
"""

from __future__ import annotations

import pickle
import pickletools
import sys
from typing import Any

import numpy as np

from beam_curate.dataset.pickle_reader import PROTOCOL, ArrayRecord, DictRecord, DtypeRecord, read_pickle
from beam_curate.errors import EmbeddingFileError

MAX_TOKENS = 512
"""Rows the trainer pads to and never truncates to (NUM_TOKENS of Cosmos-Predict2's text encoder settings)."""

EMBEDDING_WIDTH = 1024
"""d_model of google-t5/t5-11b."""

MAX_FILE_BYTES = 16 * 2**20
"""A full embedding has 1 MiB; the oldest protocol writes a byte in up to 6 characters."""

_MAX_DIMENSIONS = 8
_PUT_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GET_OPCODES = frozenset({"GET", "BINGET", "LONG_BINGET"})


def dump_embedding(array: np.ndarray) -> bytes:
    """Returns the content of an embedding file.

    >>> data = dump_embedding(np.ones((7, 1024), np.float16))
    >>> load_embedding(data).shape
    (7, 1024)

    Args:
        array: float16 [n, 1024] with 1 <= n <= 512: the real tokens only, the end-of-sequence token included.

    Returns:
        Pickle, protocol 4, of a list with the array in C order; the same bytes for the same values.

    Raises:
        EmbeddingFileError: Wrong type, dtype or shape, a NaN or infinite value, or a row of zeros (padding).
    """
    _check_values(array)
    return pickle.dumps([np.ascontiguousarray(array)], protocol=PROTOCOL)


def load_embedding(data: bytes) -> np.ndarray:
    """Returns the array of an embedding file, without running anything that the file names.

    >>> array = np.ones((7, 1024), np.float16)
    >>> np.array_equal(load_embedding(dump_embedding(array)), array)
    True

    Args:
        data: Content of the file.

    Returns:
        float16 [n, 1024], 1 <= n <= 512, C order, finite, no row all zero.

    Raises:
        EmbeddingFileError: States the problem.
    """
    if len(data) > MAX_FILE_BYTES:
        raise EmbeddingFileError(f"has {len(data)} bytes; an embedding file has at most {MAX_FILE_BYTES}")
    array = _array_of(_only_array(read_pickle(data)))
    _check_values(array)
    if not _is_as_pickled(data, array):
        raise EmbeddingFileError("is not what pickle writes for a list with one array; encode the caption again")
    return array


def _array_of(record: ArrayRecord) -> np.ndarray:
    """Returns the array of a record, [num_tokens, 1024]; its values are not checked."""
    match record.state:
        case (int(), tuple() as shape, DtypeRecord() as dtype, fortran_order, bytes() as data):
            if len(shape) > _MAX_DIMENSIONS or not all(isinstance(length, int) for length in shape):
                raise EmbeddingFileError("has a shape that is not made of numbers")
        case (_, _, DtypeRecord() as dtype, _, _):
            raise EmbeddingFileError(f"has dtype {dtype}; the dtype must be float16")
        case _:
            raise EmbeddingFileError("holds an array without its content")
    native = "<" if sys.byteorder == "little" else ">"
    if dtype.code != "f2" or dtype.byte_order not in (native, "="):
        raise EmbeddingFileError(f"has dtype {dtype}; the dtype must be float16 in native byte order")
    _check_shape(shape)
    if not isinstance(fortran_order, int) or fortran_order:
        raise EmbeddingFileError("is in Fortran order; the array must be C-contiguous")
    if len(data) != 2 * shape[0] * shape[1]:
        raise EmbeddingFileError(f"has {len(data)} bytes of data, which do not fill the shape {shape}")
    return np.frombuffer(data, np.float16).reshape(shape).copy()


def _only_array(content: Any) -> ArrayRecord:
    """Returns the record of a list with exactly one array, as the trainer asserts."""
    if not isinstance(content, list):
        shown = "array" if isinstance(content, ArrayRecord) else _kind(content)
        raise EmbeddingFileError(f"holds a bare {shown}; it must be a list with one array")
    if len(content) != 1:
        raise EmbeddingFileError(f"holds a list of {len(content)} objects; it must be a list with one array")
    if not isinstance(content[0], ArrayRecord):
        raise EmbeddingFileError(f"holds a list with a {_kind(content[0])}; it must be a numpy array")
    return content[0]


def _kind(content: Any) -> str:
    return "dict" if isinstance(content, DictRecord) else type(content).__name__.strip("_")


def _check_shape(shape: tuple[int, ...]) -> None:
    """Rejects any shape but [1..512, 1024]."""
    if len(shape) != 2:
        raise EmbeddingFileError(f"has shape {shape}; the shape must be (tokens, {EMBEDDING_WIDTH})")
    if shape[1] != EMBEDDING_WIDTH:
        raise EmbeddingFileError(f"is {shape[1]} wide; google-t5/t5-11b's embeddings are {EMBEDDING_WIDTH} wide")
    if not 1 <= shape[0] <= MAX_TOKENS:
        raise EmbeddingFileError(f"has {shape[0]} rows; the trainer takes 1 to {MAX_TOKENS}")


def _check_values(array: np.ndarray) -> None:
    """Rejects a wrong dtype, NaN and padding, which the trainer would accept and train on."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float16:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise EmbeddingFileError(f"has dtype {kind}; the dtype must be float16")
    _check_shape(array.shape)
    if not np.isfinite(array).all():
        raise EmbeddingFileError("holds NaN or infinite values")
    zero_rows = np.flatnonzero(~array.any(axis=1))
    if zero_rows.size:
        raise EmbeddingFileError(
            f"has rows of zeros: {zero_rows.size}, first row {zero_rows[0]}; store the tokens without padding"
        )


def _is_as_pickled(data: bytes, array: np.ndarray) -> bool:
    """Whether a pickle differs from that of ``[array]`` in frames, memo and numpy's module names at most.

    Args:
        data: A complete pickle of protocol 0 to 4 that `read_pickle` has accepted.
        array: The array found in it.

    Returns:
        False also if unpickling fails, as with a frame of a wrong length, or gives another array.
    """
    opcodes = _normalized(data)
    protocol = next((argument for name, argument in opcodes if name == "PROTO"), None)
    protocols = (0, 1) if protocol is None else (protocol,)
    if all(opcodes != _normalized(pickle.dumps([array], number)) for number in protocols):
        return False
    try:
        content = pickle.loads(data)
    except Exception:  # noqa: BLE001 - errors of many types
        return False
    return (
        type(content) is list
        and len(content) == 1
        and type(content[0]) is np.ndarray
        and content[0].dtype == array.dtype
        and np.array_equal(content[0], array)
    )


def _normalized(data: bytes) -> list[tuple[str, Any]]:
    """Returns the opcodes without frames and PUTs; a GET is given the index of the opcode that made its object."""
    opcodes: list[tuple[str, Any]] = []
    memo: dict[int, int] = {}
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _PUT_OPCODES:
            memo[len(memo) if argument is None else int(argument)] = len(opcodes) - 1
        elif opcode.name in _GET_OPCODES:
            index = memo[int(str(argument))]
            # Whether an equal text is written again or fetched from the memo depends on the interpreter.
            opcodes.append(opcodes[index] if isinstance(opcodes[index][1], str) else ("GET", index))
        elif opcode.name != "FRAME":
            text = argument.replace("numpy.core.", "numpy._core.") if isinstance(argument, str) else argument
            opcodes.append((opcode.name, text))
    return opcodes
