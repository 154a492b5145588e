"""Checks whether captions and embeddings belong together, by comparing items with each other."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from beam_curate.dataset.embedding_file import MAX_FILE_BYTES, MAX_TOKENS, load_embedding
from beam_curate.dataset.format import as_encoded, as_tokenized
from beam_curate.dataset.verify.faults import Fault, Item
from beam_curate.dataset.verify.files import LOCAL, Files

EQUAL_CAPTION_TOLERANCE = 0.01
"""Maximum difference between embeddings of one caption, which depend slightly on the batches they were encoded in.

cosmos-curate's tests of its encoder allow the same. Between different captions, the difference is several tenths.
"""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hashes of the caption and the embedding of an item, since not all embeddings fit in memory.

    Items with the same ``caption_hash`` must have the same embedding; only items with the same ``encoded_hash`` may.
    """

    item: Item
    caption_hash: bytes
    encoded_hash: bytes
    embedding_hash: bytes
    num_rows: int

    @classmethod
    def of(cls, item: Item, caption: str, embedding: np.ndarray) -> Pair:
        """Returns the pair of a caption and its embedding, float16 [n, 1024]."""
        return cls(
            item,
            hashlib.sha256(as_tokenized(caption).encode()).digest(),
            hashlib.sha256(as_encoded(caption).encode()).digest(),
            hashlib.sha256(embedding.tobytes()).digest(),
            len(embedding),
        )


def check_pairs(pairs: Iterable[Pair], files: Files = LOCAL) -> Iterator[Fault]:
    """Yields a fault for each item whose embedding cannot belong to its caption, given the other items.

    Different captions must have different embeddings, and equal captions equal ones; otherwise an embedding was
    paired with a wrong caption, or is older than its caption. All items of a contradiction are reported, since there is
    no telling which of them is right.

    >>> item, embedding = Item(Path("dataset"), "a"), np.ones((3, 1024), np.float16)
    >>> pairs = [Pair.of(item, caption, embedding) for caption in ("A red car.", "A blue car.")]
    >>> [fault.rule for fault in check_pairs(pairs)]
    ['shared_embedding', 'shared_embedding']

    Args:
        pairs: Of all items.
        files: Reads embeddings once more, where items have the same caption.

    Raises:
        EmbeddingFileError: An embedding changed since it was hashed.
        OSError: An embedding cannot be read any more.
    """
    by_embedding: dict[bytes, list[Pair]] = defaultdict(list)
    by_caption: dict[bytes, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_caption[pair.caption_hash].append(pair)
        if pair.num_rows < MAX_TOKENS:  # long captions may differ only beyond the encoded tokens
            by_embedding[pair.embedding_hash].append(pair)
    for group in by_embedding.values():
        yield from _shared_embedding(group)
    for group in by_caption.values():
        yield from _differing_embeddings(group, files)


def read_embedding(path: Path) -> np.ndarray:
    """Returns the array of an embedding file, float16 [n, 1024].

    >>> from tempfile import NamedTemporaryFile
    >>> from beam_curate.dataset.embedding_file import dump_embedding
    >>> with NamedTemporaryFile(suffix=".pickle") as file:
    ...     _ = file.write(dump_embedding(np.ones((7, 1024), np.float16))), file.flush()
    ...     read_embedding(Path(file.name)).shape
    (7, 1024)

    Raises:
        EmbeddingFileError: States what is wrong with the file.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:  # some other file may be larger than memory
        return load_embedding(file.read(MAX_FILE_BYTES + 1))


def _shared_embedding(group: list[Pair]) -> Iterator[Fault]:
    """Yields a fault for each of some items with the same embedding if their captions differ."""
    first = group[0]
    other = next((pair for pair in group if pair.encoded_hash != first.encoded_hash), None)
    if other is None:
        return
    for pair in group:
        shown = other if pair.encoded_hash == first.encoded_hash else first
        message = f"is also the embedding of {shown.item.stem}, whose caption is different"
        yield pair.item.fault("t5_xxl", "shared_embedding", message)


def _differing_embeddings(group: list[Pair], files: Files) -> Iterator[Fault]:
    """Yields a fault for each of some items with the same caption if their embeddings differ."""
    first, *others = {pair.embedding_hash: pair for pair in group}.values()
    other = next((pair for pair in others if not _nearly_equal(first.item, pair.item, files)), None)
    if other is None:
        return
    for pair in group:
        shown = other if pair.embedding_hash == first.embedding_hash else first
        message = f"differs from the embedding of {shown.item.stem}, whose caption is the same"
        yield pair.item.fault("t5_xxl", "differing_embedding", message)


def _nearly_equal(one: Item, other: Item, files: Files) -> bool:
    """Whether the embeddings of two items can belong to the same caption."""
    with files.reading(one.path("t5_xxl")) as first, files.reading(other.path("t5_xxl")) as second:
        left, right = read_embedding(first), read_embedding(second)
    if left.shape != right.shape:
        return False
    difference = np.abs(left.astype(np.float32) - right.astype(np.float32)).max()
    return bool(difference <= EQUAL_CAPTION_TOLERANCE)
