"""One source, one record: records go by the path below the input folder, clips by the full path of the source."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.store import layout, readback
from beam_curate.store.base import Store

_REMEDY = "Name another --output-clip-path, or as --input-video-path always one folder that holds all of the sources"


def check_sources(videos: Iterable[Video], output: Store) -> None:
    """Checks that no video would take the record of another source, or get a second one.

    A source that was moved or replaced, so that the recorded one is no longer there, is the same video.

    Args:
        videos: What a run would work on.
        output: The output.

    Raises:
        UsageError: One of them would. It names both sources, or both paths.
    """
    with ThreadPoolExecutor() as pool:  # records may lie on a slow file system
        for wrong in pool.map(lambda video: _taken(video, output) or _twice(video, output), videos):
            if wrong:
                raise UsageError(f"{wrong}. {_REMEDY}")


def _taken(video: Video, output: Store) -> str | None:
    """Says which other source has the records of a video's relative path."""
    path = video.relative_path
    for recorded in (
        readback.read(output, layout.processed_video(path), readback.VIDEO),
        readback.read(output, layout.skipped_video(path), readback.SKIP),
        readback.read(output, layout.video_error(path), readback.ERROR),
    ):
        if recorded and recorded["video"] != video.uri and _is_another(recorded["video"], video.uri):
            return (
                f"{video.uri} and {recorded['video']} are both {path} below their input folders, and the output holds "
                "the second: its clips would be withdrawn"
            )
    return None


def _twice(video: Video, output: Store) -> str | None:
    """Says under which other relative path a source is recorded: a folder above or below was its input folder."""
    parts = PurePosixPath(video.uri).parts[1:]
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        record = (
            None if path == video.relative_path else readback.read(output, layout.processed_video(path), readback.VIDEO)
        )
        if record and record["video"] == video.uri:
            root = "/" + "/".join(parts[:start])
            return (
                f"the output holds {video.uri} as {path}, from the input folder {root}; now it is {video.relative_path}"
            )
    return None


def _is_another(recorded: str, uri: str) -> bool:
    try:
        return not os.path.samefile(recorded, uri)
    except (OSError, ValueError):
        return False  # it is no longer there
