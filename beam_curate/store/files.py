"""Writing files so that nobody ever sees half of one: a temporary name on the same file system, then a rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from beam_curate.elements import StoredFile
from beam_curate.store import readback
from beam_curate.store.layout import Layout

_HASH_BLOCK_BYTES = 1 << 20
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS)  # file systems that cannot, or need not


def write_bytes(path: Path, data: bytes, tmp: Path) -> None:
    """Writes a file in one step as others see it; an existing file is replaced."""
    temporary = _temporary(tmp)
    try:
        temporary.write_bytes(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, tmp: Path) -> None:
    """Writes JSON with sorted keys, indent 4 and UTF-8, in one step."""
    write_bytes(path, json_bytes(value), tmp)


def json_bytes(value: Any) -> bytes:
    """Returns the one JSON form of a value: the same value always gives the same bytes."""
    return (json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any | None:
    """Returns the content of a JSON file, or None when it is missing or not valid JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def create(path: Path, data: bytes, tmp: Path) -> bool:
    """Writes a file unless it exists: of several writers at once exactly one succeeds.

    Where links are refused it is written in place, so a reader may meet the beginning of it.

    Returns:
        True when this call made the file.
    """
    temporary = _temporary(tmp)
    try:
        temporary.write_bytes(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            with path.open("xb") as file:
                file.write(data)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def link(source: Path, target: Path, tmp: Path) -> None:
    """Makes ``target`` the same file as ``source``, replacing what was there; a copy where links are refused."""
    temporary = _temporary(tmp)
    try:
        try:
            os.link(source, temporary)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            copy_file(source, temporary)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
    finally:
        # Renaming one name of a file onto another of its names does nothing, so the temporary may remain.
        temporary.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copies the content of a file."""
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_HASH_BLOCK_BYTES):
            writer.write(block)


def sha256_of(path: Path) -> str:
    """Returns the hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def scratch(layout: Layout) -> Iterator[Path]:
    """Gives a temporary folder on the output's file system, removed at the end."""
    folder = _temporary(layout.tmp)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(layout: Layout, file: Path, folder: Path, stem: str) -> StoredFile:
    """Moves a finished file into the result store under a name that holds its hash.

    The name makes the file immutable: another attempt with other bytes gets another name, so a record can
    never point at a file it did not mean.
    """
    sha256 = sha256_of(file)
    target = folder / f"{stem}.{sha256[:16]}{file.suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    size_bytes = file.stat().st_size
    file.replace(target)
    return StoredFile(target.relative_to(layout.root).as_posix(), size_bytes, sha256)


def is_there(layout: Layout, file: StoredFile, *, content: bool = False) -> bool:
    """Whether a stored file exists with its size, among the program's own files and not by a link to others.

    With ``content`` it is read and has its hash, too.
    """
    path = layout.stored(file)
    try:
        facts = path.lstat()
    except (OSError, ValueError):
        return False
    sound = stat.S_ISREG(facts.st_mode) and 0 < facts.st_size == file.size_bytes
    return sound and readback.inside(path, layout.files) and (not content or sha256_of(path) == file.sha256)


def same_file(layout: Layout, file: StoredFile, path: Path) -> bool:
    """Whether ``path`` is a stored file or has its content."""
    try:
        if path.samefile(layout.stored(file)):
            return True
        return path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256
    except FileNotFoundError:
        return False


def publish(layout: Layout, file: StoredFile, target: Path) -> None:
    """Makes a stored file visible under another name; nothing happens when it is there already."""
    if not same_file(layout, file, target):
        link(layout.stored(file), target, layout.tmp)


def make_durable(layout: Layout, paths: Iterable[Path]) -> None:
    """Waits until files, and the folders that name them, are on the disk: after that a power cut takes none of them.

    Most are there by then, and waiting for one of them brings the others, so that this is cheaper than waiting at
    each write. What is gone meanwhile, as another run may withdraw it, is left out.
    """
    folders: set[Path] = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            _sync(path)
        folders.update(folder for folder in path.parents if folder.is_relative_to(layout.root))
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _temporary(tmp: Path) -> Path:
    tmp.mkdir(parents=True, exist_ok=True)
    return tmp / f"{os.getpid()}-{uuid.uuid4().hex}"
