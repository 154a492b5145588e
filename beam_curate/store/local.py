"""The output as a folder: of this computer, or of a file system that all workers mount at the same path."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import ClassVar

from beam_curate.elements import StoredFile
from beam_curate.store import layout, run_lock
from beam_curate.store.base import Freed, Key, LockState, Store, unique_name
from beam_curate.store.files import copy_file, sha256_of

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS)  # file systems that cannot, or need not
_PROBE_BYTES = 4096  # an empty file fits on a full disk


@dataclasses.dataclass(frozen=True)
class LocalStore(Store):
    """Files below a folder. Writing is a temporary name on the same file system, then a rename.

    Attributes:
        root: Absolute path of the folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     output = LocalStore(Path(folder))
        ...     output.write_if_absent("records/a.json", b"{}")
        ...     output.write_if_absent("records/a.json", b"too late")
        ...     output.list_files("records")
        b'{}'
        b'{}'
        [PurePosixPath('records/a.json')]
    """

    shares_files: ClassVar[bool] = True  # a file system without links is rare, and its copies do no harm

    root: Path

    def read(self, key: Key) -> bytes:
        """See `Store.read`."""
        return self._path(key).read_bytes()

    def write(self, key: Key, data: bytes) -> str:
        """See `Store.write`."""
        with self._temporary() as temporary:
            temporary.write_bytes(data)
            tag = _tag(temporary.stat())
            self._move(temporary, key)
        return tag

    def _create(self, key: Key, data: bytes) -> bool:
        """See `Store`. Where links are refused, a reader may see the beginning of the content."""
        path = self._path(key)
        with self._temporary() as temporary:
            temporary.write_bytes(data)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    raise
                except OSError:
                    with path.open("xb") as file:
                        file.write(data)
            except FileExistsError:
                return False
        return True

    def exists(self, key: Key) -> bool:
        """See `Store.exists`; a link to nowhere exists."""
        return os.path.lexists(self._path(key))

    def delete(self, key: Key) -> None:
        """See `Store.delete`."""
        self._path(key).unlink(missing_ok=True)

    def list_files(self, folder: Key, *, recursive: bool = False) -> list[PurePosixPath]:
        """See `Store.list_files`; links to folders are not followed."""
        files, folders = self._entries(folder)
        for below in folders if recursive else ():
            if not self._path(below).is_symlink():
                files += self.list_files(below, recursive=True)
        return files

    def list_tags(self, folder: Key) -> Iterator[tuple[str, str]]:
        """See `Store.list_tags`: size and time of the last change; links to folders are not followed."""
        return ((key, _tag(facts)) for key, facts in self._facts(folder))

    def list_modified(self, folder: Key) -> Iterator[tuple[str, float]]:
        """See `Store.list_modified`; links to folders are not followed."""
        return ((key, facts.st_mtime) for key, facts in self._facts(folder))

    def _facts(self, folder: Key) -> Iterator[tuple[str, os.stat_result]]:
        root = self._path(folder)
        start = len(str(self.root)) + 1
        pending = [str(root)]
        while pending:
            try:
                with os.scandir(pending.pop()) as scan:
                    entries = sorted(scan, key=_name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # it was deleted meanwhile
                    continue
                yield entry.path[start:], facts

    def list_folders(self, folder: Key) -> list[PurePosixPath]:
        """See `Store.list_folders`."""
        return self._entries(folder)[1]

    def links(self, folder: Key) -> list[PurePosixPath]:
        """See `Store.links`: symbolic links."""
        try:
            with os.scandir(self._path(folder)) as scan:
                return sorted(PurePosixPath(folder) / entry.name for entry in scan if entry.is_symlink())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _entries(self, folder: Key) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
        """Returns the files and the folders in a folder."""
        try:
            with os.scandir(self._path(folder)) as scan:
                entries = sorted((entry.name, entry.is_dir()) for entry in scan)
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        key = PurePosixPath(folder)
        return [key / name for name, is_dir in entries if not is_dir], [
            key / name for name, is_dir in entries if is_dir
        ]

    def delete_folder(self, folder: Key, keys: Collection[Key] | None = None) -> None:
        """See `Store.delete_folder`."""
        shutil.rmtree(self._path(folder), ignore_errors=True)

    def reclaim(self, folder: Key) -> Freed:
        """See `Store.reclaim`; links are deleted and not followed."""
        path = self._path(folder)
        files = size_bytes = 0
        for parent, _, names in os.walk(path):
            for name in names:
                facts = os.lstat(os.path.join(parent, name))
                files += 1
                size_bytes += facts.st_size if facts.st_nlink == 1 and stat.S_ISREG(facts.st_mode) else 0
        if path.exists():
            shutil.rmtree(path)
        return Freed(files, size_bytes)

    def delete_empty_folder(self, folder: Key) -> bool:
        """See `Store.delete_empty_folder`."""
        path = self._path(folder)
        with contextlib.suppress(OSError):  # it is not there, or there is something in it
            path.rmdir()
        return not path.is_dir()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """See `Store.scratch`."""
        folder = self.root / layout.TMP / unique_name()
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put_file(self, path: Path, key: Key) -> None:
        """See `Store.put_file`."""
        self._move(path, key)

    def link(self, source: StoredFile, target: Key) -> None:
        """See `Store.link`: a hard link, or a copy where links are refused."""
        path = self._path(source.path)
        # Renaming one name of a file onto another of its names does nothing, so the temporary one may remain.
        with self._temporary() as temporary:
            try:
                os.link(path, temporary)
            except FileNotFoundError:
                raise
            except OSError:
                copy_file(path, temporary)
            self._move(temporary, target)

    def reading(self, file: StoredFile) -> AbstractContextManager[Path]:
        """See `Store.reading`: the file itself."""
        return contextlib.nullcontext(self._path(file.path))

    def has(self, file: StoredFile, *, content: bool = False) -> bool:
        """See `Store.has`."""
        try:
            path = self._path(file.path)
            facts = path.lstat()
        except (OSError, ValueError):
            return False
        sound = stat.S_ISREG(facts.st_mode) and 0 < facts.st_size == file.size_bytes
        return sound and self._is_own(path) and (not content or sha256_of(path) == file.sha256)

    def _is_own(self, path: Path) -> bool:
        """Whether a path leads to something below the folder of stored files, links followed."""
        return os.path.realpath(path).startswith(os.path.realpath(self.root / layout.FILES) + os.sep)

    def has_content_of(self, file: StoredFile, key: Key) -> bool:
        """See `Store.has_content_of`."""
        path = self._path(key)
        try:
            if path.samefile(self._path(file.path)):
                return True
            return path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256
        except FileNotFoundError:
            return False

    def make_durable(self, keys: Iterable[Key]) -> None:
        """See `Store.make_durable`: of the files and of the folders that name them.

        Most are on the disk by then, and waiting for one of them brings the others, so that this is cheaper than
        waiting at each write.
        """
        folders: set[PurePosixPath] = set()
        for key in keys:
            _sync(self._path(key))
            folders.update(PurePosixPath(key).parents)
        for folder in folders:
            _sync(self.root / folder)

    def location(self, key: Key = "") -> str:
        """See `Store.location`."""
        return str(self._path(key))

    def run_lock(self) -> AbstractContextManager[LockState]:
        """See `Store.run_lock`."""
        return run_lock.run_lock(self.root / layout.WORK, self._clear)

    def _clear(self) -> LockState:
        """Deletes what killed runs left unless a job goes on that one of them began; never through a link."""
        from beam_curate.store.runs import Runs  # what has nothing to do needs no validation

        runs = Runs(self)
        if runs.going_on(self._now_s):
            return LockState.SHARED
        work, tmp = self.root / layout.WORK, self.root / layout.TMP
        if not work.is_symlink() and not tmp.is_symlink():
            shutil.rmtree(tmp, ignore_errors=True)
        if not work.is_symlink() and not (self.root / layout.RUNS).is_symlink():
            runs.clear()
        return LockState.EXCLUSIVE

    def _now_s(self) -> float:
        """Returns the time by the clock of the file system, which may be another computer's."""
        try:
            with self._temporary() as probe:
                probe.touch()
                return probe.stat().st_mtime
        except OSError:  # it is full, perhaps
            return time.time()

    def is_locked(self) -> bool | None:
        """See `Store.is_locked`."""
        return run_lock.is_locked(self.root / layout.WORK)

    def shared_folder(self, key: Key) -> Path:
        """See `Store.shared_folder`."""
        path = self._path(key)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = self.root / f".beam_curate_{uuid.uuid4().hex}"
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """See `Store.free_bytes`."""
        return shutil.disk_usage(self.root).free

    def _path(self, key: Key) -> Path:
        """Returns the file of a key, or where it would be.

        Raises:
            ValueError: The key leads out of the folder.
        """
        key = PurePosixPath(key)
        if key.is_absolute() or ".." in key.parts:
            raise ValueError(f"{key} leads out of {self.root}")
        return self.root / key

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """Gives an unused name on the output's file system; a file that has it at the end is deleted."""
        folder = self.root / layout.TMP
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / unique_name()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _move(self, path: Path, key: Key) -> None:
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _tag(facts: os.stat_result) -> str:
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _sync(path: Path) -> None:
    """Waits until a file or folder is on the disk; nothing happens when it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
