"""From the time stamps of all frames of a source to the facts the other stages rely on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from beam_curate.containers.timestamps import PAUSE_S, PAUSE_STEPS, Mended, mend
from beam_curate.elements import Span, VideoInfo
from beam_curate.errors import UnreadableSourceError
from beam_curate.video.decode import SourceHeader
from beam_curate.video.scan import Times

_FALLBACK_RATE = Fraction(25)  # for a file with neither time stamps nor a frame rate
_FLOAT_S = 1e-6  # what sums of times in float64 may be off
_GRID_TICKS = 2.5  # stamps so near to an even grid are meant to lie on it
_ROUNDING_TICKS = 1.5  # both ends of a length are rounded, and the last frame's duration is cut off
_MOST_RANGES = 5  # of frame numbers in a note
MAX_RATE_DENOMINATOR = 100_000  # FFmpeg holds both halves of a rate in 32 bits


class Timeline:
    """The frames of a source in time.

    A stretch is what was recorded without a pause; each has its own even grid, where there is one.

    Attributes:
        info: The facts.
        pts: int64 [num_frames + 1] in ``info.time_base``, strictly increasing; the last entry is the end of
            the last frame.
        stretches: First and end frame of each stretch, in order.
        starts_s: float64 [num_frames], when each frame begins, in s after the first.
        ends_s: float64 [num_frames], when each frame ends: with the next one, or before a pause when it would
            have ended without.
        rounding_s: By how much a length may be off since time stamps are rounded.
    """

    info: VideoInfo
    pts: NDArray[np.int64]
    stretches: tuple[tuple[int, int], ...]
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    rounding_s: float

    def __init__(self, header: SourceHeader, times: Times) -> None:
        """Works out the facts.

        Raises:
            UnreadableSourceError: There is no frame.
        """
        count = len(times.pts)
        if count == 0:
            raise UnreadableSourceError("it holds no video frame")
        time_base = header.time_base
        mended = None if _too_coarse(header, times) else mend(times.pts, time_base)
        if mended is None:
            rate = header.frame_rate or _FALLBACK_RATE
            time_base = 1 / rate
            mended = Mended(np.arange(count, dtype=np.int64), np.ones(count, dtype=np.int64))
            has_timestamps, even, last = False, True, 1
        else:
            has_timestamps = True
            rate, even = _rate(header.frame_rate, mended, time_base)
            last = _last_duration(times.last_duration, mended, rate, even, time_base)
        edges = (0, *mended.stretches, count)
        self._bad = frozenset(mended.bad)
        self._seekable = has_timestamps and not mended.restarts
        self.pts = np.append(mended.pts, mended.pts[-1] + last)
        self.stretches = tuple(itertools.pairwise(edges))
        ends = self.pts[1:].copy()
        for frame in mended.stretches:
            step = round(1 / (rate * time_base)) if even else int(mended.steps[frame - 1])
            ends[frame - 1] = min(int(ends[frame - 1]), int(self.pts[frame - 1]) + max(1, step))
        self._ends = ends
        self.starts_s, self.ends_s = self._in_seconds(time_base, rate, even)
        usual_s = float(np.median(self.ends_s - self.starts_s))
        self.rounding_s = _FLOAT_S if even else min(_ROUNDING_TICKS * float(time_base), usual_s / 4)
        info = VideoInfo(
            width=header.width,
            height=header.height,
            frame_rate_num=rate.numerator,
            frame_rate_den=rate.denominator,
            time_base_num=time_base.numerator,
            time_base_den=time_base.denominator,
            num_frames=count,
            duration_s=float(self.ends_s[-1]),
            has_timestamps=has_timestamps,
            constant_frame_rate=even,
            video_codec=header.video_codec,
            pixel_format=header.pixel_format,
            audio_codec=header.audio_codec,
            container=header.container,
            bit_rate_kbps=header.bit_rate_kbps,
            first_pts=int(self.pts[0]),
            pixel_aspect_num=header.pixel_aspect.numerator,
            pixel_aspect_den=header.pixel_aspect.denominator,
            crop=header.crop,
            mended=bool(mended.bad or mended.restarts),
        )
        notes = (*_notes(header, times, info), *_notes_on_times(mended, self))
        self.info = dataclasses.replace(info, notes=notes)

    def seconds(self) -> NDArray[np.float64]:
        """Start time of each frame, and the end of the last, in s after the first frame's: [num_frames + 1]."""
        return np.append(self.starts_s, self.ends_s[-1])

    def span(self, clip_id: str, start_frame: int, end_frame: int) -> Span:
        """Returns the span of frames [start_frame, end_frame), which lie in one stretch."""
        own_times = self.info.mended and not self.info.constant_frame_rate
        return Span(
            clip_id=clip_id,
            start_frame=start_frame,
            end_frame=end_frame,
            start_pts=int(self.pts[start_frame]),
            end_pts=int(self._ends[end_frame - 1]),
            start_s=float(self.starts_s[start_frame]),
            end_s=float(self.ends_s[end_frame - 1]),
            frame_pts=tuple(self.pts[start_frame:end_frame].tolist()) if own_times else (),
            seekable=self._seekable and start_frame not in self._bad,
        )

    def _in_seconds(
        self, time_base: Fraction, rate: Fraction, even: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns when frames begin and end; on the even grid where there is one, whatever the stamps' rounding."""
        starts = _times_unit(self.pts[:-1] - self.pts[0], time_base)
        ends = _times_unit(self._ends - self.pts[0], time_base)
        for first, end in self.stretches if even else ():
            grid = starts[first] + _times_unit(np.arange(end - first + 1), 1 / rate)
            if np.abs(starts[first:end] - grid[:-1]).max() <= _GRID_TICKS * float(time_base):
                whole = abs(ends[end - 1] - grid[-1]) <= 0.5 / float(rate)
                starts[first:end] = grid[:-1]
                ends[first : end - 1 + whole] = grid[1 : end - first + whole]
        return starts, ends


def _times_unit(numbers: NDArray[np.int64], unit: Fraction) -> NDArray[np.float64]:
    """Returns numbers x unit, each rounded once where that is possible."""
    numerator, denominator = float(unit.numerator), float(unit.denominator)
    product: NDArray[np.float64] = numbers.astype(np.float64) * numerator / denominator
    return product


def _too_coarse(header: SourceHeader, times: Times) -> bool:
    """Whether the clock has not even one tick for each frame of the rate that the file names."""
    return header.frame_rate * header.time_base > 1 and len(set(times.pts)) < len(times.pts)


def _last_duration(given: int, mended: Mended, rate: Fraction, even: bool, time_base: Fraction) -> int:
    """Returns how long the last frame is shown, in ticks: what the file says, unless that is a pause."""
    usual = max(1, round(1 / (rate * time_base))) if even else int(mended.steps[-1]) or 0
    usual = usual or max(1, round(1 / (rate * time_base)))
    if not 0 < given <= max(PAUSE_S / time_base, PAUSE_STEPS * usual):
        return usual
    # Of field pictures, the duration of one field is given.
    return usual if even and given <= usual // 2 + 1 else given


def _rate(claimed: Fraction, mended: Mended, time_base: Fraction) -> tuple[Fraction, bool]:
    """Returns the frame rate, and whether frames follow each other evenly at it.

    It is what the container claims where the time stamps agree, or else their average, pauses left out.
    """
    pts, edges = mended.pts, (0, *mended.stretches, len(mended.pts))
    if len(pts) < 2:
        return claimed or _FALLBACK_RATE, True
    if claimed and _is_even(mended, time_base, claimed):
        return claimed, True
    steps = len(pts) - 1 - len(mended.stretches)
    ticks = sum(int(pts[end - 1]) - int(pts[first]) for first, end in itertools.pairwise(edges))
    if steps < 1:
        return claimed or _FALLBACK_RATE, False
    average = (Fraction(steps, ticks) / time_base).limit_denominator(MAX_RATE_DENOMINATOR)
    average = average or Fraction(1, MAX_RATE_DENOMINATOR)
    return average, _is_even(mended, time_base, average)


def _is_even(mended: Mended, time_base: Fraction, rate: Fraction) -> bool:
    """Whether frame i of each stretch lies within half a frame of i / rate after the first."""
    edges = (0, *mended.stretches, len(mended.pts))
    for first, end in itertools.pairwise(edges):
        offsets = (mended.pts[first:end] - mended.pts[first]) * float(time_base * rate)
        if not np.all(np.abs(offsets - np.arange(end - first)) < 0.5):
            return False
    return True


def _notes_on_times(mended: Mended, timeline: Timeline) -> Iterator[str]:
    if mended.bad:
        frames = "1 frame" if len(mended.bad) == 1 else f"{len(mended.bad)} frames"
        yield f"time stamps of {frames} ({_ranges(mended.bad)}) cannot be true: replaced from their neighbours"
    if mended.restarts:
        yield f"its clock starts again at frame {_ranges(mended.restarts)}: times go on from there, shots end there"
    pauses = [frame for frame in mended.stretches if frame not in mended.restarts]
    if pauses:
        seconds = sum(float(timeline.starts_s[frame] - timeline.ends_s[frame - 1]) for frame in pauses)
        times = "once" if len(pauses) == 1 else f"{len(pauses)} times"
        yield f"the recording pauses {times}, for {seconds:.1f} s in all (at frame {_ranges(pauses)}): shots end there"


def _ranges(frames: Sequence[int]) -> str:
    """Returns frame numbers in words: 3, 7 to 9, and so on."""
    ranges: list[list[int]] = []
    for frame in frames:
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1][1] = frame
        else:
            ranges.append([frame, frame])
    words = [str(a) if a == b else f"{a} to {b}" for a, b in ranges[:_MOST_RANGES]]
    return ", ".join(words) + (" and others" if len(ranges) > _MOST_RANGES else "")


def _notes(header: SourceHeader, times: Times, info: VideoInfo) -> tuple[str, ...]:
    notes = [*header.notes]
    if header.claimed_frames > len(times.pts) and not _reaches_the_end(header, info):
        notes.append(f"the file claims {header.claimed_frames} frames and holds {len(times.pts)}: it may be truncated")
    if times.damaged:
        notes.append(f"{times.damaged} damaged frames")
    if not info.has_timestamps:
        notes.append("its frames carry no usable time stamps: an even frame rate is assumed")
    return tuple(notes)


def _reaches_the_end(header: SourceHeader, info: VideoInfo) -> bool:
    """Whether the frames last as long as the file says, though it counts more of them.

    Edit lists leave frames out, and AVI counts the empty chunks by which it lets a frame stay longer.
    """
    half_a_frame_s = 0.5 / float(info.frame_rate)
    return 0 < header.claimed_duration_s <= info.duration_s + half_a_frame_s
