"""Where a dataset lies: in a folder of this computer, or below a prefix of a bucket."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePath, PurePosixPath

from beam_curate.buckets.base import Bucket, ObjectFacts, missing
from beam_curate.buckets.download import holding
from beam_curate.buckets.file_cache import FileCache


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is in a folder under one name.

    Attributes:
        path: Its path.
        is_folder: Whether it is a folder, or leads to one.
        is_file: Whether it is a file, or leads to one.
        is_link: Whether it only leads there.
    """

    path: PurePath
    is_folder: bool
    is_file: bool
    is_link: bool = False


class Files(abc.ABC):
    """Lists and reads what a dataset consists of. Methods raise OSError where the disk or the bucket refuses.

    Attributes:
        origin: What stands before a path where a user reads it: ``s3://BUCKET/``, or nothing.
    """

    origin: str

    @abc.abstractmethod
    def is_folder(self, path: PurePath) -> bool:
        """Whether there is a folder of that path."""

    @abc.abstractmethod
    def exists(self, path: PurePath) -> bool:
        """Whether there is a file of that path."""

    @abc.abstractmethod
    def entries(self, folder: PurePath) -> Iterator[Entry]:
        """Yields what is in a folder."""

    @abc.abstractmethod
    def reading(self, path: PurePath) -> AbstractContextManager[Path]:
        """Gives a file on this computer with the content of one of the dataset, while the block lasts."""


class LocalFiles(Files):
    """Those of this computer.

    >>> LOCAL.is_folder(Path("/"))
    True
    """

    origin = ""

    def is_folder(self, path: PurePath) -> bool:
        """See `Files`."""
        return Path(path).is_dir()

    def exists(self, path: PurePath) -> bool:
        """See `Files`."""
        return Path(path).exists()

    def entries(self, folder: PurePath) -> Iterator[Entry]:
        """See `Files`."""
        for path in Path(folder).iterdir():
            yield Entry(path, path.is_dir(), path.is_file(), path.is_symlink())

    @contextlib.contextmanager
    def reading(self, path: PurePath) -> Iterator[Path]:
        """See `Files`."""
        yield Path(path)


LOCAL = LocalFiles()


@dataclasses.dataclass(frozen=True)
class BucketFiles(Files):
    """Those of a bucket; paths are keys. What is read lies in a cache of bounded size meanwhile.

    Attributes:
        bucket: The bucket.
        cache: For copies on this computer.
    """

    bucket: Bucket
    cache: FileCache

    @property
    def origin(self) -> str:  # type: ignore[override]
        """See `Files`."""
        return f"{self.bucket.url}/"

    def is_folder(self, path: PurePath) -> bool:
        """See `Files`: folders are what keys have in common."""
        return next(self.bucket.list(_prefix(path)), None) is not None

    def exists(self, path: PurePath) -> bool:
        """See `Files`."""
        return self.bucket.head(str(path)) is not None

    def entries(self, folder: PurePath) -> Iterator[Entry]:
        """See `Files`. The empty object that some tools make for a folder is not one of its files."""
        for found in self.bucket.list(_prefix(folder), folders=True):
            is_file = isinstance(found, ObjectFacts)
            key = found.key if isinstance(found, ObjectFacts) else found
            if key != _prefix(folder):
                yield Entry(PurePosixPath(key), not is_file, is_file)

    @contextlib.contextmanager
    def reading(self, path: PurePath) -> Iterator[Path]:
        """See `Files`."""
        facts = self.bucket.head(str(path))
        if facts is None:
            raise missing(f"{self.origin}{path}")
        with holding(self.bucket, facts, self.cache) as copy:
            yield copy


def _prefix(folder: PurePath) -> str:
    """Returns what the keys of all that is in a folder begin with."""
    return "" if folder == PurePosixPath() else f"{folder}/"
