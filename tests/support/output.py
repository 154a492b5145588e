"""The output folder as tests look at it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from beam_curate.elements import StoredFile
from beam_curate.store import layout
from beam_curate.store.base import Key
from beam_curate.store.files import sha256_of
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


class OneName(Output):
    """An output that gives a file one name only, as object stores do: what will be published is kept there at once."""

    shares_files = False

    def keep(self, path: Path, folder: Key, stem: str, public: Key | None = None) -> StoredFile:
        if public is None:
            return super().keep(path, folder, stem)
        sha256, size_bytes = sha256_of(path), path.stat().st_size
        self.put_file(path, public)
        return StoredFile(str(public), size_bytes, sha256)

    def has(self, file: StoredFile, *, content: bool = False) -> bool:
        if not PurePosixPath(file.path).is_relative_to(layout.CLIPS):
            return super().has(file, content=content)
        path = self.stored(file)
        is_there = path.is_file() and path.stat().st_size == file.size_bytes
        return is_there and (not content or sha256_of(path) == file.sha256)
