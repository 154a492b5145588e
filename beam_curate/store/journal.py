"""What was published of a video that is not recorded yet.

Every chunk of every video is published before the first video is recorded. A run that ends between the two
leaves clips and dataset items that no record names; the journal names them, so that the next run, whatever its
options, can withdraw what it does not make itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beam_curate.store import readback
from beam_curate.store.layout import Layout
from beam_curate.store.readback import Published


def write(layout: Layout, relative_path: str, entry: dict[str, Any]) -> None:
    """Adds an entry to the journal of a video, before what it names is published."""
    path = _path(layout, relative_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The line break comes first, so that an entry that was cut off spoils no other.
    with path.open("ab") as file:
        file.write(f"\n{json.dumps(entry, sort_keys=True)}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def read(layout: Layout, relative_path: str) -> list[Published]:
    """Returns the entries of a video."""
    return list(_entries(_path(layout, relative_path)))


def remove(layout: Layout, relative_path: str) -> None:
    """Forgets the entries of a video: its records say all."""
    _path(layout, relative_path).unlink(missing_ok=True)


def read_all(layout: Layout) -> Iterator[Published]:
    """Yields the entries of all videos."""
    if layout.published.is_dir():
        for path in layout.published.iterdir():
            yield from _entries(path)


def _path(layout: Layout, relative_path: str) -> Path:
    return layout.published / f"{hashlib.sha256(relative_path.encode()).hexdigest()[:32]}.jsonl"


def _entries(path: Path) -> Iterator[Published]:
    """Yields the entries of a journal; one that was cut off spoke of what was not published then."""
    try:
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return
    yield from filter(None, (readback.checked(line, readback.PUBLISHED) for line in lines))
