"""Removing remembered results that the last run's options do not use."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.store import readback
from beam_curate.store.layout import Layout
from beam_curate.store.run_lock import Alone, sole_run

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


@dataclasses.dataclass
class Cleaned:
    """What `clean` did.

    Attributes:
        files: How many files were removed.
        size_bytes: Freed by that: a file that is also published stays on disk.
        notes: What else to know, in sentences.
    """

    files: int = 0
    size_bytes: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)


def clean(layout: Layout) -> Cleaned:
    """Removes results, their files and done markers under other fingerprints than the last run's.

    Links are not followed: what they lead to is not of this output.

    Raises:
        UsageError: A run is working on this output, or none has recorded its fingerprints.
        OSError: Something cannot be read or removed.
    """
    if layout.work.is_symlink():
        raise UsageError(
            f"{layout.work} is a link, and what a link leads to is never removed: clean the folder that it leads to, "
            f"{layout.work.resolve()}, by hand"
        )
    keep = readback.read(layout.fingerprints, readback.FINGERPRINTS)
    if not keep:
        raise UsageError(f"{layout.root} holds no finished run: nothing tells what to keep")
    done = Cleaned()
    with sole_run(layout) as alone:  # which also clears temporary files
        if alone is Alone.NO:
            raise UsageError(f"a run is working on {layout.root}; wait for its end")
        if alone is Alone.UNKNOWN:
            done.notes.append("this file system has no locks, so temporary files stay: a run may be using them")
        for folder in _fingerprint_folders(layout, done.notes):
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


def _fingerprint_folders(layout: Layout, notes: list[str]) -> Iterator[Path]:
    """Yields the folders whose names are fingerprints: of results, done markers and files."""
    stages = [path for path in _folders(layout.work, notes) if path not in (layout.tmp, layout.files, layout.published)]
    if layout.files.is_dir() and not layout.files.is_symlink():
        stages += _folders(layout.files, notes)
    for stage in stages:
        yield from (folder for folder in _folders(stage, notes) if _FINGERPRINT.fullmatch(folder.name))


def _folders(parent: Path, notes: list[str]) -> list[Path]:
    """Returns the folders in a folder, without links to folders, which are noted."""
    found = []
    for path in sorted(parent.iterdir()):
        if path.is_symlink():
            notes.append(f"{path} is a link and stays, with what it leads to")
        elif path.is_dir():
            found.append(path)
    return found
