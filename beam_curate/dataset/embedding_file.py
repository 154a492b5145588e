"""The dataset's embedding file: a pickle of a list with one float16 array [num_tokens, 1024].

Unpickling an unknown file runs whatever code the file asks for, and the trainer does exactly that. So a file is not
unpickled until its opcodes have been read one by one into plain records that stand in for numpy's classes, and are
found to be those that pickle writes for such a list. Opcodes, bytes and what may be made of them are bounded, and
nothing from the file is called, hashed, multiplied or printed unseen.
"""

from __future__ import annotations

import dataclasses
import pickle
import pickletools
import sys
from typing import Any

import numpy as np

from beam_curate.dataset.embedding_globals import is_as_written
from beam_curate.errors import ContentError

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
_CONTAINER_OPCODES = frozenset(
    {"MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS"}
    | {"TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
)
# Enough for lists, tuples, dicts and arrays of any type, so that a wrong content gets a clear message, but
# without the opcodes that build other objects or shuffle the stack.
_ALLOWED_OPCODES = (
    _TEXT_OPCODES
    | _GET_OPCODES
    | _PUT_OPCODES
    | _SILENT_OPCODES
    | _CONTAINER_OPCODES
    | {"STOP", "NONE", "NEWTRUE", "NEWFALSE"}
    | {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"}
    | {"BINBYTES", "SHORT_BINBYTES", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}
)
_MAX_INTEGER = 2**20  # of numbers and of places in the memo
_MOST_DIMENSIONS = 8
_LONGEST_CODE = 16  # of a dtype
_LONGEST_REASON = 200  # characters
_MAX_OPCODES = 10_000  # a pickled array has about 50; lists of numbers, which are told apart, have more
_MOST_ENCODED = 4  # texts that are made into bytes
_MAX_BYTES = 2**21  # of one text or string of bytes: twice a full embedding, as UTF-8 holds Latin-1


class EmbeddingFileError(ContentError):
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
    content = _Reader().read(data)
    array = _only_record(content).to_array()
    _check_values(array)
    if not is_as_written(data, array):
        raise EmbeddingFileError("is not written as pickle writes a list with one array; make it again")
    return array


def _check_opcode(name: str, argument: Any) -> None:
    """Refuses a protocol, an opcode or a number that does not belong in an embedding file."""
    if name == "PROTO" and argument > PROTOCOL:
        raise EmbeddingFileError(
            f"uses pickle protocol {argument}, which Cosmos-Predict2's numpy cannot read; use protocol {PROTOCOL}"
        )
    if name not in _ALLOWED_OPCODES:
        raise EmbeddingFileError(f"has the pickle opcode {name}, which an embedding file does not need")
    if isinstance(argument, (str, bytes)) and len(argument) > _MAX_BYTES:
        raise EmbeddingFileError(
            f"holds {len(argument)} bytes in one piece; an embedding has at most {_MAX_BYTES // 2}"
        )
    if name != "FRAME" and isinstance(argument, int) and abs(argument) > _MAX_INTEGER:
        raise EmbeddingFileError(f"holds a number beyond {_MAX_INTEGER}, which an embedding file does not need")


def _check_global(module: str | None, name: str | None) -> None:
    """Refuses a name that unpickling would import, unless an array needs it."""
    if (module, name) not in _ALLOWED_GLOBALS:
        shown = ascii(f"{module}.{name}"[:_LONGEST_REASON])[1:-1] if module and name else "a computed name"
        raise EmbeddingFileError(
            f"imports {shown}; a list with one numpy array needs no such thing. "
            "Do not load this file: unpickling runs what it imports"
        )


class _DtypeRecord:
    """What a pickle says of a dtype: its code, e.g. ``f2``, and its byte order."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        code = arguments[0] if arguments else None
        self.code = code if isinstance(code, str) and len(code) <= _LONGEST_CODE else "unknown"
        self.byte_order = "|"

    def set(self, state: tuple[Any, ...]) -> None:
        order = state[1] if len(state) > 1 else "?"
        self.byte_order = order if isinstance(order, str) and len(order) == 1 else "?"

    def __str__(self) -> str:
        return ascii(f"{self.byte_order}{self.code}".replace("|", ""))[1:-1]


class _ArrayRecord:
    """What a pickle says of an array."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def set(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def to_array(self) -> np.ndarray:
        """Returns the array, [num_tokens, 1024]; the values are not checked.

        Raises:
            EmbeddingFileError: Not a float16 array of rank 2 in C order, or its data are incomplete.
        """
        match self.state:
            case (int(), tuple() as shape, _DtypeRecord() as dtype, fortran_order, bytes() as data):
                if len(shape) > _MOST_DIMENSIONS or not all(isinstance(length, int) for length in shape):
                    raise EmbeddingFileError("has a shape that is not made of numbers")
            case (_, _, _DtypeRecord() as dtype, _, _):
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


class _Dict:
    """Stands for any dict: what is in it does not matter, since none belongs in an embedding file."""


@dataclasses.dataclass(frozen=True)
class _Global:
    """One of the names that an array needs; nothing is imported."""

    name: str

    def called(self, arguments: Any) -> Any:
        if not isinstance(arguments, tuple):
            raise EmbeddingFileError(f"calls {self.name} with something else than arguments")
        if self.name == "dtype":
            return _DtypeRecord(arguments)
        if self.name in ("_reconstruct", "ndarray"):
            return _ArrayRecord()
        # numpy's way to write bytes below protocol 3
        if len(arguments) != 2 or not all(isinstance(argument, str) for argument in arguments):
            raise EmbeddingFileError("encodes something else than a text")
        text, encoding = arguments
        if encoding != "latin1":
            raise EmbeddingFileError("encodes its bytes otherwise than numpy does")
        return text.encode("latin1")


_MARK = object()


class _Reader:
    """Follows the opcodes of one pickle; the stack and the memo are those of the pickle machine."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._encoded = 0

    def read(self, data: bytes) -> Any:
        """Returns what the pickle holds: records, lists, tuples, numbers and texts."""
        if len(data) > MAX_FILE_BYTES:
            raise EmbeddingFileError(f"has {len(data)} bytes; an embedding file has at most {MAX_FILE_BYTES}")
        end = 0
        try:
            for number, (opcode, argument, position) in enumerate(pickletools.genops(data)):
                if number == _MAX_OPCODES:
                    raise EmbeddingFileError(
                        f"has more than {_MAX_OPCODES} pickle opcodes; an embedding file has fewer"
                    )
                _check_opcode(opcode.name, argument)
                self._follow(opcode.name, argument)
                end = (position or 0) + 1
        except (ValueError, LookupError) as error:  # genops: unknown opcode, data that ends early, bad numbers
            shown = ascii(str(error)[:_LONGEST_REASON])[1:-1]
            raise EmbeddingFileError(f"is no pickle or a damaged one ({shown})") from error
        if end != len(data):
            raise EmbeddingFileError(f"has {len(data) - end} bytes after the end of the pickle")
        return self._stack.pop()

    def _follow(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _SILENT_OPCODES or name == "STOP":
            if name == "STOP" and (not stack or stack[-1] is _MARK):
                raise ValueError("it holds nothing")
        elif name in _PUT_OPCODES:
            self._memo[len(self._memo) if argument is None else argument] = stack[-1]
        elif name in _GET_OPCODES:
            stack.append(self._memo[int(argument)])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            parts = str(argument).split(" ", 1) if name == "GLOBAL" else [stack.pop(), stack.pop()][::-1]
            _check_global(*(part if isinstance(part, str) else None for part in parts))
            stack.append(_Global(parts[1]))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            if not isinstance(called, _Global):
                raise EmbeddingFileError("calls something that is no class")
            self._encoded += called.name == "encode"
            if self._encoded > _MOST_ENCODED:
                raise EmbeddingFileError("makes bytes of more texts than an array has")
            stack.append(called.called(arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], (_ArrayRecord, _DtypeRecord)) or not isinstance(state, tuple):
                raise EmbeddingFileError("sets the state of something else than an array")
            stack[-1].set(state)
        elif name in _CONTAINER_OPCODES:
            self._gather(name)
        else:
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}.get(name, argument))

    def _gather(self, name: str) -> None:
        """Follows the opcodes that make containers."""
        stack = self._stack
        match name:
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_DICT":
                stack.append(_Dict())
            case "LIST":
                stack.append(self._to_mark())
            case "TUPLE":
                stack.append(tuple(self._to_mark()))
            case "DICT":
                self._to_mark()
                stack.append(_Dict())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                number = int(name[-1])
                if len(stack) < number:
                    raise ValueError("a tuple of what is not there")
                stack[-number:] = [tuple(stack[-number:])]
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self._to_mark()
                if not isinstance(stack[-1], list):
                    raise EmbeddingFileError("appends to something that is no list")
                stack[-1].extend(items)
            case "SETITEM":
                del stack[-2:]
            case "SETITEMS":
                self._to_mark()

    def _to_mark(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]


def _only_record(content: Any) -> _ArrayRecord:
    """Returns the array of a list with exactly one array, which the trainer asserts."""
    if not isinstance(content, list):
        shown = "array" if isinstance(content, _ArrayRecord) else _kind(content)
        raise EmbeddingFileError(f"holds a bare {shown}; it must be a list with one array")
    if len(content) != 1:
        raise EmbeddingFileError(f"holds a list of {len(content)} things; it must be a list with one array")
    if not isinstance(content[0], _ArrayRecord):
        raise EmbeddingFileError(f"holds a list with a {_kind(content[0])}; it must be a numpy array")
    return content[0]


def _kind(thing: Any) -> str:
    return "dict" if isinstance(thing, _Dict) else type(thing).__name__.strip("_")


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
