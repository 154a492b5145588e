"""One outcome for each selected video: which of them are not settled, lost by the pipeline or refused by the disk.

Where a video is recorded, a note is left beside the selection, on the output's own file system, so that it is seen
from every runner. The driver compares: it trusts neither the runner nor its counters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from beam_curate.elements import Failure, Video
from beam_curate.errors import IncompleteVideoError
from beam_curate.records.recorder import AGAIN, STAGE, few, record_video
from beam_curate.records.records import RecordContext
from beam_curate.store.base import Store

_MOST_NAMED = 20


def recorded(selection: PurePosixPath) -> PurePosixPath:
    """Returns the folder of the notes of a run."""
    return selection.with_name(f"{selection.name}-recorded")


def note(output: Store, folder: PurePosixPath, video: Video, why: str | None) -> None:
    """Notes that a video was recorded, and why it is not settled, or None where it is."""
    output.write(folder / _name(video), (why or "").encode(errors="backslashreplace"))


def settle(context: RecordContext, folder: PurePosixPath, videos: Sequence[Video]) -> dict[Video, str]:
    """Records each selected video that was never recorded as failed, to be done again.

    Returns:
        Why, for those and for the ones that were recorded and are not settled.
    """
    found: dict[Video, str] = {}
    for video in videos:
        try:
            why: str | None = context.output.read(folder / _name(video)).decode()
        except FileNotFoundError:
            error = IncompleteVideoError(f"it was selected, and nothing of it arrived; {AGAIN}")
            why = record_video(context, video, (), [Failure.of(error, STAGE, video.uri)]) or str(error)
        if why:
            found[video] = why
    return found


def sentence(found: Mapping[Video, str]) -> str:
    """Says which videos of a run are not settled, and why."""
    names = [f"{video.relative_path} ({why})" for video, why in found.items()]
    return f"{len(found)} videos are not recorded and are still to do: {few(names, _MOST_NAMED)}"


def _name(video: Video) -> str:
    return hashlib.sha256(video.uri.encode(errors="surrogateescape")).hexdigest()
