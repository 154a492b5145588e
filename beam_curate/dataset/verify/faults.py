"""Faults of a dataset: recording them, printing a report, and moving faulty items to quarantine."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_curate.errors import UsageError
from beam_curate.progress.terminal import shown

# In the order in which an item's files are moved out: the loader lists videos/, so the video goes first.
SUFFIXES = {"videos": ".mp4", "t5_xxl": ".pickle", "metas": ".txt"}
"""The folders of a dataset, each with the suffix of its files."""

UNCHECKED = "unchecked"
"""The rule for files that could not be read because of the disk or the machine: they may be intact."""

_REDO = "move the item out, or recreate it: run the command that made it again with --repair"
REMEDIES = {
    "missing_root": "check the path",
    "missing_folder": "check the path; a dataset has videos/, metas/ and t5_xxl/",
    "empty": "check the path, and the run's summary for why no clip was kept",
    "random_embeddings": "run again with the real text encoder; accept them only to test a trainer",
    "other_file": "move it elsewhere or, if it belongs to an item, rename it",
    "two_layouts": "run again for all videos with one --validation-fraction; then the items are in one place",
    "missing_file": _REDO,
    "name": "rename the three files of the item",
    UNCHECKED: "fix the disk or the machine and verify again; --quarantine leaves the item where it is",
    "video_unreadable": _REDO,
    "video_codec": "encode it as H.264",
    "video_width": "move the item out",
    "video_size": "move the item out",
    "video_frame_rate": _REDO,
    "video_damaged": _REDO,
    "video_short": "move the item out, or verify with the trainer's own number of frames plus one",
    "video_window": _REDO,
    "video_blank": "move the item out",
    "caption": "write the caption and encode it again, or move the item out",
    "embedding": _REDO,
    "token_count": "encode the caption again: embedding and caption do not belong together",
    "shared_embedding": "encode the captions again: embedding and caption do not belong together",
    "differing_embedding": "encode the captions again: at least one embedding belongs to another text",
}
"""Every rule a dataset is checked for, with what to do if it is violated."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A violation of one rule.

    Attributes:
        file: The file or folder; a missing one by its expected path.
        rule: A key of REMEDIES.
        message: What is wrong, as the predicate of a sentence that begins with the file's name.
        stem: Name of the item, or None if the fault does not belong to an item.
    """

    file: PurePath
    rule: str
    message: str
    stem: str | None = None


@dataclasses.dataclass(frozen=True)
class Item:
    """The files of one training item.

    >>> Item(Path("dataset"), "clip_0_95").path("metas").as_posix()
    'dataset/metas/clip_0_95.txt'

    Attributes:
        root: The folder with ``videos/``, ``t5_xxl/`` and ``metas/``.
        stem: File name without suffix.
        folders: Which of the three folders have its file.
    """

    root: PurePath
    stem: str
    folders: frozenset[str] = frozenset(SUFFIXES)

    def path(self, folder: str) -> PurePath:
        """Returns the path of the item's file in one of the three folders, whether or not it exists."""
        return self.root / folder / (self.stem + SUFFIXES[folder])

    def fault(self, folder: str, rule: str, message: str) -> Fault:
        """Returns a fault in the item's file in one of the three folders."""
        return Fault(self.path(folder), rule, message, self.stem)


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of verifying a dataset.

    Attributes:
        dataset: The folder checked.
        num_items: Items that have all three files, faulty ones included.
        num_frames: Frames decoded, over all videos.
        duration_s: Total length of the videos in s.
        faults: All faults, sorted by file.
        notes: Sentences on what was not checked and what else to know.
        origin: What stands before each path where a user reads it; see `beam_curate.dataset.verify.files.Files`.
    """

    dataset: PurePath
    num_items: int
    num_frames: int
    duration_s: float
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    origin: str = ""

    @property
    def ok(self) -> bool:
        """Whether there are no faults."""
        return not self.faults

    def place(self, path: PurePath) -> str:
        """Returns where a user finds a path of the report: a path on this computer or a URL.

        >>> Report(PurePath("set"), 0, 0, 0.0, (), (), "s3://footage/").place(PurePath("set/videos"))
        's3://footage/set/videos'
        """
        return f"{self.origin}{path}".removesuffix("/.")  # the path of a whole bucket is a dot


def quarantine(report: Report, folder: Path) -> list[Path]:
    """Moves faulty items, and foreign files in the three folders, out of a dataset.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     item = Item(Path(folder, "dataset"), "clip_0_95")
    ...     _ = item.path("metas").parent.mkdir(parents=True), item.path("metas").touch()
    ...     report = Report(item.root, 1, 0, 0.0, (item.fault("metas", "caption", "is empty"),), ())
    ...     [path.relative_to(folder).as_posix() for path in quarantine(report, Path(folder, "faulty"))]
    ['faulty/metas/clip_0_95.txt']

    Nothing is deleted or overwritten; ``folder`` gets the same folders as the dataset. Items that could not be checked
    stay. Files beside the three folders stay, too: a wrong path must not empty some other folder, and the marker of
    random embeddings must remain.

    Args:
        report: The result of ``verify`` for the dataset as it is now, which is a folder of this computer.
        folder: Destination outside the dataset, on any file system; created if missing.

    Returns:
        The new paths of the files, in the order of moving.

    Raises:
        UsageError: ``folder`` is inside the dataset, or the dataset is not one.
        OSError: A file could not be moved; the files before it have been.
    """
    if folder.resolve().is_relative_to(Path(report.dataset).resolve()):
        raise UsageError(f"{folder} is inside the dataset {report.dataset}; choose a folder outside it")
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
            f"{min(foreign)} is not a dataset, so nothing is moved: it has neither videos/ nor t5_xxl/; give "
            "the folder that has them, such as OUTPUT/cosmos_predict2_video2world_dataset"
        )
    moved = []
    for item in items:
        moved += _move([Path(item.path(name)) for name in SUFFIXES], report.dataset, folder)
    for file in others:
        moved += _move([Path(file)], report.dataset, folder)
    return moved


def _move(files: list[Path], dataset: PurePath, folder: Path) -> list[Path]:
    """Moves the files that exist below a folder, under other names if one is taken."""
    files = [file for file in files if _exists(file)]
    places = [folder / file.relative_to(dataset) for file in files]
    targets, number = places, 0
    while any(_exists(target) for target in targets):
        number += 1  # the same number for the three files, so that they are still one item
        targets = [place.with_name(f"{place.name}.{number}") for place in places]
    for file, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    return targets


def _exists(path: Path) -> bool:
    """Whether anything has that name, a dangling link included."""
    return path.exists() or path.is_symlink()


def print_report(report: Report, console: Console) -> None:
    """Prints what was checked, the violated rules with what to do, and then each fault on a line.

    >>> fault = Item(Path("dataset"), "clip_0_95").fault("metas", "caption", "is empty; an item needs a caption")
    >>> with (console := Console(width=120)).capture() as printed:
    ...     print_report(Report(Path("dataset"), 1, 96, 4.0, (fault,), notes=()), console)
    >>> printed.get().splitlines()[-1]
    'dataset/metas/clip_0_95.txt: is empty; an item needs a caption'
    """
    _print(console, f"{report.place(report.dataset)}: {'ok' if report.ok else f'{len(report.faults):,} faults'}")
    summary = Table("items", "frames", "hours")
    summary.add_row(f"{report.num_items:,}", f"{report.num_frames:,}", f"{report.duration_s / 3600:,.2f}")
    console.print(summary)
    if report.faults:
        console.print(_rules(report.faults))
    for fault in report.faults:
        _print(console, f"{report.place(fault.file)}: {fault.message}")
    for note in report.notes:
        _print(console, note)


def _rules(faults: Iterable[Fault]) -> Table:
    """Returns a table of the violated rules."""
    table = Table("rule", "faults", "what to do")
    for rule, count in sorted(Counter(fault.rule for fault in faults).items()):
        table.add_row(rule, f"{count:,}", REMEDIES[rule])
    return table


def _print(console: Console, line: str) -> None:
    """Prints one line, even if a file name holds markup, line breaks, or bytes that are not text."""
    console.print(Text(shown(line)), soft_wrap=True)
