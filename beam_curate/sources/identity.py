"""One record per source: records are named by the path below the input folder, clips by the source's full path."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import pydantic

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.sources.reading import SourceReader
from beam_curate.store import layout, readback
from beam_curate.store.base import Store
from beam_curate.store.files import short_digest

_REMEDY = "Use another --output-clip-path, or always the same --input-video-path: a folder that contains all sources"


def check_sources(videos: Iterable[Video], output: Store, reader: SourceReader) -> None:
    """Checks that no video would overwrite the records of another source, or be recorded twice.

    A source that was moved or replaced is the same video: the recorded one is no longer there.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:  # without records there is nothing to overwrite
    ...     check_sources([Video("/in/a.mp4", "a.mp4", 900, "17")], LocalStore(Path(folder)), SourceReader())

    Args:
        videos: What a run would work on.
        output: The output.
        reader: Tells whether a source is still there.

    Raises:
        UsageError: One would; the message names both sources, or both paths.
    """
    records = _Records(output)
    with ThreadPoolExecutor() as pool:  # records may lie on a slow file system
        for problem in pool.map(lambda video: _taken(video, records, reader) or _twice(video, records), videos):
            if problem:
                raise UsageError(f"{problem}. {_REMEDY}")


class _Records:
    """The records of an output that name their source; only those that are there are read."""

    def __init__(self, output: Store) -> None:
        self._output = output
        folders = (layout.PROCESSED_VIDEOS, layout.SKIPPED_VIDEOS, layout.VIDEO_ERRORS)
        keys = (key for folder in folders for key in output.list_files(folder, recursive=True))
        self._there = {short_digest(str(key)) for key in keys}

    def source(self, key: PurePosixPath, shape: pydantic.TypeAdapter[Any]) -> str | None:
        """Returns the source that a record names; None without a record."""
        if short_digest(str(key)) not in self._there:
            return None
        record = readback.read(self._output, key, shape)
        return record["video"] if record else None


def _taken(video: Video, records: _Records, reader: SourceReader) -> str | None:
    """Returns a message if the records of a video's relative path are of another source."""
    path = video.relative_path
    for recorded in (
        records.source(layout.processed_video(path), readback.VIDEO),
        records.source(layout.skipped_video(path), readback.SKIP),
        records.source(layout.video_error(path), readback.ERROR),
    ):
        if recorded and recorded != video.uri and reader.is_another(recorded, video.uri):
            return (
                f"{video.uri} and {recorded} are both {path} below their input folders, and the output folder "
                "holds the second, whose clips would be withdrawn"
            )
    return None


def _twice(video: Video, records: _Records) -> str | None:
    """Returns a message if a source is recorded under another relative path, from a folder above or below."""
    parts = PurePosixPath(video.uri).parts[1:]
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        if path == video.relative_path:
            continue
        if records.source(layout.processed_video(path), readback.VIDEO) == video.uri:
            root = video.uri.removesuffix(path).rstrip("/") or "/"
            return (
                f"the output folder holds {video.uri} as {path}, from the input folder {root}; now it is "
                f"{video.relative_path}"
            )
    return None
