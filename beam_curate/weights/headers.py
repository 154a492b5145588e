"""Which tensors a weight file holds and where, read from its header: no code in it is executed, no weight is read.

Each reader also detects a truncated file, as the header determines how long the file must be.

safetensors files are read by the library. Files of ``torch.save`` are read here, as torch can only load them whole.
Since torch 1.6 they are zip archives with a pickle of the names and an entry per storage. Before that they were five
pickles, followed by the storages in the order that the last one lists, each after eight bytes with its number of
elements.
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

from safetensors import SafetensorError, safe_open

ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
"""Bytes of one element, by the name of its type in safetensors."""

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
_ZIP_ENTRY_HEADER_BYTES = 30  # of an entry in a zip archive, before its name


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    >>> tensor = StoredTensor(Path("model.bin"), "F32", shape=(2, 3), strides=(1, 2), offset=0)
    >>> tensor.num_bytes, tensor.is_contiguous
    (24, False)

    Attributes:
        path: The file.
        dtype: Type of its elements: a key of `ITEM_BYTES`.
        shape: Its dimensions.
        strides: Step along each dimension, in elements, as in torch.
        offset: Position of its first element in the file, in bytes.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def num_bytes(self) -> int:
        """Size of its elements in bytes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def is_contiguous(self) -> bool:
        """Whether it is stored in row-major order without gaps."""
        wanted = contiguous_strides(self.shape)
        return all(size == 1 or have == want for size, have, want in zip(self.shape, self.strides, wanted, strict=True))


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the strides, in elements, of a tensor in row-major order without gaps.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Returns the tensors of a weight file by name.

    >>> import numpy, safetensors.numpy, tempfile
    >>> path = Path(tempfile.mkdtemp(), "model.safetensors")
    >>> safetensors.numpy.save_file({"weight": numpy.zeros((3, 2), numpy.float32)}, path)
    >>> read_header(path)["weight"].shape
    (3, 2)

    Args:
        path: A safetensors file, by its suffix, else a file of ``torch.save``.

    Raises:
        ValueError: The file is truncated, damaged, or of another kind; the message says which.
        OSError: It cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                return _read_zip(path, file)
            file.seek(0)
            return _read_legacy(path, file)
    except _DAMAGE as error:
        raise ValueError(f"it is damaged or not a weight file ({type(error).__name__}: {error})") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is truncated or damaged ({error})") from error


def shards_of(index: Path) -> list[str]:
    """Returns the names of the files that a weight index (``*.index.json``) lists.

    >>> import tempfile
    >>> index = Path(tempfile.mkdtemp(), "model.safetensors.index.json")
    >>> _ = index.write_text('{"weight_map": {"weight": "model-00001-of-00002.safetensors"}}')
    >>> shards_of(index)
    ['model-00001-of-00002.safetensors']

    Raises:
        ValueError: The file is not a weight index.
    """
    try:
        return sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is damaged or not a weight index") from error


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def _read_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            found = {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise ValueError(f"it is truncated or damaged ({path.stat().st_size:,} bytes; {reason})") from error
    sizes = {name: math.prod(shape) * ITEM_BYTES[dtype] for name, (dtype, shape) in found.items()}
    position = path.stat().st_size - sum(sizes.values())  # the library has checked that tensors fill it to its end
    tensors = {}
    for name, (dtype, shape) in found.items():
        tensors[name] = StoredTensor(path, dtype, shape, contiguous_strides(shape), position)
        position += sizes[name]
    return tensors


def _read_zip(path: Path, file: BinaryIO) -> dict[str, StoredTensor]:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        pickled = next((name for name in entries if name.endswith("/data.pkl")), None)
        if pickled is None:
            raise ValueError("it is not a file of torch.save")
        root = pickled.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in entries and archive.read(order) != b"little":
            raise ValueError("it was saved on a big-endian machine")
        views = _views(_Unpickler(io.BytesIO(archive.read(pickled))).load())
        offsets = {}
        for view in views.values():
            entry = entries[f"{root}data/{view.storage.key}"]
            if entry.file_size != view.storage.num_bytes or entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"its storage {view.storage.key} has {entry.file_size:,} bytes")
            file.seek(entry.header_offset + 26)
            name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
            offsets[view.storage.key] = entry.header_offset + _ZIP_ENTRY_HEADER_BYTES + name_bytes + extra_bytes
    return _located(path, views, offsets)


def _read_legacy(path: Path, file: BinaryIO) -> dict[str, StoredTensor]:
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("it is not a file of torch.save")
    _Unpickler(file).load()  # the version of the format
    if not _Unpickler(file).load()["little_endian"]:
        raise ValueError("it was saved on a big-endian machine")
    reader = _Unpickler(file)
    views = _views(reader.load())
    keys = _Unpickler(file).load()
    position, offsets = file.tell(), {}
    for key in keys:
        offsets[key] = position + 8
        position += 8 + reader.storages[key].num_bytes
    if (size := _size(file)) < position:
        raise ValueError(f"it has {size:,} bytes instead of {position:,}")
    return _located(path, views, offsets)


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
    """A tensor as torch pickles it: a view of a storage, in elements."""

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
    """Unpickles torch's files; allows tensors and containers and refuses everything else."""

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
            raise pickle.UnpicklingError(f"it holds an unsupported {kind}")
        return self.storages.setdefault(key, _Storage(key, dtype, length))


def _views(state: Any) -> dict[str, _View]:
    if not isinstance(state, Mapping):
        raise ValueError("it does not map names to weights")
    views = {name: value for name, value in state.items() if isinstance(value, _View)}
    for view in views.values():
        view.check()
    return views


def _located(path: Path, views: Mapping[str, _View], offsets: Mapping[str, int]) -> dict[str, StoredTensor]:
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
