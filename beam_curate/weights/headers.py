"""What weight files hold and where, read from their headers: nothing is executed and no weight is read.

Each reader also finds a file that was cut off, as the header says how long the file must be.

safetensors: eight bytes with the length of a JSON header, the header, the tensors. torch's files, since 1.6: a zip
archive with a pickle of the names and an entry for each storage. torch's files before that: five pickles, then the
storages in the order that the last one lists, each after eight bytes with its number of elements.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of one element, by safetensors' name of its type."""

_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
_DAMAGE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    pickle.UnpicklingError,
    struct.error,
)
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
_LARGEST_HEADER_BYTES = 100_000_000  # safetensors' own limit
_ZIP_ENTRY_HEADER_BYTES = 30  # of an entry in a zip archive, before its name


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        path: The file.
        dtype: A key of `ITEM_BYTES`.
        shape: Its sizes.
        strides: Elements from one item to the next along each dimension, as in torch.
        offset: Bytes before its first element.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def num_bytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def is_contiguous(self) -> bool:
        """Whether its elements lie one after another, in the order of rows."""
        wanted = contiguous_strides(self.shape)
        return all(size == 1 or have == want for size, have, want in zip(self.shape, self.strides, wanted, strict=True))


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the strides, in elements, of a tensor whose elements lie one after another."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Returns the tensors of a weight file by name.

    Args:
        path: A safetensors file by its ending, else a file of ``torch.save``.

    Raises:
        ValueError: The file is cut off, damaged, or of another kind; says how.
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".safetensors":
                return _read_safetensors(path, file)
            if file.read(2) == b"PK":
                return _read_zip(path, file)
            file.seek(0)
            return _read_legacy(path, file)
    except _DAMAGE as error:
        raise ValueError(f"it is damaged or not a file of weights ({type(error).__name__}: {error})") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is cut off or damaged ({error})") from error


def shards_of(index: Path) -> list[str]:
    """Returns the names of the files that an index of weights (``*.index.json``) lists.

    Raises:
        ValueError: It is no such index.
    """
    try:
        return sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is damaged or not an index of weights") from error


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def _read_safetensors(path: Path, file: BinaryIO) -> dict[str, StoredTensor]:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LARGEST_HEADER_BYTES:
        raise ValueError("it is not a safetensors file")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    begin = 8 + length
    expected = begin + max((facts["data_offsets"][1] for facts in header.values()), default=0)
    if (size := _size(file)) != expected:
        raise ValueError(f"it has {size:,} bytes and must have {expected:,}")
    found = {}
    for name, facts in header.items():
        shape = tuple(facts["shape"])
        found[name] = StoredTensor(
            path, facts["dtype"], shape, contiguous_strides(shape), begin + facts["data_offsets"][0]
        )
    return found


def _read_zip(path: Path, file: BinaryIO) -> dict[str, StoredTensor]:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        pickled = next((name for name in entries if name.endswith("/data.pkl")), None)
        if pickled is None:
            raise ValueError("it is not a file of torch.save")
        root = pickled.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in entries and archive.read(order) != b"little":
            raise ValueError("it was saved by a computer with another order of bytes")
        views = _views(_Unpickler(io.BytesIO(archive.read(pickled))).load())
        offsets = {}
        for view in views.values():
            entry = entries[f"{root}data/{view.storage.key}"]
            if entry.file_size != view.storage.num_bytes or entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"its storage {view.storage.key} has {entry.file_size:,} bytes")
            file.seek(entry.header_offset + 26)
            name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
            offsets[view.storage.key] = entry.header_offset + _ZIP_ENTRY_HEADER_BYTES + name_bytes + extra_bytes
    return _place(path, views, offsets)


def _read_legacy(path: Path, file: BinaryIO) -> dict[str, StoredTensor]:
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("it is not a file of torch.save")
    _Unpickler(file).load()  # the version of the format
    if not _Unpickler(file).load()["little_endian"]:
        raise ValueError("it was saved by a computer with another order of bytes")
    reader = _Unpickler(file)
    views = _views(reader.load())
    keys = _Unpickler(file).load()
    position, offsets = file.tell(), {}
    for key in keys:
        offsets[key] = position + 8
        position += 8 + reader.storages[key].num_bytes
    if (size := _size(file)) < position:
        raise ValueError(f"it has {size:,} bytes and must have {position:,}")
    return _place(path, views, offsets)


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    length: int

    @property
    def num_bytes(self) -> int:
        return self.length * ITEM_BYTES[self.dtype]


@dataclasses.dataclass(frozen=True)
class _View:
    """A tensor as torch pickles it: a view of a storage; numbers are elements."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def check(self) -> None:
        last = self.start + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if min((self.start, *self.shape, *self.strides)) < 0 or last >= max(self.storage.length, 1):
            raise ValueError(f"a tensor of shape {self.shape} does not fit into its storage")


def _rebuild_tensor(storage: _Storage, start: int, shape: Any, strides: Any, *_: Any) -> _View:
    return _View(storage, start, tuple(shape), tuple(strides))


def _rebuild_parameter(view: _View, *_: Any) -> _View:
    return view


_PICKLED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    """Reads the pickles of torch's files; it knows tensors and containers and refuses everything else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in _PICKLED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is not a tensor")
        return _PICKLED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, length, *view = pid
        if kind != "storage" or any(view):
            raise pickle.UnpicklingError(f"it holds a {kind} that is not known")
        return self.storages.setdefault(key, _Storage(key, dtype, length))


def _views(state: Any) -> dict[str, _View]:
    if not isinstance(state, Mapping):
        raise ValueError("it does not hold weights by name")
    views = {name: value for name, value in state.items() if isinstance(value, _View)}
    for view in views.values():
        view.check()
    return views


def _place(path: Path, views: Mapping[str, _View], offsets: Mapping[str, int]) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(
            path,
            view.storage.dtype,
            view.shape,
            view.strides,
            offsets[view.storage.key] + view.start * ITEM_BYTES[view.storage.dtype],
        )
        for name, view in views.items()
    }
