"""The files that a stage makes, below its own folder of the output."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path

from beam_curate.elements import StoredFile
from beam_curate.store import layout
from beam_curate.store.base import Key, Store


@dataclasses.dataclass(frozen=True)
class StageFiles:
    """Where a stage reads files of earlier stages and keeps its own.

    Attributes:
        output: The output.
        stage: Name of the stage.
        fingerprint: Of the stage.

    Example:
        >>> import tempfile
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = StageFiles(LocalStore(Path(folder)), "clips", "4c1f")
        ...     with files.scratch() as scratch:
        ...         (scratch / "made.mp4").touch()
        ...         files.keep(scratch / "made.mp4", "a").path
        '.work/files/clips/4c1f/a.e3b0c44298fc1c14.mp4'
    """

    output: Store
    stage: str
    fingerprint: str

    def reading(self, file: StoredFile) -> AbstractContextManager[Path]:
        """Gives a file on this computer with the content of a stored file while the block lasts; read only."""
        return self.output.reading(file)

    def scratch(self) -> AbstractContextManager[Path]:
        """Gives a temporary folder, deleted at the end of the block."""
        return self.output.scratch()

    def keep(self, path: Path, stem: str, public: Key | None = None) -> StoredFile:
        """Moves a finished file into the stage's folder; its name is ``stem`` with the hash of its content.

        A file that will be published can be kept under its ``public`` name instead; see `Store.keep`.
        """
        return self.output.keep(path, layout.stage_files(self.stage, self.fingerprint), stem, public)
