"""The output folder as tests look at it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from beam_curate.elements import StoredFile
from beam_curate.store import layout
from beam_curate.store.local import LocalStore


class Output(LocalStore):
    """A local store with the names of `beam_curate.store.layout` as paths: ``output.clip("a").exists()``."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(layout, name, None) or getattr(layout, name.upper(), None)
        if name.startswith("_") or value is None:
            raise AttributeError(name)
        return self.root / value if isinstance(value, PurePosixPath) else lambda *args: self.root / value(*args)

    def stored(self, file: StoredFile) -> Path:
        return self.root / file.path

    def done_folder(self, fingerprint: str) -> Path:
        return self.root / layout.DONE / fingerprint
