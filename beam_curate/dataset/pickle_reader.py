"""Reads a pickle's opcodes one by one into plain records, without unpickling it.

Unpickling a file runs whatever code it names. Here, records stand in for numpy's classes; opcodes, bytes and the
objects made of them are bounded, and nothing from the file is called, hashed, multiplied or printed unchecked.
"""

from __future__ import annotations

import dataclasses
import pickletools
from typing import Any

from beam_curate.errors import EmbeddingFileError

PROTOCOL = 4
"""Newest protocol at which numpy 1.26, pinned by Cosmos-Predict2, can read what numpy 2 pickles."""

# Names in a pickled array of numpy 1 and 2 at protocols 0 to 4.
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
_NO_EFFECT_OPCODES = frozenset({"PROTO", "FRAME"})
_CONTAINER_OPCODES = frozenset(
    {"MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS"}
    | {"TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
)
# Enough for lists, tuples, dicts and arrays of any type, so that wrong contents get clear messages, but without the
# opcodes that build other objects or rearrange the stack.
_ALLOWED_OPCODES = (
    _TEXT_OPCODES
    | _GET_OPCODES
    | _PUT_OPCODES
    | _NO_EFFECT_OPCODES
    | _CONTAINER_OPCODES
    | {"STOP", "NONE", "NEWTRUE", "NEWFALSE"}
    | {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"}
    | {"BINBYTES", "SHORT_BINBYTES", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}
)
_MAX_INTEGER = 2**20  # of numbers and of memo indices
_MAX_DTYPE_CODE = 16  # characters
_MAX_SHOWN = 200  # characters
_MAX_OPCODES = 10_000  # a pickled array has about 50; lists of numbers, which get a message of their own, have more
_MAX_ENCODE_CALLS = 4
_MAX_BYTES = 2**21  # of one text or bytes object: twice a full embedding, since it may be Latin-1 stored as UTF-8


def read_pickle(data: bytes) -> Any:
    """Returns the content of a pickle: records, lists, tuples, numbers, texts and bytes.

    >>> import pickle
    >>> read_pickle(pickle.dumps([1, ("a", 2.0)], PROTOCOL))
    [1, ('a', 2.0)]

    Raises:
        EmbeddingFileError: The pickle is damaged, or has an opcode or a name that a pickled array does not need.
    """
    return _Reader().read(data)


def _check_opcode(name: str, argument: Any) -> None:
    """Rejects protocols, opcodes, texts and numbers that do not belong in an embedding file."""
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
    """Rejects a name that unpickling would import, unless an array needs it."""
    if (module, name) not in _ALLOWED_GLOBALS:
        shown = ascii(f"{module}.{name}"[:_MAX_SHOWN])[1:-1] if module and name else "a computed name"
        raise EmbeddingFileError(
            f"imports {shown}, which a list with one numpy array does not need. "
            "Do not load this file: unpickling runs what it imports"
        )


class DtypeRecord:
    """A pickled dtype: its code, e.g. ``f2``, and its byte order."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        code = arguments[0] if arguments else None
        self.code = code if isinstance(code, str) and len(code) <= _MAX_DTYPE_CODE else "unknown"
        self.byte_order = "|"

    def set(self, state: tuple[Any, ...]) -> None:
        """Applies the state of the BUILD opcode."""
        order = state[1] if len(state) > 1 else "?"
        self.byte_order = order if isinstance(order, str) and len(order) == 1 else "?"

    def __str__(self) -> str:
        return ascii(f"{self.byte_order}{self.code}".replace("|", ""))[1:-1]


class ArrayRecord:
    """A pickled array: its state, as `numpy.ndarray.__reduce__` describes it."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def set(self, state: tuple[Any, ...]) -> None:
        """Applies the state of the BUILD opcode."""
        self.state = state


class DictRecord:
    """A dict, without its content: no dict belongs in an embedding file."""


@dataclasses.dataclass(frozen=True)
class _Global:
    """One of the names that an array needs, not imported."""

    name: str

    def call(self, arguments: Any) -> Any:
        """Returns the record that stands for the result."""
        if not isinstance(arguments, tuple):
            raise EmbeddingFileError(f"calls {self.name} without a tuple of arguments")
        if self.name == "dtype":
            return DtypeRecord(arguments)
        if self.name in ("_reconstruct", "ndarray"):
            return ArrayRecord()
        # numpy writes bytes as encoded text below protocol 3
        if len(arguments) != 2 or not all(isinstance(argument, str) for argument in arguments):
            raise EmbeddingFileError("encodes something that is not a text")
        text, encoding = arguments
        if encoding != "latin1":
            raise EmbeddingFileError("encodes its bytes in another encoding than numpy does")
        return text.encode("latin1")


_MARK = object()


class _Reader:
    """Interprets the opcodes of one pickle, with the stack and the memo of the pickle machine."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._encode_calls = 0

    def read(self, data: bytes) -> Any:
        end = 0
        try:
            for number, (opcode, argument, position) in enumerate(pickletools.genops(data)):
                if number == _MAX_OPCODES:
                    raise EmbeddingFileError(
                        f"has more than {_MAX_OPCODES} pickle opcodes; an embedding file has fewer"
                    )
                _check_opcode(opcode.name, argument)
                self._interpret(opcode.name, argument)
                end = (position or 0) + 1
        except (ValueError, LookupError) as error:  # of genops: unknown opcode, truncated data, bad numbers
            shown = ascii(str(error)[:_MAX_SHOWN])[1:-1]
            raise EmbeddingFileError(f"is not a pickle, or damaged ({shown})") from error
        if end != len(data):
            raise EmbeddingFileError(f"has {len(data) - end} bytes after the end of the pickle")
        return self._stack.pop()

    def _interpret(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _NO_EFFECT_OPCODES or name == "STOP":
            if name == "STOP" and (not stack or stack[-1] is _MARK):
                raise ValueError("it is empty")
        elif name in _PUT_OPCODES:
            self._memo[len(self._memo) if argument is None else argument] = stack[-1]
        elif name in _GET_OPCODES:
            stack.append(self._memo[int(argument)])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            parts = str(argument).split(" ", 1) if name == "GLOBAL" else [stack.pop(), stack.pop()][::-1]
            _check_global(*(part if isinstance(part, str) else None for part in parts))
            stack.append(_Global(parts[1]))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not isinstance(function, _Global):
                raise EmbeddingFileError("calls something that is not a class or function")
            self._encode_calls += function.name == "encode"
            if self._encode_calls > _MAX_ENCODE_CALLS:
                raise EmbeddingFileError("encodes more texts than an array has")
            stack.append(function.call(arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], (ArrayRecord, DtypeRecord)) or not isinstance(state, tuple):
                raise EmbeddingFileError("sets the state of something that is not an array")
            stack[-1].set(state)
        elif name in _CONTAINER_OPCODES:
            self._build_container(name)
        else:
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}.get(name, argument))

    def _build_container(self, name: str) -> None:
        stack = self._stack
        match name:
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_DICT":
                stack.append(DictRecord())
            case "LIST":
                stack.append(self._to_mark())
            case "TUPLE":
                stack.append(tuple(self._to_mark()))
            case "DICT":
                self._to_mark()
                stack.append(DictRecord())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                number = int(name[-1])
                if len(stack) < number:
                    raise ValueError("a tuple of an empty stack")
                stack[-number:] = [tuple(stack[-number:])]
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self._to_mark()
                if not isinstance(stack[-1], list):
                    raise EmbeddingFileError("appends to something that is not a list")
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
