"""The output below a prefix of a bucket."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import ClassVar

from beam_curate.buckets.base import Bucket, BucketError, ObjectFacts, missing
from beam_curate.buckets.download import download
from beam_curate.buckets.file_cache import FileCache
from beam_curate.elements import StoredFile
from beam_curate.errors import OutputError
from beam_curate.store import layout, lease
from beam_curate.store.base import Freed, Key, LockState, Store, unique_name
from beam_curate.store.files import sha256_of

_OWN = (layout.FILES, layout.CLIPS)  # where files of stages are
_SHA256 = re.compile("[0-9a-f]{64}")
_NO_CONDITIONS = (
    "this object store does not refuse to create what exists: of two runs that write to this output at the same time, "
    "the last one to write a record wins"
)


@dataclasses.dataclass(frozen=True)
class ObjectStore(Store):
    """Objects whose keys begin with a prefix. A file that was uploaded carries its SHA-256 as metadata.

    Attributes:
        bucket: Where they are.
        prefix: Without a ``/`` at its end; "" for the whole bucket.
        cache: Files on this computer, of objects that were read or written here.
    """

    bucket: Bucket
    prefix: str
    cache: FileCache

    shares_files: ClassVar[bool] = False
    counts_every_s: ClassVar[float] = 30.0  # each time costs a request of each worker

    def read(self, key: Key) -> bytes:
        """See `Store.read`."""
        return self.bucket.get(self._name(key))

    def write(self, key: Key, data: bytes) -> str:
        """See `Store.write`."""
        return self.bucket.put(self._name(key), data)

    def _create(self, key: Key, data: bytes) -> bool:
        """See `Store`; where the store has no conditional writes, the last of several at once wins."""
        return self.bucket.create(self._name(key), data)

    def exists(self, key: Key) -> bool:
        """See `Store.exists`."""
        return self.bucket.head(self._name(key)) is not None

    def _any_below(self, folder: Key) -> bool:
        return next(self.bucket.list(self._below(folder)), None) is not None

    def delete(self, key: Key) -> None:
        """See `Store.delete`."""
        self.bucket.delete([self._name(key)])

    def list_files(self, folder: Key, *, recursive: bool = False) -> list[PurePosixPath]:
        """See `Store.list_files`."""
        found = self.bucket.list(self._below(folder), folders=not recursive)
        return [self._key(one.key) for one in found if isinstance(one, ObjectFacts)]

    def list_tags(self, folder: Key) -> Iterator[tuple[str, str]]:
        """See `Store.list_tags`."""
        start = len(self._below(""))
        return ((one.key[start:], one.etag) for one in self.facts(folder))

    def list_modified(self, folder: Key) -> Iterator[tuple[str, float]]:
        """See `Store.list_modified`."""
        start = len(self._below(""))
        return ((one.key[start:], one.modified_s) for one in self.facts(folder))

    def list_folders(self, folder: Key) -> list[PurePosixPath]:
        """See `Store.list_folders`."""
        found = self.bucket.list(self._below(folder), folders=True)
        return [self._key(one) for one in found if isinstance(one, str)]

    def delete_folder(self, folder: Key, keys: Collection[Key] | None = None) -> None:
        """See `Store.delete_folder`."""
        with contextlib.suppress(OSError):
            if keys is None:
                self.bucket.delete(one.key for one in self.facts(folder))
            else:
                self.bucket.delete(map(self._name, keys))

    def reclaim(self, folder: Key) -> Freed:
        """See `Store.reclaim`."""
        objects = list(self.facts(folder))
        self.bucket.delete(one.key for one in objects)
        return Freed(len(objects), sum(one.size_bytes for one in objects))

    def delete_empty_folder(self, folder: Key) -> bool:
        """See `Store.delete_empty_folder`: folders are what keys have in common, so an empty one is not there."""
        return not self._any_below(folder)

    def scratch(self) -> AbstractContextManager[Path]:
        """See `Store.scratch`."""
        return self.cache.scratch()

    def put_file(self, path: Path, key: Key) -> None:
        """See `Store.put_file`."""
        self.bucket.put(self._name(key), path)
        path.unlink()

    @contextlib.contextmanager
    def reading(self, file: StoredFile) -> Iterator[Path]:
        """See `Store.reading`: it is downloaded, unless this computer has it.

        Raises:
            OutputError: It has other content now: another run has replaced it.
        """

        def fetch(path: Path) -> None:
            facts = self.bucket.head(self._name(file.path))
            if facts is None:
                raise missing(self.location(file.path))
            download(self.bucket, facts, path)
            if sha256_of(path) != file.sha256:
                path.unlink()
                raise OutputError(f"{self.location(file.path)} was replaced, by another run with other options")

        with self.cache.holding(_cached(file), file.size_bytes, fetch) as path:
            yield path

    def keep(self, path: Path, folder: Key, stem: str, public: Key | None = None) -> StoredFile:
        """See `Store.keep`. The file stays on this computer for the next stages, as far as the cache has room."""
        sha256, size_bytes = sha256_of(path), path.stat().st_size
        key = PurePosixPath(public or PurePosixPath(folder) / f"{stem}.{sha256[:16]}{path.suffix}")
        file = StoredFile(str(key), size_bytes, sha256)
        self.bucket.put(self._name(key), path, sha256)
        self.cache.adopt(_cached(file), path)
        return file

    def link(self, source: StoredFile, target: Key) -> None:
        """See `Store.link`: a copy that the store makes itself."""
        facts = self.bucket.head(self._name(source.path))
        if facts is None:
            raise missing(self.location(source.path))
        if facts.sha256 != source.sha256:
            raise OutputError(f"{self.location(source.path)} was replaced, by another run with other options")
        if self._name(source.path) != self._name(target):
            self.bucket.copy(facts, self._name(target))

    def has(self, file: StoredFile, *, content: bool = False) -> bool:
        """See `Store.has`."""
        path = PurePosixPath(file.path)
        if ".." in path.parts or not any(path.is_relative_to(folder) for folder in _OWN):
            return False
        if not _SHA256.fullmatch(file.sha256):  # it becomes part of the name of a file in the cache
            return False
        facts = self.bucket.head(self._name(path))
        if facts is None or not 0 < facts.size_bytes == file.size_bytes or facts.sha256 != file.sha256:
            return False
        return not content or self._sha256(facts) == file.sha256

    def has_content_of(self, file: StoredFile, key: Key) -> bool:
        """See `Store.has_content_of`."""
        facts = self.bucket.head(self._name(key))
        if facts is None or facts.size_bytes != file.size_bytes:
            return False
        return (facts.sha256 or self._sha256(facts)) == file.sha256

    def _sha256(self, facts: ObjectFacts) -> str:
        digest = hashlib.sha256()
        for block in self.bucket.stream(facts):
            digest.update(block)
        return digest.hexdigest()

    def make_durable(self, keys: Iterable[Key]) -> None:
        """See `Store.make_durable`: what a store has answered for is durable."""

    def location(self, key: Key = "") -> str:
        """See `Store.location`."""
        return f"{self.bucket.url}/{self._name(key)}".rstrip("/")

    def run_lock(self) -> AbstractContextManager[LockState]:
        """See `Store.run_lock`."""
        return lease.lease(self)

    def is_locked(self) -> bool:
        """See `Store.is_locked`."""
        return lease.is_held(self)

    def check_reachable(self) -> None:
        """See `Store.check_reachable`: the bucket is there, and can be listed."""
        if (size := len(self.prefix.encode())) > layout.PREFIX_MAX_BYTES:
            raise BucketError(
                f"{self.location()}: the prefix has {size} bytes, which leaves too few for what is written there; "
                f"name one of at most {layout.PREFIX_MAX_BYTES}"
            )
        self.bucket.check()

    def check_writable(self) -> str | None:
        """See `Store.check_writable`: the bucket has to be there."""
        self.check_reachable()
        probe = self._name(layout.TMP / f"probe-{unique_name()}")
        try:
            creates_once = self.bucket.creates_once(probe)
        finally:
            self.bucket.delete([probe])
        return None if creates_once else _NO_CONDITIONS

    def free_bytes(self) -> None:
        """See `Store.free_bytes`."""
        return

    def remove_leftovers(self) -> int:
        """See `Store.remove_leftovers`: parts of uploads that were interrupted."""
        return self.bucket.abort_uploads(self._below(""))

    def facts(self, folder: Key) -> Iterator[ObjectFacts]:
        """Yields what the store says of each object below a folder."""
        return (one for one in self.bucket.list(self._below(folder)) if isinstance(one, ObjectFacts))

    def _name(self, key: Key) -> str:
        """Returns the name in the bucket; ValueError for a key that leads out of the output."""
        path = PurePosixPath(key)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{key} leads out of {self.bucket.url}/{self.prefix}")
        return "/".join(part for part in (self.prefix, "" if path == PurePosixPath() else str(path)) if part)

    def _below(self, folder: Key) -> str:
        """Returns what the names of all objects in a folder begin with."""
        name = self._name(folder)
        return f"{name}/" if name else ""

    def _key(self, name: str) -> PurePosixPath:
        return PurePosixPath(name[len(self._below("")) :])


def _cached(file: StoredFile) -> str:
    return file.sha256 + PurePosixPath(file.path).suffix
