"""Finds selected videos that are not settled because the pipeline lost them or the output could not be written.

Workers enter each video that they record into the ledger of the run. The driver compares it with the selection, so that
it need trust neither the runner nor its counters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from beam_curate.elements import Failure, Video
from beam_curate.errors import IncompleteVideoError
from beam_curate.records import arrivals
from beam_curate.records.recorder import AGAIN, STAGE, few, record_video
from beam_curate.records.records import RecordContext
from beam_curate.store.ledger import Ledger

_MOST_NAMED = 20


def settle(context: RecordContext, run: PurePosixPath, ledger: Ledger, videos: Sequence[Video]) -> dict[Video, str]:
    """Records each selected video that was never recorded as failed, to be done again.

    Args:
        context: Of the run.
        run: The folder of the run.
        ledger: All entries of the run.
        videos: Those selected.

    Returns:
        Why each video that is not settled is not.
    """
    found: dict[Video, str] = {}
    for video in videos:
        why = ledger.unsettled(video)
        if not ledger.has(video):
            parts = sorted(arrivals.arrived(context.output, run, video))
            what = (
                f"only these chunks of it arrived: {few(parts)} (counted from 0)"
                if parts
                else "nothing of it arrived, or its arrival could not be written to the output"
            )
            error = IncompleteVideoError(f"it was selected, and {what}; {AGAIN}")
            why = record_video(context, video, (), [Failure.of(error, STAGE, video.uri)]).unsettled or str(error)
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
