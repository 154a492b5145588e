"""`Store`: everything that is read, written, listed or deleted below an output goes through one."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import enum
import os
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO, Any, ClassVar

from beam_curate.elements import StoredFile
from beam_curate.store.files import json_bytes, sha256_of

_ATTEMPTS = 10  # to read what another writer created, while a third one deletes it

Key = PurePosixPath | str
"""A POSIX path below the output, such as `beam_curate.store.layout` gives; never absolute, and without ``..``."""


class LockState(enum.Enum):
    """What a run knows of other runs on the same output."""

    EXCLUSIVE = "exclusive"  # there was no other when it began
    SHARED = "shared"  # another one is at work
    UNAVAILABLE = "unavailable"  # the storage has no locks


@dataclasses.dataclass(frozen=True)
class Freed:
    """What deleting a folder freed.

    Attributes:
        files: How many files were deleted.
        size_bytes: The space that they took; nothing for a file that is kept under another name.
    """

    files: int
    size_bytes: int


class Store(abc.ABC):
    """An output. Keys name what is in it; content is bytes.

    A store is sent to workers, so it can be pickled, and several processes on several computers may use one output at
    the same time. Methods raise OSError where the storage refuses, and FileNotFoundError where there is no key to
    read. `tests/beam_curate/store/test_contract.py` holds what every implementation must do.

    Attributes:
        shares_files: Whether a file can have several names; where it cannot, a copy of it costs its size again, and
            `keep` may write to the public name at once.
        counts_every_s: How often workers leave their counters, in s.
    """

    shares_files: ClassVar[bool]
    counts_every_s: ClassVar[float] = 1.0

    # Single values.

    @abc.abstractmethod
    def read(self, key: Key) -> bytes:
        """Returns the content of a key."""

    @abc.abstractmethod
    def write(self, key: Key, data: bytes) -> str:
        """Creates or replaces a key; a reader sees the old content or the new one. Returns its tag, see `list_tags`."""

    def write_if_absent(self, key: Key, data: bytes) -> bytes:
        """Creates a key unless it exists; of several writers at once exactly one succeeds.

        Returns:
            The content that is there now: ``data``, or that of the earlier writer.
        """
        for _ in range(_ATTEMPTS):
            if self._create(key, data):
                return data
            with contextlib.suppress(FileNotFoundError):  # it was deleted in between, or is a link to nowhere
                return self.read(key)
        self.write(key, data)
        return data

    @abc.abstractmethod
    def _create(self, key: Key, data: bytes) -> bool:
        """Creates a key unless it exists; returns whether it did."""

    @abc.abstractmethod
    def exists(self, key: Key) -> bool:
        """Whether a key is there."""

    @abc.abstractmethod
    def delete(self, key: Key) -> None:
        """Deletes a key; nothing happens when it is not there."""

    # Folders.

    @abc.abstractmethod
    def list_files(self, folder: Key, *, recursive: bool = False) -> list[PurePosixPath]:
        """Returns the keys in a folder, in a fixed order; none where there is no such folder."""

    @abc.abstractmethod
    def list_tags(self, folder: Key) -> Iterator[tuple[str, str]]:
        """Yields all keys below a folder, in a fixed order, each with a tag that changes with its content.

        Keys are texts here: there may be millions of them.
        """

    @abc.abstractmethod
    def list_modified(self, folder: Key) -> Iterator[tuple[str, float]]:
        """Yields all keys below a folder, each with the time when it was written, in s since 1970, by the storage."""

    @abc.abstractmethod
    def list_folders(self, folder: Key) -> list[PurePosixPath]:
        """Returns the folders in a folder, in a fixed order; none where there is no such folder."""

    def links(self, folder: Key) -> list[PurePosixPath]:
        """Returns the keys in a folder that lead elsewhere: what is there is not of this output and is not deleted."""
        return []

    @abc.abstractmethod
    def delete_folder(self, folder: Key, keys: Collection[Key] | None = None) -> None:
        """Deletes all keys below a folder, as far as the storage lets it; nothing happens when there are none.

        Args:
            folder: Which one.
            keys: All that is below it, where that is known: an object store then need not list it.
        """

    @abc.abstractmethod
    def reclaim(self, folder: Key) -> Freed:
        """Deletes all keys below a folder like `delete_folder`, but raises OSError where one cannot be deleted."""

    @abc.abstractmethod
    def delete_empty_folder(self, folder: Key) -> bool:
        """Deletes a folder if there is nothing in it. Returns whether it is gone."""

    # Files.

    @abc.abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """Gives a temporary folder on this computer, deleted at the end of the block.

        It is where `put_file` takes files from at the least cost: with a local store, on the output's own file system.
        """

    @abc.abstractmethod
    def put_file(self, path: Path, key: Key) -> None:
        """Moves a finished file from a `scratch` folder into the output, in one step as others see it."""

    @abc.abstractmethod
    def link(self, source: StoredFile, target: Key) -> None:
        """Creates or replaces a key with the content of a stored file, sharing its space where the storage can."""

    # Stored files, which never change; see `keep`.

    @abc.abstractmethod
    def reading(self, file: StoredFile) -> AbstractContextManager[Path]:
        """Gives a file on this computer with the content of a stored file while the block lasts; read only.

        Where the file is gone, entering the block raises FileNotFoundError, or opening the path does.
        """

    @abc.abstractmethod
    def has(self, file: StoredFile, *, content: bool = False) -> bool:
        """Whether a stored file is there with its size, among the program's own files and not by a link to others.

        With ``content`` it is read and has its hash, too.
        """

    @abc.abstractmethod
    def has_content_of(self, file: StoredFile, key: Key) -> bool:
        """Whether a key is there and has the content of a stored file."""

    @abc.abstractmethod
    def make_durable(self, keys: Iterable[Key]) -> None:
        """Waits until a power cut can take none of the keys; those that are not there are left out."""

    # The output as a whole.

    @abc.abstractmethod
    def location(self, key: Key = "") -> str:
        """Returns where a user finds a key, or the output itself: an absolute path or a URL."""

    @abc.abstractmethod
    def run_lock(self) -> AbstractContextManager[LockState]:
        """Shares the lock of the output while a run lasts and tells whether other runs have it.

        Two runs at once are allowed. Only a run that has the lock for itself deletes temporary files of killed runs,
        and only if no job goes on that one of them began; see `beam_curate.store.runs`.
        """

    @abc.abstractmethod
    def is_locked(self) -> bool | None:
        """Whether a run holds the lock of the output now; None where that cannot be told. Nothing is written."""

    def check_reachable(self) -> None:
        """Raises OSError where the storage does not answer or refuses to; nothing is written."""
        return

    def shared_folder(self, key: Key) -> Path | None:
        """Makes a folder that all computers of a cluster see at the same path; None where the storage has none."""
        return None

    @abc.abstractmethod
    def check_writable(self) -> str | None:
        """Creates the output where it is not there, and raises OSError when nothing can be written to it.

        Returns:
            What the storage cannot do and a user should know, as a sentence, or None.
        """

    @abc.abstractmethod
    def free_bytes(self) -> int | None:
        """Returns how much more the output takes, or None without a known limit."""

    def remove_leftovers(self) -> int:
        """Removes what killed runs left outside of all keys, such as unfinished uploads; returns how much it was."""
        return 0

    # What follows from the above.

    def write_json(self, key: Key, value: Any) -> str:
        """Writes JSON in its one form, see `beam_curate.store.files.json_bytes`; returns the tag of the key."""
        return self.write(key, json_bytes(value))

    def keep(self, path: Path, folder: Key, stem: str, public: Key | None = None) -> StoredFile:
        """Moves a finished file from a `scratch` folder into a folder, under a name that holds its hash.

        The name makes the file immutable: another attempt with other bytes gets another name, so a record can
        never point at a file it did not mean.

        Args:
            path: The file; it is gone afterwards.
            folder: Where it is kept.
            stem: What its name begins with.
            public: Where users will find it, if they will: a store that cannot share a file between two names keeps it
                there at once.

        Example:
            >>> import tempfile
            >>> from beam_curate.store.local import LocalStore
            >>> with tempfile.TemporaryDirectory() as folder, LocalStore(Path(folder)).scratch() as scratch:
            ...     (scratch / "made.mp4").touch()
            ...     LocalStore(Path(folder)).keep(scratch / "made.mp4", "clips", "a").path
            'clips/a.e3b0c44298fc1c14.mp4'
        """
        sha256, size_bytes = sha256_of(path), path.stat().st_size
        key = PurePosixPath(folder) / f"{stem}.{sha256[:16]}{path.suffix}"
        self.put_file(path, key)
        return StoredFile(str(key), size_bytes, sha256)

    def publish(self, file: StoredFile, key: Key) -> None:
        """Gives a key the content of a stored file; nothing is written when it has that already.

        Example:
            >>> import tempfile
            >>> from beam_curate.store.local import LocalStore
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     output = LocalStore(Path(folder))
            ...     with output.scratch() as scratch:
            ...         _ = (scratch / "made.mp4").write_bytes(b"a clip")
            ...         stored = output.keep(scratch / "made.mp4", "files", "a")
            ...     output.publish(stored, "clips/a.mp4")
            ...     output.read("clips/a.mp4")
            b'a clip'
        """
        if not self.has_content_of(file, key):
            self.link(file, key)

    @contextlib.contextmanager
    def writing(self, key: Key) -> Iterator[IO[bytes]]:
        r"""Gives a file whose content a key has at the end of the block; where the block fails, nothing is written.

        Example:
            >>> import tempfile
            >>> from beam_curate.store.local import LocalStore
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     output = LocalStore(Path(folder))
            ...     with output.writing("lines") as file:
            ...         file.writelines([b"one\n", b"two\n"])
            ...     output.read("lines")
            b'one\ntwo\n'
        """
        with self.scratch() as scratch:
            path = scratch / "written"
            with path.open("wb") as file:
                yield file
            self.put_file(path, key)


def unique_name() -> str:
    """Returns a name that no other process chooses.

    Example:
        >>> unique_name() == unique_name()
        False
    """
    return f"{os.getpid()}-{uuid.uuid4().hex}"
