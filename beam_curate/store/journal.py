"""The journal: what was published of a video that is not recorded yet.

Chunks are published as they come, and the video is recorded after the last of them. A run that ends between the two
leaves clips and dataset items that no record names; the journal names them, so that the next run, whatever its
options, can withdraw what it does not make itself. Each entry is a file of its own: object stores cannot append.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from beam_curate.store import layout, readback
from beam_curate.store.base import Store
from beam_curate.store.readback import Published


def write(output: Store, relative_path: str, entry: dict[str, Any]) -> None:
    """Adds an entry to the journal of a video, before what it names is published.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(LocalStore(Path(folder)), "a.mp4", {"num_clip_chunks": 1, "clips": ["c1"], "dataset_items": []})
        ...     output = LocalStore(Path(folder))
        ...     [entry["clips"] for entry in read(output, keys(output, "a.mp4"))]
        [['c1']]
    """
    data = json.dumps(entry, sort_keys=True).encode()
    key = _folder(relative_path) / f"{hashlib.sha256(data).hexdigest()[:32]}.json"
    output.write(key, data)
    output.make_durable([key])


def keys(output: Store, relative_path: str) -> list[PurePosixPath]:
    """Returns the keys of the entries of a video.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keys(LocalStore(Path(folder)), "a.mp4")
        []
    """
    return output.list_files(_folder(relative_path))


def read(output: Store, entry_keys: Iterable[PurePosixPath]) -> list[Published]:
    """Returns the entries of keys that `keys` returned.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read(LocalStore(Path(folder)), [])
        []
    """
    return list(_entries(output, entry_keys))


def remove(output: Store, relative_path: str, entry_keys: Collection[PurePosixPath]) -> None:
    """Deletes the journal of a video, which its records have replaced.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(LocalStore(Path(folder)), "a.mp4", {"num_clip_chunks": 1, "clips": ["c1"], "dataset_items": []})
        ...     remove(LocalStore(Path(folder)), "a.mp4", keys(LocalStore(Path(folder)), "a.mp4"))
        ...     keys(LocalStore(Path(folder)), "a.mp4")
        []
    """
    output.delete_folder(_folder(relative_path), entry_keys)


def read_all(output: Store) -> Iterator[Published]:
    """Yields the entries of all videos.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a.mp4", "b.mp4"):
        ...         write(LocalStore(Path(folder)), name, {"num_clip_chunks": 1, "clips": ["c1"], "dataset_items": []})
        ...     len(list(read_all(LocalStore(Path(folder)))))
        2
    """
    yield from _entries(output, output.list_files(layout.PUBLISHED, recursive=True))


def _folder(relative_path: str) -> PurePosixPath:
    return layout.PUBLISHED / hashlib.sha256(relative_path.encode()).hexdigest()[:32]


def _entries(output: Store, keys: Iterable[PurePosixPath]) -> Iterator[Published]:
    """Yields the entries that validate."""
    yield from filter(None, (readback.read(output, key, readback.PUBLISHED) for key in keys))
