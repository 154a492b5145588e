"""Footage without a clip, counted by cause, for records, summary and table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_curate.elements import Clip, ClipChunk

DAMAGED = "damaged or lost frames"
REFUSED = "of a kind that is refused"
FAILED = "could not be encoded"
UNREADABLE = "videos that could not be read"
_CAUSES = {"LostFramesError": DAMAGED, "RefusedSourceError": REFUSED}

Lost = dict[str, dict[str, Any]]


def lost_in(chunks: Sequence[ClipChunk]) -> Lost:
    """Returns ``{cause: {"count": pieces, "seconds": s}}`` of a video, from all of its chunks."""
    found = [(loss.cause, loss.count, loss.seconds) for loss in chunks[0].losses]
    found += [
        (_cause(clip), 1, clip.span.end_s - clip.span.start_s)
        for chunk in chunks
        for clip in chunk.clips
        if clip.media is None
    ]
    found += [
        (f"rejected by {clip.rejection.filter}", 1, clip.span.end_s - clip.span.start_s)
        for chunk in chunks
        for clip in chunk.rejected
        if clip.rejection is not None
    ]
    return _summed(found)


def of_record(record: Mapping[str, Any] | None) -> Lost:
    """Returns the lost footage in a validated record of a video; none if an earlier version of the program wrote it.

    >>> of_record({"footage_lost": {FAILED: {"count": 1, "seconds": 4.0}}})
    {'could not be encoded': {'count': 1, 'seconds': 4.0}}
    """
    return dict((record or {}).get("footage_lost", {}))


def total(records: Iterable[Mapping[str, Any]], num_unreadable: int) -> Lost:
    """Adds up the records of videos; the length of a video that could not be read is unknown.

    >>> record = {"footage_lost": {FAILED: {"count": 1, "seconds": 4.0}}}
    >>> total([record, record], num_unreadable=0)
    {'could not be encoded': {'count': 2, 'seconds': 8.0}}
    """
    found = [(cause, one["count"], one["seconds"]) for record in records for cause, one in of_record(record).items()]
    unreadable: Lost = {UNREADABLE: {"count": num_unreadable, "seconds": None}} if num_unreadable else {}
    return _summed(found) | unreadable


def in_words(lost: Lost) -> list[str]:
    """Returns one line per cause, the most footage first.

    Example:
        >>> in_words({DAMAGED: {"count": 2, "seconds": 0.5}, FAILED: {"count": 1, "seconds": 4.0}})
        ['4.0 s could not be encoded (1 x)', '0.5 s damaged or lost frames (2 x)']
    """
    ordered = sorted(lost.items(), key=lambda item: -(item[1]["seconds"] or 0))
    return [
        f"{one['count']} {cause}" if one["seconds"] is None else f"{one['seconds']:.1f} s {cause} ({one['count']} x)"
        for cause, one in ordered
    ]


def _cause(clip: Clip) -> str:
    kinds = [failure.error_type for failure in clip.failures]
    return next((_CAUSES[kind] for kind in kinds if kind in _CAUSES), FAILED)


def _summed(found: Iterable[tuple[str, int, float]]) -> Lost:
    lost: Lost = {}
    for cause, count, seconds in found:
        one = lost.setdefault(cause, {"count": 0, "seconds": 0.0})
        one["count"] += count
        one["seconds"] = round(one["seconds"] + seconds, 6)
    return lost
