"""Finds the items of a dataset by the names of its files."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from beam_curate.dataset.verify.faults import SUFFIXES, Fault, Item
from beam_curate.dataset.verify.files import Entry, Files
from beam_curate.store.layout import NOT_FOR_TRAINING

_SPLITS = ("train", "val")


@dataclasses.dataclass(frozen=True)
class Listing:
    """Finds the items of a dataset, and what does not belong there.

    Attributes:
        files: Where the dataset is.
    """

    files: Files

    def roots(self, dataset: PurePath) -> tuple[list[PurePath], list[Fault]]:
        """Returns the folders that hold the three folders, and a fault for everything else beside the splits."""
        folders = [folder for folder in SUFFIXES if self.files.is_folder(dataset / folder)]
        splits = [dataset / name for name in _SPLITS if self.files.is_folder(dataset / name)]
        used = [root for root in splits if not self._is_bare(root)]
        if not splits or any(self._holds_something(dataset / folder) for folder in folders):
            return [dataset], []
        if not used and folders:
            return [dataset], []
        return used or splits, self._other_files(dataset, (*_SPLITS, *folders))

    def of_root(self, root: PurePath) -> tuple[list[Item], list[Fault]]:
        """Returns the items of a root, sorted by name, and the faults of its folders and file names."""
        faults = self._other_files(root, SUFFIXES)
        folders_of: dict[str, set[str]] = defaultdict(set)
        for folder, suffix in SUFFIXES.items():
            if not self.files.is_folder(root / folder):
                faults.append(Fault(root / folder, "missing_folder", "is missing"))
                continue
            for entry in self.files.entries(root / folder):
                if message := _foreign(entry, suffix):
                    faults.append(Fault(entry.path, "other_file", message))
                else:
                    folders_of[entry.path.name.removesuffix(suffix)].add(folder)
        items = [Item(root, stem, frozenset(folders)) for stem, folders in sorted(folders_of.items())]
        for item in items:
            faults += _name_faults(item)
        return items, faults

    def _holds_something(self, folder: PurePath) -> bool:
        return any(True for _ in self.files.entries(folder))

    def _is_bare(self, root: PurePath) -> bool:
        """Whether a split has no files but the marker: all items were moved out of it, or none was moved into it."""
        return not any(
            self._holds_something(entry.path)
            if entry.path.name in SUFFIXES and entry.is_folder
            else entry.path.name != NOT_FOR_TRAINING
            for entry in self.files.entries(root)
        )

    def _other_files(self, root: PurePath, folders: Iterable[str]) -> list[Fault]:
        """Returns a fault for everything in a root but its folders, bare splits and the marker of random embeddings."""
        expected = {*folders, NOT_FOR_TRAINING}
        others = [entry for entry in self.files.entries(root) if entry.path.name not in expected]
        splits = [entry for entry in others if entry.path.name in _SPLITS and entry.is_folder]
        foreign = [entry.path for entry in others if entry not in splits]
        mixed = [entry.path for entry in splits if not self._is_bare(entry.path)]
        return [
            *(Fault(path, "other_file", "does not belong in a dataset") for path in foreign),
            *(Fault(path, "two_layouts", "holds files, and so do the folders beside it") for path in mixed),
        ]


def _foreign(entry: Entry, suffix: str) -> str | None:
    """Returns why something is not a file of an item, as the predicate of a sentence, or None."""
    if entry.is_link:
        return "is a link; this folder may hold only files"
    if not entry.is_file:
        return "is not a file; this folder may hold only files"
    stem = entry.path.name.removesuffix(suffix)
    if stem in ("", entry.path.name) or stem.startswith("."):
        return f"is not named like an item's file, NAME{suffix}"
    return None


def _name_faults(item: Item) -> Iterator[Fault]:
    """Yields a fault for each missing file of an item and for a name that the loader misreads."""
    for folder in SUFFIXES:
        if folder not in item.folders:
            others = " and ".join(f"{other}/" for other in SUFFIXES if other in item.folders)
            yield item.fault(folder, "missing_file", f"is missing, though the item has a file in {others}")
    if ".mp4" in item.stem:
        # The loader makes the pickle's name by replacing every ".mp4" in the video's name.
        yield item.fault("videos", "name", "has '.mp4' inside its name; the loader looks for another pickle")
