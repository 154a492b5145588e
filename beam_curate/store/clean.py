"""Deletes cached results that the last run's options do not use, and temporary files of killed runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from beam_curate.errors import UsageError
from beam_curate.store import layout, readback
from beam_curate.store.base import LockState, Store

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


@dataclasses.dataclass
class Cleaned:
    """What `clean` did.

    Attributes:
        files: How many files were removed.
        size_bytes: Freed by that: a file that is also published stays on disk.
        leftovers: How many unfinished uploads and the like of killed runs were removed besides.
        notes: Messages about what was kept and why.
    """

    files: int = 0
    size_bytes: int = 0
    leftovers: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)


def clean(output: Store) -> Cleaned:
    """Deletes results, their files and done markers under other fingerprints than the last run's.

    Links are not followed: their targets do not belong to this output.

    Raises:
        UsageError: It is no output folder, a run is working on it, or none has recorded its fingerprints.
        OSError: Something cannot be read or deleted.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     output = LocalStore(Path(folder))
        ...     _ = output.write_json(layout.FINGERPRINTS, ["1" * 16])
        ...     _ = output.write(layout.results("shots", "0" * 16) / "a.json", b"{}")
        ...     clean(output)
        Cleaned(files=1, size_bytes=2, leftovers=0, notes=[])
    """
    place, work = output.location(), output.location(layout.WORK)
    if layout.WORK in output.links(""):
        raise UsageError(f"{work} is a link, and targets of links are never deleted: clean what it leads to by hand")
    if layout.WORK not in output.list_folders(""):
        raise UsageError(f"{place} is not an output folder of beam-curate")
    keep = readback.read(output, layout.FINGERPRINTS, readback.FINGERPRINTS)
    if not keep:
        raise UsageError(f"{place} holds no finished run, so it is unknown which results to keep")
    done = Cleaned()
    with output.run_lock() as lock:  # which also deletes temporary files
        if lock is LockState.SHARED:
            raise UsageError(f"a run is working on {place}; wait until it ends")
        if lock is LockState.UNAVAILABLE:
            done.notes.append("this output has no locks, so temporary files were kept: a run may be using them")
        for folder in _fingerprint_folders(output, done.notes):
            if folder.name not in keep:
                freed = output.reclaim(folder)
                done.files += freed.files
                done.size_bytes += freed.size_bytes
        done.leftovers = output.remove_leftovers()
    return done


def _fingerprint_folders(output: Store, notes: list[str]) -> Iterator[PurePosixPath]:
    """Yields the folders whose names are fingerprints: of results, done markers and files."""
    found = _folders(output, layout.WORK, notes)
    stages = [folder for folder in found if folder not in (layout.FILES, layout.TMP, layout.RUNS, layout.PUBLISHED)]
    if layout.FILES in found:
        stages += _folders(output, layout.FILES, notes)
    for stage in stages:
        yield from (folder for folder in _folders(output, stage, notes) if _FINGERPRINT.fullmatch(folder.name))


def _folders(output: Store, parent: PurePosixPath, notes: list[str]) -> list[PurePosixPath]:
    """Returns the folders in a folder, without links to folders, which are noted."""
    links = output.links(parent)
    notes.extend(f"{output.location(link)} is a link: it and its target are kept" for link in links)
    return [folder for folder in output.list_folders(parent) if folder not in links]
