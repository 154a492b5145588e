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
from pathlib import PurePosixPath

from beam_curate.dataset.stage import WindowCutter
from beam_curate.elements import ClipChunk, StoredFile, Video
from beam_curate.store import journal, layout, readback
from beam_curate.store.base import Store

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
        if any(failure.stage == WindowCutter.name for failure in clip.failures):
            continue
        for window in clip.windows:
            if clip.media is None or window.caption is None or window.embedding is None or window.left_out:
                continue
            video = window.video or (clip.media.file if len(clip.windows) == 1 else None)
            if video is None:
                continue
            stem = f"{clip.clip_id}_{window.start_frame}_{window.end_frame}"
            yield Item(root, stem, window.caption.text, window.embedding.file, video)


def publish(output: Store, item: Item) -> bool:
    """Puts an item into the dataset; one that is there already and the same is left alone.

    Returns:
        Whether anything was written.
    """
    text, pickle, video = keys(item.name)
    data = item.text.strip().encode()
    if (
        _holds(output, text, data)
        and output.has_content_of(item.embedding, pickle)
        and output.has_content_of(item.video, video)
    ):
        return False
    withdraw(output, item.name)
    try:
        output.write(text, data)
        output.link(item.embedding.path, pickle)
        output.link(item.video.path, video)
    except OSError:
        with contextlib.suppress(OSError):
            withdraw(output, item.name)
        raise
    return True


def withdraw(output: Store, name: str) -> None:
    """Takes an item out of the dataset; nothing happens when it is not there."""
    for key in reversed(keys(name)):
        output.delete(key)


def mark_random(output: Store, validation_fraction: float) -> None:
    """Says beside the three folders that the text embeddings are random, before the first of them is there."""
    for root in ("train", "val") if validation_fraction else ("",):
        output.write(_mark(root), NOT_FOR_TRAINING_TEXT.encode())


def still_random(output: Store) -> bool:
    """Whether the dataset holds random embeddings; where it no longer does, its marks are removed.

    Only the records tell: a run with ``--limit`` may have replaced some of them, and one that was interrupted
    may have published some that no record names yet.
    """
    marks = [_mark(root) for root in ("", "train", "val")]
    if not any(output.exists(mark) for mark in marks):
        return False
    if any(entry.get("text_encoder") == "t5_random" for entry in journal.read_all(output)):
        return True
    for key in output.list_files(layout.PROCESSED_VIDEOS, recursive=True):
        record = readback.read(output, key, readback.VIDEO)
        if record and record["text_encoder"] == "t5_random":
            return True
    for mark in marks:
        output.delete(mark)
    return False


def remove_empty(output: Store, validation_fraction: float) -> list[str]:
    """Removes what another ``--validation-fraction`` used and no item needs: empty folders, and their mark.

    Returns:
        The parts, ``""`` for the dataset's folder itself, that still hold items of such a run.
    """
    still = []
    for part in ("",) if validation_fraction else ("train", "val"):
        gone = [output.delete_empty_folder(layout.DATASET / part / folder) for folder, _ in _PARTS]
        if all(gone):
            output.delete(_mark(part))
            output.delete_empty_folder(layout.DATASET / part)  # the dataset's own folder has the parts in it
        else:
            still.append(part)
    return still


def keys(name: str) -> list[PurePosixPath]:
    """Returns the keys of the three files of an item, in the order of publishing."""
    root, stem = os.path.split(name)
    return [layout.DATASET / root / folder / f"{stem}{suffix}" for folder, suffix in _PARTS]


def _mark(part: str) -> PurePosixPath:
    return layout.DATASET / part / layout.NOT_FOR_TRAINING


def _holds(output: Store, key: PurePosixPath, data: bytes) -> bool:
    try:
        return output.read(key) == data
    except FileNotFoundError:
        return False
