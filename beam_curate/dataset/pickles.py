"""The dataset's embedding file: a pickle of a list with one float16 array [num_tokens, 1024].

Unpickling an unknown file runs whatever code the file asks for, and the trainer does exactly that. So a file
is read here in two steps: its opcodes are scanned first, then it is unpickled into plain records that stand
in for numpy's classes, so that nothing a file can say calls anything but the code below.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from typing import Any

import numpy as np

from beam_curate.errors import CurateError

MAX_TOKENS = 512
"""Rows the trainer pads to and never cuts to (NUM_TOKENS of Cosmos-Predict2's text encoder settings)."""

EMBEDDING_WIDTH = 1024
"""d_model of google-t5/t5-11b."""

PROTOCOL = 4
"""Newest protocol whose numpy 2 pickles numpy 1.26, which Cosmos-Predict2 pins, can read."""

MAX_FILE_BYTES = 16 * 2**20
"""A full embedding has 1 MiB; the oldest protocol writes a byte in up to 6 characters."""

# What numpy 1 and 2 name in a pickled array at protocols 0 to 4.
_ALLOWED_GLOBALS = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }
)
_TEXT_OPCODES = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE"})
_GET_OPCODES = frozenset({"GET", "BINGET"})
_PUT_OPCODES = frozenset({"PUT", "BINPUT", "MEMOIZE"})
_SILENT_OPCODES = frozenset({"PROTO", "FRAME"})  # push nothing
# Enough for lists, tuples, dicts and arrays of any type, so that a wrong content gets a clear message, but
# without the opcodes that build other objects or shuffle the stack.
_ALLOWED_OPCODES = (
    _TEXT_OPCODES
    | _GET_OPCODES
    | _PUT_OPCODES
    | _SILENT_OPCODES
    | {"STOP", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS"}
    | {"TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE"}
    | {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"}
    | {"BINBYTES", "SHORT_BINBYTES", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}
)
# A larger index in the memo makes the unpickler allocate gigabytes; a pickled array has about 20 entries.
_MAX_INTEGER = 2**20
# What the standard unpickler raises for damaged data.
_UNPICKLING_ERRORS = (
    *(pickle.UnpicklingError, EOFError, OverflowError, MemoryError),
    *(ValueError, LookupError, AttributeError, TypeError),
)


class EmbeddingFileError(CurateError):
    """An embedding, or the file of one, that the trainer would refuse, misread or should not trust."""


def dump_embedding(array: np.ndarray) -> bytes:
    """Returns the content of an embedding file.

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

    Args:
        data: Content of the file.

    Returns:
        float16 [n, 1024], 1 <= n <= 512, C order, finite, no row all zero.

    Raises:
        EmbeddingFileError: Names what is wrong.
    """
    _scan(data)
    try:
        content = _RecordUnpickler(io.BytesIO(data)).load()
    except EmbeddingFileError:
        raise
    except _UNPICKLING_ERRORS as error:
        raise EmbeddingFileError(f"is a damaged pickle ({error})") from error
    array = _only_record(content).to_array()
    _check_values(array)
    return array


def _scan(data: bytes) -> None:
    """Refuses a pickle with anything that an embedding file does not need, before it is unpickled."""
    if len(data) > MAX_FILE_BYTES:
        raise EmbeddingFileError(f"has {len(data)} bytes; an embedding file has at most {MAX_FILE_BYTES}")
    memo: dict[int, str | None] = {}
    pushed: list[str | None] = [None, None]  # the last two things pushed; None for anything but a text
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            _check_opcode(opcode.name, argument)
            end = (position or 0) + 1
            if opcode.name in _PUT_OPCODES:
                memo[len(memo) if argument is None else argument] = pushed[-1]
            elif opcode.name == "GLOBAL":
                _check_global(*str(argument).split(" ", 1))
                pushed = [pushed[-1], None]
            elif opcode.name == "STACK_GLOBAL":
                _check_global(*pushed)
                pushed = [None, None]
            elif opcode.name in _GET_OPCODES:
                pushed = [pushed[-1], memo.get(int(argument or 0))]
            elif opcode.name not in _SILENT_OPCODES:
                pushed = [pushed[-1], argument if opcode.name in _TEXT_OPCODES else None]
    except (ValueError, LookupError) as error:  # genops: unknown opcode, data that ends early, bad numbers
        raise EmbeddingFileError(f"is no pickle or a damaged one ({error})") from error
    if end != len(data):
        raise EmbeddingFileError(f"has {len(data) - end} bytes after the end of the pickle")


def _check_opcode(name: str, argument: Any) -> None:
    """Refuses a protocol, an opcode or a number that does not belong in an embedding file."""
    if name == "PROTO" and argument > PROTOCOL:
        raise EmbeddingFileError(
            f"uses pickle protocol {argument}, which Cosmos-Predict2's numpy cannot read; use protocol {PROTOCOL}"
        )
    if name not in _ALLOWED_OPCODES:
        raise EmbeddingFileError(f"has the pickle opcode {name}, which an embedding file does not need")
    if name != "FRAME" and isinstance(argument, int) and abs(argument) > _MAX_INTEGER:
        raise EmbeddingFileError(f"holds the number {argument}, which an embedding file does not need")


def _check_global(module: str | None, name: str | None) -> None:
    """Refuses a name that unpickling would import, unless an array needs it."""
    if (module, name) not in _ALLOWED_GLOBALS:
        shown = f"{module}.{name}" if module and name else "a computed name"
        raise EmbeddingFileError(
            f"imports {shown}; a list with one numpy array needs no such thing. "
            "Do not load this file: unpickling runs what it imports"
        )


class _DtypeRecord:
    """What a pickle says of a dtype: its code, e.g. ``f2``, and its byte order."""

    def __init__(self, code: object = None, *unused: object) -> None:
        self.code = code if isinstance(code, str) else "unknown"
        self.byte_order = "|"

    def __setstate__(self, state: Any) -> None:
        self.byte_order = state[1] if isinstance(state[1], str) else "?"

    def __str__(self) -> str:
        return f"{self.byte_order}{self.code}".replace("|", "")


class _ArrayRecord:
    """What a pickle says of an array."""

    def __init__(self, *unused: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = tuple(state)

    def to_array(self) -> np.ndarray:
        """Returns the array, [num_tokens, 1024]; the values are not checked.

        Raises:
            EmbeddingFileError: Not a float16 array of rank 2 in C order, or its data are incomplete.
        """
        match self.state:
            case (int(), tuple() as shape, _DtypeRecord() as dtype, fortran_order, bytes() as data):
                lengths = [length for length in shape if isinstance(length, int)]
            case (_, _, _DtypeRecord() as dtype, _, _):
                raise EmbeddingFileError(f"has dtype {dtype}; the dtype must be float16")
            case _:
                raise EmbeddingFileError("holds an array without its content")
        native = "<" if sys.byteorder == "little" else ">"
        if dtype.code != "f2" or dtype.byte_order not in (native, "="):
            raise EmbeddingFileError(f"has dtype {dtype}; the dtype must be float16 in native byte order")
        _check_shape(tuple(lengths))
        if fortran_order:
            raise EmbeddingFileError("is in Fortran order; the array must be C-contiguous")
        if len(data) != 2 * shape[0] * shape[1]:
            raise EmbeddingFileError(f"has {len(data)} bytes of data, which do not fill the shape {shape}")
        return np.frombuffer(data, np.float16).reshape(shape).copy()


class _EncodedBytes:
    """What ``_codecs.encode`` makes of the bytes in a pickle below protocol 3: plain bytes.

    A class, because a pickle may set attributes of a function.
    """

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise EmbeddingFileError("encodes its bytes otherwise than numpy does")
        return text.encode("latin1")

    def __setstate__(self, state: Any) -> None:
        raise EmbeddingFileError("sets the state of an encoder")


_STAND_INS = {
    "_reconstruct": _ArrayRecord,
    "ndarray": _ArrayRecord,
    "dtype": _DtypeRecord,
    "encode": _EncodedBytes,
}


class _RecordUnpickler(pickle.Unpickler):
    """Unpickles arrays as records, so that no code outside this module runs."""

    def find_class(self, module: str, name: str) -> Any:
        _check_global(module, name)
        return _STAND_INS[name]


def _only_record(content: Any) -> _ArrayRecord:
    """Returns the array of a list with exactly one array, which the trainer asserts."""
    if not isinstance(content, list):
        shown = "array" if isinstance(content, _ArrayRecord) else type(content).__name__
        raise EmbeddingFileError(f"holds a bare {shown}; it must be a list with one array")
    if len(content) != 1:
        raise EmbeddingFileError(f"holds a list of {len(content)} things; it must be a list with one array")
    if not isinstance(content[0], _ArrayRecord):
        raise EmbeddingFileError(f"holds a list with a {type(content[0]).__name__}; it must be a numpy array")
    return content[0]


def _check_shape(shape: tuple[int, ...]) -> None:
    """Refuses any shape but [1..512, 1024]."""
    if len(shape) != 2:
        raise EmbeddingFileError(f"has shape {shape}; the shape must be (tokens, {EMBEDDING_WIDTH})")
    if shape[1] != EMBEDDING_WIDTH:
        raise EmbeddingFileError(f"is {shape[1]} wide; google-t5/t5-11b's embeddings are {EMBEDDING_WIDTH} wide")
    if not 1 <= shape[0] <= MAX_TOKENS:
        raise EmbeddingFileError(f"has {shape[0]} rows; the trainer takes 1 to {MAX_TOKENS}")


def _check_values(array: np.ndarray) -> None:
    """Refuses what the trainer would accept and train on: wrong dtype, NaN, padding."""
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
