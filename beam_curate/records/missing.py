"""Finds selected videos that are not settled because the pipeline lost them or the output could not be written.

Workers leave a note for each video that they record, beside the selection in the output. The driver compares the two,
so that it need trust neither the runner nor its counters.
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
    """Returns the folder of a run's notes.

    >>> recorded(PurePosixPath("tmp/selection"))
    PurePosixPath('tmp/selection-recorded')
    """
    return selection.with_name(f"{selection.name}-recorded")


def note(output: Store, folder: PurePosixPath, video: Video, why: str | None) -> None:
    """Notes that a video was recorded, and why it is not settled (None if it is)."""
    output.write(folder / _name(video), (why or "").encode(errors="backslashreplace"))


def settle(context: RecordContext, folder: PurePosixPath, videos: Sequence[Video]) -> dict[Video, str]:
    """Records each selected video that was never recorded as failed, to be done again.

    Returns:
        Why each video that is not settled is not.
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
    """Returns a message that names the videos that are not settled, and why.

    >>> sentence({Video("/in/a.mp4", "a.mp4", 1, "1"): "a chunk did not arrive"})
    '1 videos are not recorded and are still to do: a.mp4 (a chunk did not arrive)'
    """
    names = [f"{video.relative_path} ({why})" for video, why in found.items()]
    return f"{len(found)} videos are not recorded and are still to do: {few(names, _MOST_NAMED)}"


def _name(video: Video) -> str:
    return hashlib.sha256(video.uri.encode(errors="surrogateescape")).hexdigest()
