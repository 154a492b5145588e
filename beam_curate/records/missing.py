"""Finds selected videos that are not settled because the pipeline lost them or the output could not be written.

Workers leave a note for each video that they record, beside the selection in the folder of the run. The driver compares
the two, so that it need trust neither the runner nor its counters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from beam_curate.elements import Failure, Video
from beam_curate.errors import IncompleteVideoError
from beam_curate.records import arrivals
from beam_curate.records.recorder import AGAIN, STAGE, few, record_video
from beam_curate.records.records import RecordContext
from beam_curate.store import layout
from beam_curate.store.base import Store

_MOST_NAMED = 20
_SETTLED = "settled"


def note(output: Store, run: PurePosixPath, video: Video, why: str | None) -> None:
    """Notes in the folder of the run that a video was recorded, and why it is not settled (None if it is)."""
    output.write(_note(run, video, settled=why is None), (why or "").encode(errors="backslashreplace"))


def settle(context: RecordContext, run: PurePosixPath, videos: Sequence[Video]) -> dict[Video, str]:
    """Records each selected video that was never recorded as failed, to be done again.

    Args:
        context: Of the run.
        run: The temporary folder of the run.
        videos: Those selected.

    Returns:
        Why each video that is not settled is not.
    """
    found: dict[Video, str] = {}
    settled = set(context.output.list_files(run / _SETTLED))
    for video in videos:
        if _note(run, video, settled=True) in settled:
            continue
        try:
            why: str | None = context.output.read(_note(run, video, settled=False)).decode()
        except FileNotFoundError:
            parts = sorted(arrivals.arrived(context.output, run, video))
            what = (
                f"only these chunks of it arrived: {few(parts)} (counted from 0)"
                if parts
                else "nothing of it arrived, or its arrival could not be written to the output"
            )
            error = IncompleteVideoError(f"it was selected, and {what}; {AGAIN}")
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


def _note(run: PurePosixPath, video: Video, *, settled: bool) -> PurePosixPath:
    return layout.of_run(run, _SETTLED if settled else "unsettled", video)
