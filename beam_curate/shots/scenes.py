"""From TransNetV2's shot change probabilities to the clips to cut and the footage that is left out."""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beam_curate.elements import Loss
from beam_curate.video.timeline import Timeline

FrameRange = tuple[int, int]  # first frame, end frame (exclusive)
_FLOAT_S = 1e-6  # rounding error of sums of times in float64

# Why footage is not in a clip, as shown to users.
TOO_SHORT = "shorter than the shortest clip"
CROPPED = "cropped at the ends of shots"
CUT_OFF = "beyond the longest clip of a shot"
SHOT_CHANGES = "shot changes"
PAUSES = "pauses of the recording"
OVER_LIMIT = "over --limit-clips"


@dataclasses.dataclass(frozen=True)
class Piece:
    """Frames [start, end) of a video: a clip if ``cause`` is None, else footage that is left out."""

    start: int
    end: int
    cause: str | None


@dataclasses.dataclass(frozen=True)
class SceneRules:
    """Which scenes are kept, and how they are shortened.

    Attributes:
        threshold: A frame is a shot change if its probability is greater.
        min_length_s: Minimum length of a clip.
        min_length_frames: Minimum length of a clip; the longer of both minima counts.
        max_length_s: Maximum length of a clip.
        max_length_mode: ``stride`` divides a longer scene, ``truncate`` keeps its beginning.
        crop_s: Cropped from both ends of a scene, where dissolves linger.
    """

    threshold: float = 0.4
    min_length_s: float = 2.0
    min_length_frames: int = 48
    max_length_s: float = 60.0
    max_length_mode: str = "stride"
    crop_s: float = 0.5


def scenes_of(probabilities: NDArray[np.float32], threshold: float) -> list[FrameRange]:
    """Returns the runs of frames between shot changes.

    As in the published post-processing, frames of a change belong to no scene, and a video that is a change from
    beginning to end is one scene. The last scene reaches the end of the video.

    >>> scenes_of(np.array([0.1, 0.0, 0.9, 0.0, 0.1], np.float32), threshold=0.4)
    [(0, 2), (3, 5)]

    Args:
        probabilities: float [num_frames], the probability that a frame is part of a shot change.
        threshold: A frame is a shot change if its probability is greater.
    """
    change = np.concatenate(([True], probabilities > threshold, [True])).astype(np.int8)
    steps = np.diff(change)
    starts, ends = np.flatnonzero(steps == -1), np.flatnonzero(steps == 1)
    scenes = [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    return scenes or [(0, len(probabilities))]


def split_at(scenes: list[FrameRange], stretches: Sequence[FrameRange]) -> list[FrameRange]:
    """Divides scenes at pauses of the recording, which lie between stretches.

    >>> split_at([(0, 60), (61, 100)], stretches=[(0, 50), (50, 100)])
    [(0, 50), (50, 60), (61, 100)]
    """
    pieces = [
        (max(start, first), min(end, last)) for start, end in scenes for first, last in _touching(stretches, start, end)
    ]
    return [(start, end) for start, end in pieces if start < end]


def _touching(stretches: Sequence[FrameRange], start: int, end: int) -> Sequence[FrameRange]:
    first = bisect.bisect_right(stretches, start, key=lambda stretch: stretch[1])
    return stretches[first : bisect.bisect_left(stretches, end, key=lambda stretch: stretch[0])]


def divide(
    scenes: list[FrameRange], starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], rules: SceneRules
) -> list[Piece]:
    """Crops, splits and filters scenes.

    >>> starts_s = np.arange(100) / 10
    >>> divide([(0, 60), (61, 65)], starts_s, starts_s + 0.1, SceneRules(min_length_frames=20, crop_s=0.0))
    [Piece(start=0, end=60, cause=None), Piece(start=61, end=65, cause='shorter than the shortest clip')]

    Args:
        scenes: Frame ranges of one video, in order, none with a pause in it.
        starts_s: [num_frames], when each frame begins.
        ends_s: [num_frames], when each frame ends.
        rules: The lengths.

    Returns:
        Pieces that cover the scenes, in order.
    """
    pieces: list[Piece] = []
    for start, end in scenes:
        # At most crop_s is cropped, and a clip ends with the first frame that reaches max_length_s: at a constant rate,
        # int(crop x rate) and ceil(length x rate) frames.
        first = int(np.searchsorted(starts_s, starts_s[start] + rules.crop_s + _FLOAT_S, "right")) - 1
        last = int(np.searchsorted(ends_s, ends_s[end - 1] - rules.crop_s - _FLOAT_S)) + 1
        found = _split(first, last, starts_s, ends_s, rules)
        if any(piece.cause is None for piece in found):
            edges = (Piece(start, first, CROPPED), Piece(last, end, CROPPED))
            pieces += [piece for piece in (edges[0], *found, edges[1]) if piece.end > piece.start]
        else:
            pieces.append(Piece(start, end, TOO_SHORT))
    return pieces


def _split(
    first: int, last: int, starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], rules: SceneRules
) -> list[Piece]:
    found: list[Piece] = []
    while first < last:
        end = int(np.searchsorted(ends_s, starts_s[first] + rules.max_length_s - _FLOAT_S)) + 1
        end = min(last, max(end, first + 1))
        fits = (
            end - first >= rules.min_length_frames
            and ends_s[end - 1] - starts_s[first] >= rules.min_length_s - _FLOAT_S
        )
        found.append(Piece(first, end, None if fits else TOO_SHORT))
        first = end
        if rules.max_length_mode == "truncate" and first < last:
            return [*found, Piece(first, last, CUT_OFF)]
    return found


def losses_of(timeline: Timeline, pieces: Sequence[Piece]) -> tuple[Loss, ...]:
    """Returns the footage of a video that is not in a clip, by cause; clips and losses add up to the video's length.

    >>> from fractions import Fraction
    >>> from beam_curate.video import decode, scan
    >>> header = decode.SourceHeader(32, 16, Fraction(25), Fraction(1, 25), "h264", "yuv420p", None, "mov", 0, 0, 0.0)
    >>> timeline = Timeline(header, scan.Times(tuple(range(100)), last_duration=1))
    >>> losses_of(timeline, [Piece(0, 75, None), Piece(75, 100, TOO_SHORT)])
    (Loss(cause='shorter than the shortest clip', count=1, seconds=1.0),)

    Args:
        timeline: The timeline of the video.
        pieces: Pieces of the video; frames between them are shot changes.
    """
    lengths_s = timeline.ends_s - timeline.starts_s
    counts: collections.Counter[str] = collections.Counter()
    seconds: dict[str, float] = collections.defaultdict(float)
    reached = 0
    for piece in (*pieces, Piece(len(lengths_s), len(lengths_s), None)):
        change = Piece(reached, piece.start, SHOT_CHANGES)
        for lost in (change, piece):
            if lost.cause and lost.end > lost.start:
                counts[lost.cause] += 1
                seconds[lost.cause] += float(lengths_s[lost.start : lost.end].sum())
        reached = piece.end
    gaps_s = [float(timeline.starts_s[first] - timeline.ends_s[first - 1]) for first, _ in timeline.stretches[1:]]
    for gap_s in (gap_s for gap_s in gaps_s if gap_s > _FLOAT_S):  # there is none where the clock restarts
        counts[PAUSES] += 1
        seconds[PAUSES] += gap_s
    return tuple(Loss(cause, counts[cause], round(seconds[cause], 6)) for cause in sorted(counts))


def limited(pieces: Sequence[Piece], limit: int) -> list[Piece]:
    """Returns the pieces with at most `limit` clips among them; 0 means no limit.

    >>> [piece.cause for piece in limited([Piece(0, 50, None), Piece(50, 90, None)], limit=1)]
    [None, 'over --limit-clips']
    """
    if not limit:
        return list(pieces)
    left = itertools.accumulate(pieces, lambda count, piece: count + (piece.cause is None), initial=0)
    return [
        dataclasses.replace(piece, cause=OVER_LIMIT) if piece.cause is None and before >= limit else piece
        for before, piece in zip(left, pieces, strict=False)
    ]
