"""Deletes cached results that the last run's options do not use, and temporary files of killed runs."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.store import layout, readback
from beam_curate.store.base import LockState
from beam_curate.store.local import LocalStore

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


@dataclasses.dataclass
class Cleaned:
    """What `clean` did.

    Attributes:
        files: How many files were removed.
        size_bytes: Freed by that: a file that is also published stays on disk.
        notes: Messages about what was kept and why.
    """

    files: int = 0
    size_bytes: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)


def clean(output: LocalStore) -> Cleaned:
    """Deletes results, their files and done markers under other fingerprints than the last run's.

    Links are not followed: their targets do not belong to this output.

    Raises:
        UsageError: It is no output folder, a run is working on it, or none has recorded its fingerprints.
        OSError: Something cannot be read or deleted.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     output = LocalStore(Path(folder))
        ...     output.write_json(layout.FINGERPRINTS, ["1" * 16])
        ...     output.write(layout.results("shots", "0" * 16) / "a.json", b"{}")
        ...     clean(output)
        Cleaned(files=1, size_bytes=2, notes=[])
    """
    work = output.root / layout.WORK
    if not work.is_dir():
        raise UsageError(f"{output.root} is not an output folder of beam-curate")
    if work.is_symlink():
        raise UsageError(f"{work} is a link, and targets of links are never deleted: clean {work.resolve()} by hand")
    keep = readback.read(output, layout.FINGERPRINTS, readback.FINGERPRINTS)
    if not keep:
        raise UsageError(f"{output.root} holds no finished run, so it is unknown which results to keep")
    done = Cleaned()
    with output.run_lock() as lock:  # which also deletes temporary files
        if lock is LockState.SHARED:
            raise UsageError(f"a run is working on {output.root}; wait until it ends")
        if lock is LockState.UNAVAILABLE:
            done.notes.append("this file system has no locks, so temporary files were kept: a run may be using them")
        for folder in _fingerprint_folders(output.root, done.notes):
            if folder.name not in keep:
                _remove(folder, done)
    return done


def _remove(folder: Path, done: Cleaned) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            facts = os.lstat(os.path.join(parent, name))
            done.files += 1
            done.size_bytes += facts.st_size if facts.st_nlink == 1 and stat.S_ISREG(facts.st_mode) else 0
    shutil.rmtree(folder)


def _fingerprint_folders(root: Path, notes: list[str]) -> Iterator[Path]:
    """Yields the folders whose names are fingerprints: of results, done markers and files."""
    files, *others = (root / key for key in (layout.FILES, layout.TMP, layout.PUBLISHED))
    stages = [path for path in _folders(root / layout.WORK, notes) if path not in (files, *others)]
    if files.is_dir() and not files.is_symlink():
        stages += _folders(files, notes)
    for stage in stages:
        yield from (folder for folder in _folders(stage, notes) if _FINGERPRINT.fullmatch(folder.name))


def _folders(parent: Path, notes: list[str]) -> list[Path]:
    """Returns the folders in a folder, without links to folders, which are noted."""
    found = []
    for path in sorted(parent.iterdir()):
        if path.is_symlink():
            notes.append(f"{path} is a link: it and its target are kept")
        elif path.is_dir():
            found.append(path)
    return found
