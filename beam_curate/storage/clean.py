"""Removing remembered results that the last run's options do not use."""

from __future__ import annotations

import shutil
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.layout import Layout
from beam_curate.storage import files
from beam_curate.storage.alive import sole_run


def clean(layout: Layout) -> tuple[int, int]:
    """Removes results, their files and done markers under other fingerprints than the last run's.

    Returns:
        How many files were removed, and the bytes freed by that: a file that is also published stays on disk.

    Raises:
        UsageError: A run is working on this output, or none has recorded its fingerprints.
    """
    keep = files.read_json(layout.fingerprints)
    if not keep:
        raise UsageError(f"{layout.root} holds no finished run: nothing tells what to keep")
    with sole_run(layout) as alone:  # which also clears temporary files
        if not alone:
            raise UsageError("a run is working on this output; wait for its end")
        count = size_bytes = 0
        for folder in _fingerprint_folders(layout):
            if folder.name in keep:
                continue
            for path in folder.rglob("*"):
                if path.is_file():
                    count += 1
                    facts = path.stat()
                    size_bytes += facts.st_size if facts.st_nlink == 1 else 0
            shutil.rmtree(folder)
    return count, size_bytes


def _fingerprint_folders(layout: Layout) -> list[Path]:
    stages = [path for path in layout.work.iterdir() if path.is_dir() and path not in (layout.tmp, layout.files)]
    stages += list(layout.files.iterdir()) if layout.files.is_dir() else []
    return [folder for stage in stages for folder in stage.iterdir() if folder.is_dir()]
