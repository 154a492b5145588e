"""Locks on files that processes and threads share; the system ends them with the process that holds them.

The lock belongs to the file and not to its name, so whoever deletes a locked file lets others lock a new one of that
name. What was locked is therefore compared with what is at the path then, and where these differ, all begins again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import io
import os
import stat
import time
from pathlib import Path

HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES)
"""What a lock that cannot be had says; the second is how some network file systems say it."""


@dataclasses.dataclass(frozen=True)
class Flock:
    """A lock that is held until the end of the ``with`` block.

    Attributes:
        path: Where the locked file was when it was locked.
        file: The open file.
    """

    path: Path
    file: io.FileIO

    def __enter__(self) -> Flock:
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self.file, fcntl.LOCK_UN)  # closing alone would leave it to a process forked in the meantime
        self.file.close()

    def is_in_force(self) -> bool:
        """Whether the file is still at its path, so that nobody else can have locked what is there."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self.file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def delete(self) -> None:
        """Deletes the file, unless it is no longer at its path."""
        if self.is_in_force():
            self.path.unlink(missing_ok=True)

    def touch(self) -> None:
        """Enters now as the time of the last change, where the owner of the file allows it."""
        now_ns = time.time_ns()
        with contextlib.suppress(OSError):
            os.utime(self.file.fileno(), ns=(now_ns, now_ns))


def take(path: Path) -> Flock:
    """Locks a file for one alone, waiting for others. The file and its folder are made where they are not there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, take(Path(folder, "new", "lock")) as lock:
    ...     lock.is_in_force(), try_take(lock.path)
    (True, None)

    Raises:
        OSError: The file cannot be made or opened, or the file system has no locks.
    """
    taken = _lock(path, fcntl.LOCK_EX, create=True)
    assert taken is not None
    return taken


def try_take(path: Path, *, create: bool = False) -> Flock | None:
    """Locks a file for one alone, or returns None where another has locked it, or where it is not there.

    Args:
        path: The file.
        create: Whether it and its folder are made where they are not there.

    Raises:
        OSError: As in `take`.
    """
    return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB, create=create)


def pin(path: Path) -> Flock | None:
    """Locks a file against those who would take it alone, together with all who pin it; None where it is not there.

    Raises:
        OSError: As in `take`.
    """
    return _lock(path, fcntl.LOCK_SH, create=False)


def make_folder(path: Path) -> None:
    """Makes a folder where it is not there, whoever else makes or deletes it at the same time.

    Raises:
        OSError: It cannot be made.
    """
    while True:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            continue  # someone deleted the folder that it is in
        except FileExistsError as error:
            if os.path.lexists(error.filename) and not os.path.isdir(error.filename):
                raise
            continue  # someone deleted it after it was found to be there
        return


def own_folder(path: str) -> str:
    """Makes a folder that no other user can enter, where it is not there, in one that all can write to.

    Returns:
        The path.

    Raises:
        PermissionError: It is there, and others made it or can write to it, so that they choose what is in it.
        OSError: It cannot be made.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        try:
            facts = os.lstat(path)
        except FileNotFoundError:
            continue  # someone deleted it after it was found to be there
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022:
            return path
        # Without an errno, for which other advice is given: its owner must not be changed.
        raise PermissionError(
            f"{path}: others may have put files into it; delete it, or name a folder of your own with --cache-path"
        )


def without_links(path: str, flags: int) -> int:
    """Opens a file for `open`, unless a link is in its place: who put that there chooses what is read or overwritten.

    >>> open("/proc/self/exe", "rb", opener=without_links)
    Traceback (most recent call last):
        ...
    OSError: [Errno 40] a link is in the place of a file of the cache; delete it: '/proc/self/exe'
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "a link is in the place of a file of the cache; delete it", str(path)) from error


def _lock(path: Path, operation: int, *, create: bool) -> Flock | None:
    while True:
        try:
            if create:
                make_folder(path.parent)
            file = io.FileIO(path, "a" if create else "r", opener=without_links)
        except FileNotFoundError:
            if create:
                continue  # someone deletes the folder right now
            return None
        with contextlib.ExitStack() as stack:
            stack.callback(file.close)
            if not _flock(file, path, operation):
                return None
            lock = Flock(path, file)
            if lock.is_in_force():
                stack.pop_all()
                return lock


def _flock(file: io.FileIO, path: Path, operation: int) -> bool:
    try:
        fcntl.flock(file, operation)
    except OSError as error:
        if operation & fcntl.LOCK_NB and error.errno in HELD_BY_ANOTHER:
            return False
        raise OSError(error.errno, error.strerror, str(path)) from error
    return True
