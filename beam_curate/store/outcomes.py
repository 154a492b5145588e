"""The outcomes of videos, read back from their records."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from beam_curate.elements import Video
from beam_curate.store import layout, readback
from beam_curate.store.base import Store
from beam_curate.store.readback import Marker

_CLIPS = ("clips", "filtered_clips", "failed_clips")  # keys of chunk records


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the records say of one video.

    Attributes:
        video: The video.
        record: ``processed_videos`` record, or None.
        chunks: Its chunk records.
        skipped: Why it was skipped, or None.
        failures: What failed.
    """

    video: Video
    record: Mapping[str, Any] | None
    chunks: Sequence[Mapping[str, Any]]
    skipped: str | None
    failures: Sequence[Mapping[str, Any]]

    @functools.cached_property
    def num_clips(self) -> int:
        """Number of clips that were made of it and that no filter rejected."""
        return sum(len(chunk.get("clips", ())) for chunk in self.chunks)

    @functools.cached_property
    def num_rejected(self) -> int:
        """Number of clips that filters rejected."""
        return sum(len(chunk.get("filtered_clips", ())) for chunk in self.chunks)

    @functools.cached_property
    def failed_clips(self) -> set[str]:
        """Clips of which a part failed: the file, a caption, an embedding or a window."""
        return {failure["clip_id"] for failure in self.failures if failure["clip_id"] is not None}

    @property
    def has_failed(self) -> bool:
        """Whether the video or each of its clips failed."""
        clips = {clip for chunk in self.chunks for key in _CLIPS for clip in chunk.get(key, ())}
        return self.state == "failed" or bool(clips and clips <= self.failed_clips)

    @functools.cached_property
    def state(self) -> str:
        """``processed``, ``skipped``, ``failed`` or ``pending``.

        A video that failed as a whole is ``failed`` even if clips that earlier runs made of it are still there.
        """
        if self.skipped:
            return "skipped"
        if any(failure["clip_id"] is None for failure in self.failures):
            return "failed"
        if self.record is not None:
            return "processed"
        return "failed" if self.failures else "pending"

    def matches(self, marker: Marker) -> bool:
        """Whether the records that a done marker stands for are all there."""
        if marker.get("video", self.video.uri) != self.video.uri or not all(self.chunks):
            return False
        return self.state != "pending" and len(self.failures) == marker["failures"]


def rare_records(output: Store) -> Collection[PurePosixPath]:
    """Lists the records of what was skipped or failed, which few videos have: `outcome` looks for no others.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(rare_records(LocalStore(Path(folder))))
        []
    """
    folders = (layout.SKIPPED_VIDEOS, layout.VIDEO_ERRORS)
    return {key for folder in folders for key in output.list_files(folder, recursive=True)}


def outcome(output: Store, video: Video, rare: Collection[PurePosixPath]) -> Outcome:
    """Reads the records of one video; one that does not validate counts as absent.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:  # without records
        ...     outcome(LocalStore(Path(folder)), Video("/in/a.mp4", "a.mp4", 900, "17"), rare=[]).state
        'pending'

    Args:
        output: Where its records are.
        video: Which one.
        rare: What `rare_records` returned.
    """
    path = video.relative_path
    record = readback.read(output, layout.processed_video(path), readback.VIDEO)
    indices = range(record["num_clip_chunks"] if record else 0)
    read = [readback.read(output, layout.processed_chunk(path, index), readback.CHUNK) for index in indices]
    skip = layout.skipped_video(path)
    skipped = readback.read(output, skip, readback.SKIP) if skip in rare else None
    chunks: list[Mapping[str, Any]] = [chunk or {} for chunk in read]
    errors = [layout.video_error(path, index) for index in range(max(1, len(chunks)))]
    failures = [failure for key in errors if key in rare for failure in _failures(output, key)]
    return Outcome(video, record, chunks, skipped["reason"] if skipped else None, failures)


def _failures(output: Store, error: PurePosixPath) -> Iterator[Mapping[str, Any]]:
    record = readback.read(output, error, readback.ERROR)
    yield from record["failures"] if record else ()
