"""A bucket in the memory of a test, whose store has a clock of its own."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

from beam_curate.buckets.base import Bucket, ObjectFacts, missing


@dataclasses.dataclass(eq=False)
class MemoryBucket(Bucket):
    """Objects, with the time at which they were written by the clock of the store.

    Attributes:
        now_s: What that clock says; a test sets it.
    """

    now_s: float = 1_000_000.0
    _objects: dict[str, tuple[bytes, float]] = dataclasses.field(default_factory=dict)

    @property
    def url(self) -> str:
        return "s3://memory"

    def get(self, key: str) -> bytes:
        if key not in self._objects:
            raise missing(f"{self.url}/{key}")
        return self._objects[key][0]

    def stream(self, facts: ObjectFacts, start: int = 0) -> Iterator[bytes]:
        yield self.get(facts.key)[start:]

    def put(self, key: str, content: bytes | Path, sha256: str = "") -> str:
        data = content if isinstance(content, bytes) else content.read_bytes()
        self._objects[key] = data, self.now_s
        return hashlib.md5(data).hexdigest()

    def create(self, key: str, data: bytes) -> bool:
        if key in self._objects:
            return False
        self.put(key, data)
        return True

    def head(self, key: str) -> ObjectFacts | None:
        if key not in self._objects:
            return None
        data, written = self._objects[key]
        return ObjectFacts(key, len(data), hashlib.md5(data).hexdigest(), written)

    def copy(self, source: ObjectFacts, target: str) -> None:
        self.put(target, self.get(source.key))

    def _delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def list(self, prefix: str, *, folders: bool = False) -> Iterator[ObjectFacts | str]:
        found = (self.head(key) for key in sorted(self._objects) if key.startswith(prefix))
        yield from (one for one in found if one and not (folders and "/" in one.key[len(prefix) :]))

    def abort_uploads(self, prefix: str) -> int:
        return 0

    def check(self) -> None:
        pass
