"""The Cosmos-Predict2 video2world dataset: publishing items and withdrawing them, never half an item.

    videos/{clip_id}_{start}_{end}.mp4      frames start to end of the clip, both inclusive
    metas/{clip_id}_{start}_{end}.txt       the caption, UTF-8
    t5_xxl/{clip_id}_{start}_{end}.pickle   a list of one float16 array [tokens, 1024]

The trainer's loader lists ``videos/`` and crashes on an item that lacks a part, so the video is published last
and withdrawn first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from beam_curate.dataset.stage import STAGE as WINDOWS_STAGE
from beam_curate.elements import ClipChunk, StoredFile, Video
from beam_curate.store import files, journal, readback
from beam_curate.store.layout import NOT_FOR_TRAINING, Layout

NOT_FOR_TRAINING_TEXT = """These text embeddings are random: they were made with --text-encoder t5_random,
for trying the program out. Do not train on this dataset.
Run the same command with --text-encoder t5_11b to replace them.
"""
_PARTS = (("metas", ".txt"), ("t5_xxl", ".pickle"), ("videos", ".mp4"))  # in the order of publishing


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of a dataset.

    Attributes:
        root: ``""``, or ``train`` or ``val`` where there is a validation part.
        stem: File name of its parts without suffix.
        text: The caption.
        embedding: The pickle.
        video: The mp4.
    """

    root: str
    stem: str
    text: str
    embedding: StoredFile
    video: StoredFile

    @property
    def name(self) -> str:
        """Its root and stem in one word, as records name it."""
        return f"{self.root}/{self.stem}" if self.root else self.stem


def part_of(video: Video, validation_fraction: float) -> str:
    """Returns the part of the dataset that all items of a video belong to.

    The choice is a hash of the relative path, so that it stays when videos are added or the folder moves.
    """
    if not validation_fraction:
        return ""
    digest = hashlib.sha256(video.relative_path.encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < validation_fraction * 2**64 else "train"


def items_of(chunk: ClipChunk, validation_fraction: float) -> Iterator[Item]:
    """Yields the dataset items of a chunk.

    A window without a video of its own is the whole clip, unless the clip has several: then cutting it failed. A clip
    whose windows could not be looked at has none.
    """
    root = part_of(chunk.video, validation_fraction)
    for clip in chunk.clips:
        if any(failure.stage == WINDOWS_STAGE for failure in clip.failures):
            continue
        for window in clip.windows:
            if clip.media is None or window.caption is None or window.embedding is None or window.left_out:
                continue
            video = window.video or (clip.media.file if len(clip.windows) == 1 else None)
            if video is None:
                continue
            stem = f"{clip.clip_id}_{window.start_frame}_{window.end_frame}"
            yield Item(root, stem, window.caption.text, window.embedding.file, video)


def publish(layout: Layout, item: Item) -> bool:
    """Puts an item into the dataset; one that is there already and the same is left alone.

    Returns:
        Whether anything was written.
    """
    text, pickle, video = paths(layout, item.name)
    data = item.text.strip().encode()
    if (
        _holds(text, data)
        and files.same_file(layout, item.embedding, pickle)
        and files.same_file(layout, item.video, video)
    ):
        return False
    withdraw(layout, item.name)
    try:
        files.write_bytes(text, data, layout.tmp)
        files.link(layout.stored(item.embedding), pickle, layout.tmp)
        files.link(layout.stored(item.video), video, layout.tmp)
    except OSError:
        with contextlib.suppress(OSError):
            withdraw(layout, item.name)
        raise
    return True


def withdraw(layout: Layout, name: str) -> None:
    """Takes an item out of the dataset; nothing happens when it is not there."""
    for path in reversed(paths(layout, name)):
        path.unlink(missing_ok=True)


def mark_random(layout: Layout, validation_fraction: float) -> None:
    """Says beside the three folders that the text embeddings are random, before the first of them is there."""
    for root in ("train", "val") if validation_fraction else ("",):
        marker = layout.dataset / root / NOT_FOR_TRAINING
        files.write_bytes(marker, NOT_FOR_TRAINING_TEXT.encode(), layout.tmp)


def still_random(layout: Layout) -> bool:
    """Whether the dataset holds random embeddings; where it no longer does, its marks are removed.

    Only the records tell: a run with ``--limit`` may have replaced some of them, and one that was interrupted
    may have published some that no record names yet.
    """
    markers = [layout.dataset / root / NOT_FOR_TRAINING for root in ("", "train", "val")]
    if not any(marker.exists() for marker in markers):
        return False
    if any(entry.get("text_encoder") == "t5_random" for entry in journal.read_all(layout)):
        return True
    for path in (layout.root / "processed_videos").rglob("*.json"):
        record = readback.read(path, readback.VIDEO)
        if record and record["text_encoder"] == "t5_random":
            return True
    for marker in markers:
        marker.unlink(missing_ok=True)
    return False


def remove_empty(layout: Layout, validation_fraction: float) -> list[str]:
    """Removes what another ``--validation-fraction`` used and no item needs: empty folders, and their mark.

    Returns:
        The parts, ``""`` for the dataset's folder itself, that still hold items of such a run.
    """
    still = []
    for part in ("",) if validation_fraction else ("train", "val"):
        root = layout.dataset / part
        for folder, _ in _PARTS:
            with contextlib.suppress(OSError):  # it is not there, or holds items
                (root / folder).rmdir()
        if any((root / folder).is_dir() for folder, _ in _PARTS):
            still.append(part)
        else:
            (root / NOT_FOR_TRAINING).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the dataset's own folder has the parts in it
                root.rmdir()
    return still


def paths(layout: Layout, name: str) -> list[Path]:
    """Returns the three files of an item, in the order of publishing."""
    root, stem = os.path.split(name)
    return [layout.dataset / root / folder / f"{stem}{suffix}" for folder, suffix in _PARTS]


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
