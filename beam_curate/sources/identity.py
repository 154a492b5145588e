"""One record per source: records are named by the path below the input folder, clips by the source's full path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.store import layout, readback
from beam_curate.store.base import Store

_REMEDY = "Use another --output-clip-path, or always the same --input-video-path: a folder that contains all sources"


def check_sources(videos: Iterable[Video], output: Store) -> None:
    """Checks that no video would overwrite the records of another source, or be recorded twice.

    A source that was moved or replaced is the same video: the recorded one is no longer there.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:  # without records there is nothing to overwrite
    ...     check_sources([Video("/in/a.mp4", "a.mp4", 900, "17")], LocalStore(Path(folder)))

    Args:
        videos: What a run would work on.
        output: The output.

    Raises:
        UsageError: One would; the message names both sources, or both paths.
    """
    with ThreadPoolExecutor() as pool:  # records may lie on a slow file system
        for problem in pool.map(lambda video: _taken(video, output) or _twice(video, output), videos):
            if problem:
                raise UsageError(f"{problem}. {_REMEDY}")


def _taken(video: Video, output: Store) -> str | None:
    """Returns a message if the records of a video's relative path are of another source."""
    path = video.relative_path
    for recorded in (
        readback.read(output, layout.processed_video(path), readback.VIDEO),
        readback.read(output, layout.skipped_video(path), readback.SKIP),
        readback.read(output, layout.video_error(path), readback.ERROR),
    ):
        if recorded and recorded["video"] != video.uri and _is_another(recorded["video"], video.uri):
            return (
                f"{video.uri} and {recorded['video']} are both {path} below their input folders, and the output folder "
                "holds the second, whose clips would be withdrawn"
            )
    return None


def _twice(video: Video, output: Store) -> str | None:
    """Returns a message if a source is recorded under another relative path, from a folder above or below."""
    parts = PurePosixPath(video.uri).parts[1:]
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        record = (
            None if path == video.relative_path else readback.read(output, layout.processed_video(path), readback.VIDEO)
        )
        if record and record["video"] == video.uri:
            root = "/" + "/".join(parts[:start])
            return (
                f"the output folder holds {video.uri} as {path}, from the input folder {root}; now it is "
                f"{video.relative_path}"
            )
    return None


def _is_another(recorded: str, uri: str) -> bool:
    try:
        return not os.path.samefile(recorded, uri)
    except (OSError, ValueError):
        return False  # it is no longer there
