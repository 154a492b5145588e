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
from beam_curate.store.recorded import Recorded

_REMEDY = "Use another --output-clip-path, or always the same --input-video-path: a folder that contains all sources"


def check_sources(videos: Iterable[Video], recorded: Recorded, reader: SourceReader) -> None:
    """Checks that no video would overwrite the records of another source, or be recorded twice.

    A source that was moved or replaced is the same video: the recorded one is no longer there.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:  # without records there is nothing to overwrite
    ...     recorded = Recorded(LocalStore(Path(folder)))
    ...     check_sources([Video("/in/a.mp4", "a.mp4", 900, "17")], recorded, SourceReader())

    Args:
        videos: What a run would work on.
        recorded: What the output holds.
        reader: Tells whether a source is still there.

    Raises:
        UsageError: One would; the message names both sources, or both paths.
    """
    with ThreadPoolExecutor() as pool:  # records may lie on a slow file system
        for problem in pool.map(lambda video: _taken(video, recorded, reader) or _twice(video, recorded), videos):
            if problem:
                raise UsageError(f"{problem}. {_REMEDY}")


def _source(recorded: Recorded, key: PurePosixPath, shape: pydantic.TypeAdapter[Any]) -> str | None:
    """Returns the source that a record names; None without a record."""
    record = readback.read(recorded.output, key, shape)
    return record["video"] if record else None


def _taken(video: Video, recorded: Recorded, reader: SourceReader) -> str | None:
    """Returns a message if the records of a video's relative path are of another source."""
    path = video.relative_path
    if not recorded.knows(path):
        return None
    for source in (
        _source(recorded, layout.processed_video(path), readback.VIDEO),
        _source(recorded, layout.skipped_video(path), readback.SKIP),
        _source(recorded, layout.video_error(path), readback.ERROR),
    ):
        if source and source != video.uri and reader.is_another(source, video.uri):
            return (
                f"{video.uri} and {source} are both {path} below their input folders, and the output folder "
                "holds the second, whose clips would be withdrawn"
            )
    return None


def _twice(video: Video, recorded: Recorded) -> str | None:
    """Returns a message if a source is recorded under another relative path, from a folder above or below."""
    parts = PurePosixPath(video.uri).parts[1:]
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        if path == video.relative_path or not recorded.knows(path):
            continue
        if _source(recorded, layout.processed_video(path), readback.VIDEO) == video.uri:
            root = video.uri.removesuffix(path).rstrip("/") or "/"
            return (
                f"the output folder holds {video.uri} as {path}, from the input folder {root}; now it is "
                f"{video.relative_path}"
            )
    return None
