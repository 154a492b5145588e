"""The models the program knows: where they come from and where their files lie in the workspace."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from beam_curate.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Model:
    """A row of the catalog.

    Attributes:
        name: Our name of it.
        model_id: Its id on the Hugging Face hub.
        revision: The commit that results were checked with.
        files: What must be there for it to load.
    """

    name: str
    model_id: str
    revision: str
    files: tuple[str, ...]

    def folder(self, workspace: str) -> Path:
        """Where its files lie."""
        return Path(workspace) / "models" / self.model_id

    def require(self, workspace: str, flag: str, only: Sequence[str] | None = None) -> None:
        """Checks that its files, or ``only`` some of them, are there.

        Raises:
            UsageError: Files are missing; says which, where, and how to get them.
        """
        wanted = self.files if only is None else only
        missing = [name for name in wanted if not (self.folder(workspace) / name).is_file()]
        if missing:
            raise UsageError(
                f"{flag} needs {self.model_id} and {', '.join(missing)} is missing from "
                f"{self.folder(workspace)}; get it with: hf download {self.model_id} --revision "
                f"{self.revision} --local-dir {self.folder(workspace)}"
            )


TRANSNETV2 = Model(
    "transnetv2",
    "Sn4kehead/TransNetV2",
    "db6ceabeb692ec71ecc6beb6d00db67ad1412d7f",
    ("transnetv2-pytorch-weights.pth",),
)
T5_XXL = Model(
    "t5_xxl",
    "google-t5/t5-11b",
    "90f37703b3334dfe9d2b009bfcbfbf1ac9d28ea3",
    ("config.json", "tokenizer.json"),
)
