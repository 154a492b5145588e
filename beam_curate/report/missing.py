"""One outcome for each selected video: which of them the pipeline lost on its way, if any.

Where a video is recorded, a note is left beside the selection, on the output's own file system, so that it is seen
from every runner. The driver compares: it trusts neither the runner nor its counters.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from beam_curate.elements import Failure, Video
from beam_curate.errors import IncompleteVideoError
from beam_curate.report.recorder import AGAIN, STAGE, few, record_video
from beam_curate.report.records import RecordContext

_NOT_WHOLE = ".incomplete"
_MOST_NAMED = 20


def recorded(selection: Path) -> Path:
    """Returns the folder of the notes of a run."""
    return selection.with_name(f"{selection.name}-recorded")


def note(folder: Path, video: Video, *, whole: bool) -> None:
    """Notes that a video was recorded, and whether all that was made of it was there."""
    folder.mkdir(exist_ok=True)
    (folder / f"{_name(video)}{'' if whole else _NOT_WHOLE}").touch()


def settle(context: RecordContext, folder: Path, videos: Sequence[Video]) -> list[Video]:
    """Records each selected video that was never recorded as failed, to be done again.

    Returns:
        Those, and the ones that were recorded as incomplete.
    """
    try:
        noted = set(os.listdir(folder))
    except FileNotFoundError:
        noted = set()
    never = [video for video in videos if not noted & {_name(video), _name(video) + _NOT_WHOLE}]
    for video in never:
        error = IncompleteVideoError(f"it was selected, and nothing of it arrived; {AGAIN}")
        record_video(context, video, (), [Failure.of(error, STAGE, video.uri)])
    return [video for video in videos if _name(video) not in noted]


def sentence(lost: Sequence[Video]) -> str:
    """Says which videos a run lost."""
    names = few([video.relative_path for video in lost], _MOST_NAMED)
    return f"{len(lost)} videos did not arrive whole and are still to do: {names}"


def _name(video: Video) -> str:
    return hashlib.sha256(video.uri.encode()).hexdigest()
