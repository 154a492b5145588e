"""Verifies that Cosmos-Predict2's video2world post-training can read a finished dataset.

The trainer's loader silently drops items whose files do not match, and aborts the training at the first item that it
cannot read. It lists ``videos/`` for names ending in ``.mp4`` and pairs them by name with ``t5_xxl/*.pickle``;
``metas/*.txt`` holds the captions that the embeddings were made from.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import numpy as np

from beam_curate.dataset.embedding_file import MAX_TOKENS
from beam_curate.dataset.format import MAX_CAPTION_BYTES, caption_fault, repeated
from beam_curate.dataset.verify.faults import SUFFIXES, UNCHECKED, Fault, Item, Report, print_report, quarantine
from beam_curate.dataset.verify.files import LOCAL, Files
from beam_curate.dataset.verify.listing import Listing
from beam_curate.dataset.verify.pairs import Pair, check_pairs, read_embedding
from beam_curate.dataset.verify.videos import VideoCheck, check_video
from beam_curate.errors import EmbeddingFileError
from beam_curate.store.layout import NOT_FOR_TRAINING
from beam_curate.video import decoder_pool

__all__ = ["MIN_FRAMES", "Fault", "Report", "print_report", "quarantine", "verify"]

MIN_FRAMES = 94
"""One more than the 93 frames of a sample: the loader draws a start from [0, frames - 93)."""

_WINDOW = re.compile(r"_(\d+)_(\d+)$")
_MAX_THREADS = 16  # each holds a few decoded frames


def verify(
    dataset: PurePath,
    *,
    files: Files = LOCAL,
    min_frames: int = MIN_FRAMES,
    allow_random_embeddings: bool = False,
    count_tokens: Callable[[str], int] | None = None,
    limits: decoder_pool.Limits = decoder_pool.Limits(),  # noqa: B008 - frozen
) -> Report:
    """Reads every file of a dataset and reports all faults. Changes nothing.

    >>> report = verify(Path("no/such/dataset"))
    >>> report.ok, [(fault.rule, fault.message) for fault in report.faults]
    (False, [('missing_root', 'is not a folder')])

    Args:
        dataset: Folder with ``videos/``, ``metas/`` and ``t5_xxl/``, or with ``train/`` or ``val/`` (or both)
            that have them.
        files: Lists and reads it.
        min_frames: Minimum number of frames of a video; one more than the trainer's ``num_frames``.
        allow_random_embeddings: Accept a dataset marked as having random embeddings.
        count_tokens: Returns the number of T5 tokens of a stripped caption, the end-of-sequence token included, not
            truncated to 512. Called by one thread at a time. If None, the number of rows is not checked.
        limits: Limits of the child processes that decode the videos.

    Returns:
        The report; its faults are sorted by file.

    Raises:
        MachineError: No child process or thread can be started.
        OSError: A folder cannot be listed.
    """
    if not files.is_folder(dataset):
        fault = Fault(dataset, "missing_root", "is not a folder")
        return Report(dataset, 0, 0, 0.0, (fault,), (), files.origin)
    listing = Listing(files)
    roots, faults = listing.roots(dataset)
    items: list[Item] = []
    for root in roots:
        found, root_faults = listing.of_root(root)
        items += found
        faults += root_faults
    if not items:
        faults.append(Fault(dataset, "empty", "has no items"))
    markers = [root / NOT_FOR_TRAINING for root in {dataset, *roots} if files.exists(root / NOT_FOR_TRAINING)]
    if not allow_random_embeddings:
        faults += [Fault(marker, "random_embeddings", "says that the embeddings are random") for marker in markers]

    checker = _Checker(files, min_frames, count_tokens, limits)
    checked = list(checker.check_all(items))
    faults += [fault for one in checked for fault in one.faults]
    faults += check_pairs((one.pair for one in checked if one.pair), files)
    return Report(
        dataset,
        num_items=sum(len(item.folders) == len(SUFFIXES) for item in items),
        num_frames=sum(one.num_frames for one in checked),
        duration_s=sum(one.duration_s for one in checked),
        faults=tuple(sorted(faults, key=lambda fault: (str(fault.file), fault.rule))),
        notes=(
            *_notes(Counter(one.codec for one in checked), count_tokens is None, bool(markers)),
            *_repeated(Counter(one.pair.caption_hash for one in checked if one.pair)),
        ),
        origin=files.origin,
    )


def _notes(codecs: Counter[str], tokens_unchecked: bool, random_embeddings: bool) -> Iterator[str]:
    """Yields what readers of the report should know besides the faults."""
    if tokens_unchecked:
        yield "Not checked, for lack of a tokenizer: that an embedding has one row per token of its caption."
    yield "Not checked: whether the trainer's own loader opens the items; videos were decoded with FFmpeg."
    if random_embeddings:
        yield "The embeddings are random: a model trained on them learns nothing from its captions."
    for codec, count in sorted(codecs.items()):
        if codec not in ("", "h264"):
            yield f"Videos encoded as {codec} instead of H.264: {count}."


def _repeated(captions: Counter[bytes]) -> Iterator[str]:
    """Yields a note if many items have the same caption, as from a server that always gives the same one."""
    if count := repeated(captions):
        yield f"{count} of {captions.total()} items have the same caption: does the captioner describe what it sees?"


@dataclasses.dataclass(frozen=True)
class _Checked:
    """The result of reading an item's files; ``pair`` is None unless caption and embedding are valid."""

    faults: tuple[Fault, ...]
    codec: str
    num_frames: int
    duration_s: float
    pair: Pair | None


class _Checker:
    """Checks items; the arguments are those of ``verify``."""

    def __init__(
        self, files: Files, min_frames: int, count_tokens: Callable[[str], int] | None, limits: decoder_pool.Limits
    ) -> None:
        self._files = files
        self._limits = limits
        self._min_frames = min_frames
        self._count_tokens = count_tokens
        self._tokenizer_lock = threading.Lock()  # Hugging Face's fast tokenizers refuse a second thread

    def check_all(self, items: list[Item]) -> Iterator[_Checked]:
        """Yields checked items in order; several threads read them, each with a child process that decodes."""
        threads = min(_MAX_THREADS, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
            yield from pool.map(self._check, items)

    def _check(self, item: Item) -> _Checked:
        """Checks the files that an item has."""
        faults = []
        video, caption, embedding = VideoCheck(), None, None
        if "videos" in item.folders:
            video = self._video(item)
            faults += [item.fault("videos", rule, message) for rule, message in video.findings]
        if "metas" in item.folders:
            try:
                with self._files.reading(item.path("metas")) as path:
                    caption = _read_caption(path)
            except ValueError as error:
                faults.append(item.fault("metas", "caption", str(error)))
            except OSError as error:
                faults.append(item.fault("metas", UNCHECKED, str(error)))
        if "t5_xxl" in item.folders:
            try:
                with self._files.reading(item.path("t5_xxl")) as path:
                    embedding = read_embedding(path)
            except EmbeddingFileError as error:
                faults.append(item.fault("t5_xxl", "embedding", str(error)))
            except OSError as error:
                faults.append(item.fault("t5_xxl", UNCHECKED, str(error)))
        pair = None
        if caption is not None and embedding is not None:
            faults += self._token_faults(item, caption, embedding)
            pair = Pair.of(item, caption, embedding)
        return _Checked(tuple(faults), video.codec, video.num_frames, video.duration_s, pair)

    def _video(self, item: Item) -> VideoCheck:
        frames = _window_frames(item.stem)
        try:
            with self._files.reading(item.path("videos")) as path:
                return check_video(path, min_frames=self._min_frames, window_frames=frames, limits=self._limits)
        except OSError as error:
            return VideoCheck(findings=((UNCHECKED, str(error)),))

    def _token_faults(self, item: Item, caption: str, embedding: np.ndarray) -> Iterator[Fault]:
        """Yields a fault if an embedding does not have one row per token of its caption."""
        if self._count_tokens is None:
            return
        with self._tokenizer_lock:
            expected = min(MAX_TOKENS, self._count_tokens(caption))
        if len(embedding) != expected:
            message = f"has {len(embedding)} rows, but the caption has {expected} tokens"
            yield item.fault("t5_xxl", "token_count", message)


def _window_frames(stem: str) -> int | None:
    """Returns the number of frames of a window by its name, which ends in _START_END, both inclusive; else None."""
    match = _WINDOW.search(stem)
    frames = int(match[2]) - int(match[1]) + 1 if match else 0
    return frames if frames > 0 else None


def _read_caption(path: Path) -> str:
    """Returns a caption, stripped as for the encoder."""
    with path.open("rb") as file:
        data = file.read(MAX_CAPTION_BYTES + 1)
        if len(data) > MAX_CAPTION_BYTES:
            size = max(len(data), os.fstat(file.fileno()).st_size)
            raise ValueError(f"has {size} bytes; a caption has at most {MAX_CAPTION_BYTES}")
    try:
        caption = data.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 ({error.reason} at byte {error.start})") from error
    if fault := caption_fault(caption):
        raise ValueError(fault)
    return caption
