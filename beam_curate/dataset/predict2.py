"""Publishes and withdraws the items of the Cosmos-Predict2 video2world dataset, never partially.

    videos/{clip_id}_{start}_{end}.mp4      frames start to end of the clip, both inclusive
    metas/{clip_id}_{start}_{end}.txt       the caption, UTF-8
    t5_xxl/{clip_id}_{start}_{end}.pickle   a list of one float16 array [tokens, 1024]

The trainer's loader lists ``videos/`` and crashes on an item with a file missing, so the video is published last and
withdrawn first.
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
    """One training item of the dataset.

    Attributes:
        root: ``train`` or ``val`` if there is a validation part, else ``""``.
        stem: Name of its three files without suffix.
        text: The caption.
        embedding: The stored pickle.
        video: The stored mp4.
    """

    root: str
    stem: str
    text: str
    embedding: StoredFile
    video: StoredFile

    @property
    def name(self) -> str:
        """Root and stem as one path, as records name the item."""
        return f"{self.root}/{self.stem}" if self.root else self.stem


def part_of(video: Video, validation_fraction: float) -> str:
    """Returns the part of the dataset for all items of a video.

    It depends on a hash of the relative path, so that it does not change when videos are added or the folder moves.

    >>> video = Video("/data/a.mp4", "a.mp4", 1000, "0")
    >>> part_of(video, validation_fraction=0.1), part_of(video, validation_fraction=0.0)
    ('train', '')
    """
    if not validation_fraction:
        return ""
    digest = hashlib.sha256(video.relative_path.encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < validation_fraction * 2**64 else "train"


def items_of(chunk: ClipChunk, validation_fraction: float) -> Iterator[Item]:
    """Yields the dataset items of a chunk.

    >>> from beam_curate.elements import Caption, Clip, ClipFile, Span, TextEmbedding, VideoInfo, Window
    >>> info = VideoInfo(1280, 720, 24, 1, 1, 24, 96, 4.0, True, True, "h264", "yuv420p", None, "mov", 0)
    >>> media = ClipFile(StoredFile("a.mp4", 1, ""), 1280, 720, 24, 1, 96, 4.0, "h264")
    >>> window = Window(0, 95, Caption("qwen", "A car.", "success"), TextEmbedding(StoredFile("a", 1, ""), 5, False))
    >>> clips = (Clip(Span("clip", 0, 96, 0, 96, 0.0, 4.0), media, (window,)),)
    >>> chunk = ClipChunk(Video("/data/a.mp4", "a.mp4", 1000, "0"), info, 0, 1, 1, clips)
    >>> [item.name for item in items_of(chunk, validation_fraction=0.0)]
    ['clip_0_95']

    A window without a video of its own uses the clip's, unless the clip has several windows: then cutting it failed. A
    clip whose windows could not be checked has no items.
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
    """Puts an item into the dataset, unless the same item is there already.

    >>> import pathlib, tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (output := LocalStore(pathlib.Path(folder))).write("stored", b"")
    ...     item = Item("", "clip_0_95", "A red car.", StoredFile("stored", 0, ""), StoredFile("stored", 0, ""))
    ...     publish(output, item), sorted(key.suffix for key in output.list_files(layout.DATASET, recursive=True))
    (True, ['.mp4', '.pickle', '.txt'])

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
        output.link(item.embedding, pickle)
        output.link(item.video, video)
    except OSError:
        with contextlib.suppress(OSError):
            withdraw(output, item.name)
        raise
    return True


def withdraw(output: Store, name: str) -> None:
    """Removes an item from the dataset, if it is there.

    >>> import pathlib, tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (output := LocalStore(pathlib.Path(folder))).write(keys("clip_0_95")[0], b"A red car.")
    ...     withdraw(output, "clip_0_95")
    ...     output.list_files(layout.DATASET, recursive=True)
    []
    """
    for key in reversed(keys(name)):
        output.delete(key)


def mark_random(output: Store, validation_fraction: float) -> None:
    """Marks a dataset as having random text embeddings; to be called before the first item is published.

    >>> import pathlib, tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mark_random(output := LocalStore(pathlib.Path(folder)), validation_fraction=0.1)
    ...     sorted(key.parent.name for key in output.list_files(layout.DATASET, recursive=True))
    ['train', 'val']
    """
    for root in ("train", "val") if validation_fraction else ("",):
        output.write(_marker(root), NOT_FOR_TRAINING_TEXT.encode())


def still_random(output: Store) -> bool:
    """Whether the dataset still holds random embeddings; if not, its markers are removed.

    >>> import pathlib, tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mark_random(output := LocalStore(pathlib.Path(folder)), validation_fraction=0.0)
    ...     still_random(output), output.exists(layout.DATASET / layout.NOT_FOR_TRAINING)  # no record names an item
    (False, False)

    Records and journal tell: a run with ``--limit`` may have replaced some of the embeddings, and one that was
    interrupted may have published some that no record names yet.
    """
    markers = [_marker(root) for root in ("", "train", "val")]
    if not any(output.exists(marker) for marker in markers):
        return False
    if any(entry.get("text_encoder") == "t5_random" for entry in journal.read_all(output)):
        return True
    for key in output.list_files(layout.PROCESSED_VIDEOS, recursive=True):
        record = readback.read(output, key, readback.VIDEO)
        if record and record["text_encoder"] == "t5_random":
            return True
    for marker in markers:
        output.delete(marker)
    return False


def remove_empty(output: Store, validation_fraction: float) -> list[str]:
    """Removes empty folders that runs with another ``--validation-fraction`` left, and their markers.

    >>> import pathlib, tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     output = LocalStore(pathlib.Path(folder))
    ...     _ = output.write(layout.DATASET / "val/metas/clip_0_95.txt", b"A car.")
    ...     remove_empty(output, validation_fraction=0.0)
    ['val']

    Returns:
        The parts that still hold items of such a run; ``""`` for the dataset's own folder.
    """
    in_use = []
    for part in ("",) if validation_fraction else ("train", "val"):
        removed = [output.delete_empty_folder(layout.DATASET / part / folder) for folder, _ in _PARTS]
        if all(removed):
            output.delete(_marker(part))
            output.delete_empty_folder(layout.DATASET / part)  # the dataset's own folder holds the parts
        else:
            in_use.append(part)
    return in_use


def keys(name: str) -> list[PurePosixPath]:
    """Returns the keys of the three files of an item, in the order of publishing.

    >>> str(keys("train/clip_0_95")[-1])
    'cosmos_predict2_video2world_dataset/train/videos/clip_0_95.mp4'
    """
    root, stem = os.path.split(name)
    return [layout.DATASET / root / folder / f"{stem}{suffix}" for folder, suffix in _PARTS]


def _marker(part: str) -> PurePosixPath:
    return layout.DATASET / part / layout.NOT_FOR_TRAINING


def _holds(output: Store, key: PurePosixPath, data: bytes) -> bool:
    try:
        return output.read(key) == data
    except FileNotFoundError:
        return False
