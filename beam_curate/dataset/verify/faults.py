"""What is wrong with a dataset: the record of it, how to show it, and how to move it out of the way."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_curate.errors import UsageError
from beam_curate.progress.terminal import shown

# In the order in which an item is taken out: the loader lists videos/, so without its video an item is gone.
SUFFIXES = {"videos": ".mp4", "t5_xxl": ".pickle", "metas": ".txt"}
"""The folders of a dataset, each with the only suffix its files may have."""

UNCHECKED = "unchecked"
"""The rule of what could not be read for a reason that is not its own: nobody knows whether it is sound."""

_REDO = "move the item out, or make it again: run the command that made it once more with --repair"
REMEDIES = {
    "missing_root": "check the path",
    "missing_folder": "check the path; a dataset has videos/, metas/ and t5_xxl/",
    "empty": "check the path, and in the run's summary why no clip was kept",
    "random_embeddings": "run again with the real text encoder; accept them only to test a trainer",
    "other_file": "move it elsewhere or, if it is an item's file, give it the right name",
    "two_layouts": "run again for all videos with one --validation-fraction; then the items are in one place",
    "missing_file": _REDO,
    "name": "rename the three files of the item",
    UNCHECKED: "mend the disk or the machine, and verify again; --quarantine leaves the item where it is",
    "video_unreadable": _REDO,
    "video_codec": "encode it as H.264",
    "video_width": "move the item out",
    "video_size": "move the item out",
    "video_frame_rate": _REDO,
    "video_damaged": _REDO,
    "video_short": "move the item out, or check with the trainer's own number of frames plus one",
    "video_window": _REDO,
    "video_blank": "move the item out",
    "caption": "write the caption and encode it again, or move the item out",
    "embedding": _REDO,
    "token_count": "encode the caption again: embedding and caption do not belong together",
    "shared_embedding": "encode the captions again: embedding and caption do not belong together",
    "differing_embedding": "encode the captions again: at least one embedding is of another text",
}
"""Every rule a dataset is checked for, with what to do when it is broken."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: The file or folder; where one is missing, where it should be.
        rule: A key of REMEDIES.
        message: What is wrong; reads on after the file's name.
        stem: Name of the item, or None when the fault is no item's.
    """

    file: Path
    rule: str
    message: str
    stem: str | None = None


@dataclasses.dataclass(frozen=True)
class Item:
    """The files of one name.

    Attributes:
        root: The folder with ``videos/``, ``t5_xxl/`` and ``metas/``.
        stem: File name without suffix.
        folders: Which of the three have the file.
    """

    root: Path
    stem: str
    folders: frozenset[str] = frozenset(SUFFIXES)

    def path(self, folder: str) -> Path:
        """Where the item's file in one of the three folders is, or should be."""
        return self.root / folder / (self.stem + SUFFIXES[folder])

    def fault(self, folder: str, rule: str, message: str) -> Fault:
        """Returns a fault of the item's file in one of the three folders."""
        return Fault(self.path(folder), rule, message, self.stem)


@dataclasses.dataclass(frozen=True)
class Report:
    """What checking a dataset found.

    Attributes:
        dataset: The folder checked.
        num_items: Items that have all three files, faulty ones included.
        num_frames: Frames decoded, over all videos.
        duration_s: Length of all videos in s.
        faults: Everything wrong, by file.
        notes: What was not checked, and what else to know, in sentences.
    """

    dataset: Path
    num_items: int
    num_frames: int
    duration_s: float
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def quarantine(report: Report, folder: Path) -> list[Path]:
    """Moves the faulty items, and what does not belong into the three folders, out of a dataset.

    Nothing is deleted or overwritten; ``folder`` gets the folders of the dataset. What could not be checked stays. What
    lies beside the three folders stays, too: a wrong path must not empty some other folder, and random embeddings must
    stay marked.

    Args:
        report: What ``verify`` returned for the dataset as it is now.
        folder: Where to move to, outside the dataset; made if missing. May be on another file system.

    Returns:
        Where the files are now, in the order of moving.

    Raises:
        UsageError: ``folder`` lies in the dataset, or that is none.
        OSError: A file could not be moved; those before it have been.
    """
    if folder.resolve().is_relative_to(report.dataset.resolve()):
        raise UsageError(f"{folder} lies in the dataset {report.dataset}; choose a folder outside it")
    items = {
        Item(fault.file.parent.parent, fault.stem): None
        for fault in report.faults
        if fault.stem is not None and fault.rule != UNCHECKED
    }
    others = [f.file for f in report.faults if f.rule == "other_file" and f.file.parent.name in SUFFIXES]
    missing = {fault.file for fault in report.faults if fault.rule == "missing_folder"}
    foreign = {
        root
        for root in {report.dataset, *(item.root for item in items), *(file.parent.parent for file in others)}
        if {root / "videos", root / "t5_xxl"} <= missing
    }
    if foreign:
        raise UsageError(
            f"{min(foreign)} is no dataset, so nothing is moved: it has neither videos/ nor t5_xxl/; name the folder "
            "that has them, such as OUTPUT/cosmos_predict2_video2world_dataset"
        )
    moved = []
    for item in items:
        moved += _move([item.path(name) for name in SUFFIXES], report.dataset, folder)
    for file in others:
        moved += _move([file], report.dataset, folder)
    return moved


def _move(files: list[Path], dataset: Path, folder: Path) -> list[Path]:
    """Moves the files that exist to their places below a folder, under other names if one is taken."""
    files = [file for file in files if _exists(file)]
    places = [folder / file.relative_to(dataset) for file in files]
    targets, number = places, 0
    while any(_exists(target) for target in targets):
        number += 1  # one number for the three files, so that they stay recognizable as an item
        targets = [place.with_name(f"{place.name}.{number}") for place in places]
    for file, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    return targets


def _exists(path: Path) -> bool:
    """Whether there is anything of that name, a broken link included."""
    return path.exists() or path.is_symlink()


def print_report(report: Report, console: Console) -> None:
    """Prints what was checked, the faults by rule with what to do, and then each fault on a line."""
    _print(console, f"{report.dataset}: {'ok' if report.ok else f'{len(report.faults):,} faults'}")
    summary = Table("items", "frames", "hours")
    summary.add_row(f"{report.num_items:,}", f"{report.num_frames:,}", f"{report.duration_s / 3600:,.2f}")
    console.print(summary)
    if report.faults:
        console.print(_rules(report.faults))
    for fault in report.faults:
        _print(console, f"{fault.file}: {fault.message}")
    for note in report.notes:
        _print(console, note)


def _rules(faults: Iterable[Fault]) -> Table:
    """Returns a table of the rules that are broken."""
    table = Table("rule", "faults", "what to do")
    for rule, count in sorted(Counter(fault.rule for fault in faults).items()):
        table.add_row(rule, f"{count:,}", REMEDIES[rule])
    return table


def _print(console: Console, line: str) -> None:
    """Prints a line as one: file names and files may hold markup, line breaks, or bytes that are not text."""
    console.print(Text(shown(line)), soft_wrap=True)
