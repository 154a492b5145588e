"""`FileCache`: files that were fetched from afar, in a folder of bounded size that all processes of a machine share.

In the folder are

    files/NAME              whole files; whoever uses one pins it, and only what nobody has pinned is deleted
    unfinished/NAME         what was fetched so far of others
    unfinished/.NAME.lock   the claim of who fetches it, locked for as long, and as long as the file will be (without
                            taking up space), so that others can reckon with it
    scratch/ID, ID.lock     temporary folders, and what their users have locked
    lock                    locked while someone reckons how much room there is

Whatever a killed process leaves is therefore free for all: locks end with it, and the rest is resumed or deleted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from beam_curate.buckets import flocks
from beam_curate.buckets.flocks import Flock

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TRIES = 10  # where others delete the folder


@dataclasses.dataclass(frozen=True)
class FileCache:
    """Files by name, fetched once for all that want them; the least recently used ones make room for others.

    What is in use is never deleted. Where the files in use need more than the bound, it is exceeded for as long.
    Names can be names of files, and do not begin with a dot. The folder may be deleted at any time by others, such as
    the system's cleaning of temporary files; what is lost is fetched again.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = FileCache(folder, max_bytes=1000)
    ...     with cache.holding("a.txt", 5, lambda path: path.write_text("hello")) as path:
    ...         path.read_text()
    'hello'

    Attributes:
        folder: Where it is, made where it is not there; "" for one of the user in the system's temporary folder.
        max_bytes: Bound of the size of all files, in bytes.
    """

    folder: str = ""
    max_bytes: int = 20_000_000_000

    @property
    def _root(self) -> str:
        if self.folder:
            return self.folder
        return flocks.own_folder(os.path.join(tempfile.gettempdir(), f"beam-curate-cache-{os.getuid()}"))

    @contextlib.contextmanager
    def holding(self, name: str, size_bytes: int, fetch: Callable[[Path], object]) -> Iterator[Path]:
        """Gives the file of a name, which is not deleted while the block lasts.

        Args:
            name: Stands for one content; the file has the same suffix.
            size_bytes: Size of the content.
            fetch: Makes the file at a path in the cache where it is not there. What an earlier try left at the path
                is there again. Where several want a file at once, one fetches it and the others wait.

        Raises:
            OSError: The disk is full, or the folder cannot be made, read or written; with the path.
            PermissionError: The default folder is not this user's alone.
            ValueError: The name leads out of the folder, or begins with a dot.
        """
        with flocks.pin(self._whole(name)) or self._fetched(name, size_bytes, fetch) as held:
            try:
                yield held.path
            finally:
                held.touch()

    def adopt(self, name: str, path: Path) -> None:
        """Takes over a local file as that of a name. It is gone from its path then.

        It is not kept where there is one already, where it does not fit beside what is in use, or on a full disk.

        Raises:
            OSError: There is no file, or the folder cannot be made or written.
        """
        size_bytes = path.stat().st_size
        try:
            if size_bytes <= self.max_bytes:
                self._move_in(name, path, size_bytes)
        except OSError as error:
            if error.errno not in (*_FULL, errno.ENOENT):  # the latter where the folder was deleted meanwhile
                raise
        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Gives a new folder on the disk of the cache, which is deleted at the end; its content counts for no bound.

        Raises:
            OSError: The folder cannot be made.
        """
        folder = Path(self._root, "scratch")
        for name, _ in _listed(folder):
            if name.endswith(".lock") and (of_the_killed := flocks.try_take(folder / name)) is not None:
                with of_the_killed:
                    _delete_scratch(of_the_killed)
        with flocks.take(folder / f"{uuid.uuid4().hex}.lock") as lock:
            try:
                path = lock.path.with_suffix("")
                flocks.make_folder(path)
                yield path
            finally:
                _delete_scratch(lock)

    def _whole(self, name: str) -> Path:
        return Path(self._root, "files", _checked(name))

    def _unfinished(self, name: str) -> Path:
        return Path(self._root, "unfinished", name)

    @contextlib.contextmanager
    def _claimed(self, name: str, *, wait: bool = True) -> Iterator[Flock | None]:
        """Gives the right, to one at a time, to make or delete an unfinished file; None where another has it."""
        path = self._unfinished(f".{name}.lock")
        claim = flocks.take(path) if wait else flocks.try_take(path, create=True)
        if claim is None:
            yield None
            return
        with claim:
            try:
                yield claim
            finally:
                claim.delete()

    def _fetched(self, name: str, size_bytes: int, fetch: Callable[[Path], object]) -> Flock:
        """Fetches a file unless another has done so, and returns it pinned; again where the folder is deleted."""
        for more_tries in reversed(range(_TRIES)):
            try:
                return self._fetched_once(name, size_bytes, fetch)
            except FileNotFoundError as error:
                if not more_tries or not str(error.filename).startswith(os.path.join(self._root, "")):
                    raise
            except OSError as error:
                if error.errno in _FULL and error.filename is None:
                    raise OSError(error.errno, error.strerror, self._root) from error
                raise
        raise AssertionError("the last try returns or raises")

    def _fetched_once(self, name: str, size_bytes: int, fetch: Callable[[Path], object]) -> Flock:
        with self._claimed(name) as claim:
            assert claim is not None
            if (held := flocks.pin(self._whole(name))) is not None:
                return held
            self._make_room(claim, name, size_bytes)
            fetch(self._unfinished(name))
            return self._finished(claim, name)

    def _move_in(self, name: str, path: Path, size_bytes: int) -> None:
        """Moves a local file in, unless it is there or being fetched, or does not fit."""
        with self._claimed(name, wait=False) as claim:
            if claim is None or self._whole(name).exists() or not self._make_room(claim, name, size_bytes):
                return
            unfinished = self._unfinished(name)
            unfinished.unlink(missing_ok=True)  # a copy from another disk would be written through a link
            try:
                shutil.move(path, unfinished)
            except OSError:
                unfinished.unlink(missing_ok=True)  # it may be a copy from another disk, begun
                raise
            with self._finished(claim, name) as held:
                held.touch()

    def _finished(self, claim: Flock, name: str) -> Flock:
        """Moves a file to the whole ones, pinned before others can see it, since they may delete it at once.

        Raises:
            FileNotFoundError: It is not there, or the folder was deleted since the file was claimed.
        """
        unfinished, whole = self._unfinished(name), self._whole(name)
        flocks.make_folder(whole.parent)
        held = flocks.pin(unfinished)
        if held is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(unfinished))
        with contextlib.ExitStack() as stack:
            stack.enter_context(held)
            if not claim.is_in_force():  # then another may be fetching to the same path
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(claim.path))
            unfinished.replace(whole)
            stack.pop_all()
        return dataclasses.replace(held, path=whole)

    def _make_room(self, claim: Flock, name: str, size_bytes: int) -> bool:
        """Deletes what was not used for longest until a file fits, and enters its size; returns whether it fits."""
        with flocks.take(Path(self._root, "lock")):
            others = self._entries(but=name)
            excess = sum(other.size_bytes for other in others) + size_bytes - self.max_bytes
            for other in sorted(others, key=lambda other: other.used_ns):
                if excess > 0 and self._evicted(other):
                    excess -= other.size_bytes
            claim.file.truncate(size_bytes)
        return excess <= 0

    def _entries(self, but: str) -> list[_Entry]:
        """Returns what takes up room, or will, other than the file of a name."""
        entries: dict[str, _Entry] = {}
        for found, facts in _listed(Path(self._root, "unfinished")):
            name = found.removeprefix(".").removesuffix(".lock")
            if found != name:
                with self._claimed(name, wait=False) as of_the_killed:
                    if of_the_killed is not None:
                        continue  # and the claim is deleted
            size_bytes = max(facts.st_size, entries[name].size_bytes if name in entries else 0)
            entries[name] = _Entry(name, size_bytes, facts.st_mtime_ns, is_whole=False)
        for name, facts in _listed(Path(self._root, "files")):  # last, since that is where the others move
            entries[name] = _Entry(name, facts.st_size, facts.st_mtime_ns, is_whole=True)
        entries.pop(but, None)
        return list(entries.values())

    def _evicted(self, entry: _Entry) -> bool:
        """Deletes a file, unless it is in use or being fetched."""
        if not entry.is_whole:
            with self._claimed(entry.name, wait=False) as claim, contextlib.suppress(FileNotFoundError):
                if claim is not None:
                    self._unfinished(entry.name).unlink()  # not there where it has become whole meanwhile
                    return True
            return False
        lock = flocks.try_take(self._whole(entry.name))
        if lock is None:
            return False
        with lock:
            lock.delete()
        return True


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A file of the cache: for a whole one, when it was last used, else when it was last written."""

    name: str
    size_bytes: int
    used_ns: int
    is_whole: bool


def _listed(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yields the names in a folder, and facts of those that are still there then."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, entry.stat()


def _checked(name: str) -> str:
    """Returns a name; it may come from a record that others have changed."""
    if "/" in name or name.startswith("."):
        raise ValueError(f"{name} cannot be the name of a file in the cache")
    return name


def _delete_scratch(lock: Flock) -> None:
    path = lock.path.with_suffix("")
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        lock.delete()
