"""Extracts the encoder of T5-11B into `encoder.safetensors`.

The hub's T5-11B is one file of 45 GB in torch's oldest format, encoder and decoder; only the encoder is used. The copy
holds what ``T5EncoderModel.load_state_dict(strict=False)`` expects: ``shared.weight`` and ``encoder.*``, in the
source's precision (float32). ``encoder.embed_tokens.weight`` equals ``shared.weight`` and is not written.

The copy is written tensor by tensor, in blocks, as safetensors' own writer wants all tensors in memory. Here memory
holds at most one tensor, and that only when it is stored transposed, as tensors converted from TensorFlow are (0.3 GB
for T5-11B).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from beam_curate.weights.headers import ITEM_BYTES, StoredTensor, read_header

_SHARED = "shared.weight"
_TIED = "encoder.embed_tokens.weight"
_BLOCK_BYTES = 16 << 20
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def copy_encoder(sources: Sequence[Path], target: Path, num_layers: int) -> str:
    """Writes the encoder-only copy of a T5 model; the file appears once it is complete and on the disk.

    >>> import safetensors.numpy, tempfile
    >>> source = Path(tempfile.mkdtemp(), "model.safetensors")
    >>> names = ["shared.weight", "encoder.final_layer_norm.weight", "encoder.block.0.weight", "decoder.block.0.weight"]
    >>> safetensors.numpy.save_file({name: np.ones(4, np.float32) for name in names}, source)
    >>> digest = copy_encoder([source], source.with_name("encoder.safetensors"), num_layers=1)
    >>> sorted(read_header(source.with_name("encoder.safetensors")))
    ['encoder.block.0.weight', 'encoder.final_layer_norm.weight', 'shared.weight']

    Args:
        sources: The weight files of the model: one file of ``torch.save`` or safetensors, or all the shards.
        target: Path of the copy.
        num_layers: Number of encoder layers; all of them must be present.

    Returns:
        The hex SHA-256 of the copy.

    Raises:
        ValueError: A source is damaged, or is not a T5 model with that many layers.
        OSError: A file cannot be read or written.
    """
    tensors = _encoder_tensors(sources, num_layers)
    header = _header(tensors)
    temporary = target.with_name(f".tmp.{target.name}")
    digest = hashlib.sha256(header)
    try:
        with temporary.open("wb") as file:
            file.write(header)
            for tensor in tensors.values():
                for block in _blocks(tensor):
                    file.write(block)
                    digest.update(block)
            file.flush()
            os.fsync(file.fileno())
        read_header(temporary)  # raises when it is not as long as its header says
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def _encoder_tensors(sources: Sequence[Path], num_layers: int) -> dict[str, StoredTensor]:
    """Returns the tensors of the copy in the order in which the sources hold them."""
    found: dict[str, StoredTensor] = {}
    for path in sources:
        try:
            found |= read_header(path)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    wanted = {name: tensor for name, tensor in found.items() if name == _SHARED or name.startswith("encoder.")}
    tied = wanted.pop(_TIED, None)
    if tied is not None:
        wanted.setdefault(_SHARED, tied)
    parts = [_SHARED, "encoder.final_layer_norm.weight", *(f"encoder.block.{n}." for n in range(num_layers))]
    missing = [part for part in parts if not any(name.startswith(part) for name in wanted)]
    if missing:
        names = ", ".join(path.name for path in sources)
        raise ValueError(f"{names}: not a complete T5 with {num_layers} layers: {missing[0]} is missing")
    order = list(sources)
    return dict(sorted(wanted.items(), key=lambda item: (order.index(item[1].path), item[1].offset, item[0])))


def _header(tensors: Mapping[str, StoredTensor]) -> bytes:
    entries, position = {}, 0
    for name, tensor in tensors.items():
        end = position + tensor.num_bytes
        entries[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps({"__metadata__": {"format": "pt"}} | entries).encode()
    text += b" " * (-len(text) % 8)  # the format wants tensors aligned to eight bytes
    return len(text).to_bytes(8, "little") + text


def _blocks(tensor: StoredTensor) -> Iterator[bytes]:
    """Yields the elements of a tensor in row-major order."""
    with tensor.path.open("rb") as file:
        file.seek(tensor.offset)
        if tensor.is_contiguous:
            left = tensor.num_bytes
            while left:
                block = file.read(min(left, _BLOCK_BYTES))
                if not block:
                    raise ValueError(f"{tensor.path.name} is truncated")
                left -= len(block)
                yield block
            return
        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
        item = ITEM_BYTES[tensor.dtype]
        stored = np.fromfile(file, _UNSIGNED[item], span)
        if len(stored) < span:
            raise ValueError(f"{tensor.path.name} is truncated")
        strides = [stride * item for stride in tensor.strides]
        rows = np.lib.stride_tricks.as_strided(stored, tensor.shape, strides, writeable=False)
        # A few rows at a time, to keep the transposed copy small.
        step = max(1, _BLOCK_BYTES // max(1, math.prod(tensor.shape[1:]) * item))
        for begin in range(0, tensor.shape[0], step):
            yield np.ascontiguousarray(rows[begin : begin + step]).tobytes()
