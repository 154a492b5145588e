"""Derives frame rate, frame times and pauses of a source from the time stamps of all its frames."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from beam_curate.containers.timestamps import PAUSE_S, PAUSE_STEPS, FrameTimes, fix_timestamps
from beam_curate.elements import Span, VideoInfo
from beam_curate.errors import UnreadableSourceError
from beam_curate.video.decode import SourceHeader
from beam_curate.video.scan import Times

_FALLBACK_RATE = Fraction(25)  # for a file with neither time stamps nor a frame rate
_FLOAT_S = 1e-6  # rounding error of sums of times in float64
_GRID_TICKS = 2.5  # stamps this close to an even grid are meant to be on it
_ROUNDING_TICKS = 1.5  # both ends of a length are rounded, and the last frame's duration is truncated
_MAX_RANGES = 5  # of frame numbers in a note
MAX_RATE_DENOMINATOR = 100_000  # FFmpeg stores both parts of a rate in 32 bits


class Timeline:
    """When each frame of a source is shown.

    >>> header = SourceHeader(32, 16, Fraction(25), Fraction(1, 1000), "h264", "yuv420p", None, "mov", 0, 0, 0.0)
    >>> timeline = Timeline(header, Times((0, 40, 80, 5000, 5040), last_duration=40))
    >>> timeline.stretches, timeline.seconds().tolist()
    (((0, 3), (3, 5)), [0.0, 0.04, 0.08, 5.0, 5.04, 5.08])
    >>> timeline.span("clip", 0, 3).end_s
    0.12

    A stretch is a part that was recorded without a pause. At a constant frame rate, each stretch has its own even grid.

    Attributes:
        info: The facts of the source.
        pts: int64 [num_frames + 1] in ``info.time_base``, strictly increasing; the last entry is the end of
            the last frame.
        stretches: First and end frame of each stretch, in order.
        starts_s: float64 [num_frames], start of each frame, in s after the first.
        ends_s: float64 [num_frames], end of each frame: the start of the next one, or before a pause, the frame's usual
            duration after its start.
        rounding_s: Maximum error of a length due to rounded time stamps.
    """

    info: VideoInfo
    pts: NDArray[np.int64]
    stretches: tuple[tuple[int, int], ...]
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    rounding_s: float

    def __init__(self, header: SourceHeader, times: Times) -> None:
        """Computes the facts from what a source's header states and the times of its frames.

        Raises:
            UnreadableSourceError: There are no frames.
        """
        count = len(times.pts)
        if count == 0:
            raise UnreadableSourceError("it holds no video frame")
        time_base = header.time_base
        fixed = None if _too_coarse(header, times) else fix_timestamps(times.pts, time_base)
        if fixed is None:
            rate = header.frame_rate or _FALLBACK_RATE
            time_base = 1 / rate
            fixed = FrameTimes(np.arange(count, dtype=np.int64), np.ones(count, dtype=np.int64))
            has_timestamps, even, last = False, True, 1
        else:
            has_timestamps = True
            rate, even = _rate(header.frame_rate, fixed, time_base)
            last = _last_duration(times.last_duration, fixed, rate, even, time_base)
        edges = (0, *fixed.stretches, count)
        self._bad = frozenset(fixed.bad)
        self._seekable = has_timestamps and not fixed.restarts
        self.pts = np.append(fixed.pts, fixed.pts[-1] + last)
        self.stretches = tuple(itertools.pairwise(edges))
        ends = self.pts[1:].copy()
        for frame in fixed.stretches:
            step = round(1 / (rate * time_base)) if even else int(fixed.steps[frame - 1])
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
            fixed_timestamps=bool(fixed.bad or fixed.restarts),
        )
        notes = (*_notes(header, times, info), *_notes_on_times(fixed, self))
        self.info = dataclasses.replace(info, notes=notes)

    def seconds(self) -> NDArray[np.float64]:
        """Returns the start of each frame and the end of the last, in s after the first: [num_frames + 1]."""
        return np.append(self.starts_s, self.ends_s[-1])

    def span(self, clip_id: str, start_frame: int, end_frame: int) -> Span:
        """Returns the span of frames [start_frame, end_frame), which must be in one stretch."""
        own_times = self.info.fixed_timestamps and not self.info.constant_frame_rate
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
        """Returns when frames begin and end: on the even grid at a constant rate, without the rounding of stamps."""
        starts = _times_unit(self.pts[:-1] - self.pts[0], time_base)
        ends = _times_unit(self._ends - self.pts[0], time_base)
        for first, end in self.stretches if even else ():
            grid = starts[first] + _times_unit(np.arange(end - first + 1), 1 / rate)
            if np.abs(starts[first:end] - grid[:-1]).max() <= _GRID_TICKS * float(time_base):
                to_grid_end = abs(ends[end - 1] - grid[-1]) <= 0.5 / float(rate)
                starts[first:end] = grid[:-1]
                ends[first : end - 1 + to_grid_end] = grid[1 : end - first + to_grid_end]
        return starts, ends


def _times_unit(numbers: NDArray[np.int64], unit: Fraction) -> NDArray[np.float64]:
    """Returns numbers x unit, each rounded once if possible."""
    numerator, denominator = float(unit.numerator), float(unit.denominator)
    product: NDArray[np.float64] = numbers.astype(np.float64) * numerator / denominator
    return product


def _too_coarse(header: SourceHeader, times: Times) -> bool:
    """Whether the time base has less than one tick per frame at the frame rate that the file states."""
    return header.frame_rate * header.time_base > 1 and len(set(times.pts)) < len(times.pts)


def _last_duration(given: int, fixed: FrameTimes, rate: Fraction, even: bool, time_base: Fraction) -> int:
    """Returns the duration of the last frame in ticks: what the file states, unless that is a pause."""
    usual = max(1, round(1 / (rate * time_base))) if even else int(fixed.steps[-1]) or 0
    usual = usual or max(1, round(1 / (rate * time_base)))
    if not 0 < given <= max(PAUSE_S / time_base, PAUSE_STEPS * usual):
        return usual
    # For fields with one packet each, the duration of one field is given.
    return usual if even and given <= usual // 2 + 1 else given


def _rate(claimed: Fraction, fixed: FrameTimes, time_base: Fraction) -> tuple[Fraction, bool]:
    """Returns the frame rate, and whether it is constant.

    The rate is what the container states if the time stamps agree, else their average without pauses.
    """
    pts, edges = fixed.pts, (0, *fixed.stretches, len(fixed.pts))
    if len(pts) < 2:
        return claimed or _FALLBACK_RATE, True
    if claimed and _is_even(fixed, time_base, claimed):
        return claimed, True
    steps = len(pts) - 1 - len(fixed.stretches)
    ticks = sum(int(pts[end - 1]) - int(pts[first]) for first, end in itertools.pairwise(edges))
    if steps < 1:
        return claimed or _FALLBACK_RATE, False
    average = (Fraction(steps, ticks) / time_base).limit_denominator(MAX_RATE_DENOMINATOR)
    average = average or Fraction(1, MAX_RATE_DENOMINATOR)
    return average, _is_even(fixed, time_base, average)


def _is_even(fixed: FrameTimes, time_base: Fraction, rate: Fraction) -> bool:
    """Whether frame i of each stretch is within half a frame of i / rate after the first."""
    edges = (0, *fixed.stretches, len(fixed.pts))
    for first, end in itertools.pairwise(edges):
        offsets = (fixed.pts[first:end] - fixed.pts[first]) * float(time_base * rate)
        if not np.all(np.abs(offsets - np.arange(end - first)) < 0.5):
            return False
    return True


def _notes_on_times(fixed: FrameTimes, timeline: Timeline) -> Iterator[str]:
    if fixed.bad:
        frames = "1 frame" if len(fixed.bad) == 1 else f"{len(fixed.bad)} frames"
        yield f"time stamps of {frames} ({_ranges(fixed.bad)}) cannot be true: replaced from their neighbours"
    if fixed.restarts:
        yield f"its clock starts again at frame {_ranges(fixed.restarts)}: times go on from there, shots end there"
    pauses = [frame for frame in fixed.stretches if frame not in fixed.restarts]
    if pauses:
        seconds = sum(float(timeline.starts_s[frame] - timeline.ends_s[frame - 1]) for frame in pauses)
        times = "once" if len(pauses) == 1 else f"{len(pauses)} times"
        yield f"the recording pauses {times}, for {seconds:.1f} s in all (at frame {_ranges(pauses)}): shots end there"


def _ranges(frames: Sequence[int]) -> str:
    """Returns frame numbers as text, such as "3, 7 to 9"."""
    ranges: list[list[int]] = []
    for frame in frames:
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1][1] = frame
        else:
            ranges.append([frame, frame])
    words = [str(a) if a == b else f"{a} to {b}" for a, b in ranges[:_MAX_RANGES]]
    return ", ".join(words) + (" and others" if len(ranges) > _MAX_RANGES else "")


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
    """Whether the frames cover the duration that the file states, although it states more frames.

    Edit lists leave frames out, and AVI counts the empty chunks that prolong a frame.
    """
    half_a_frame_s = 0.5 / float(info.frame_rate)
    return 0 < header.claimed_duration_s <= info.duration_s + half_a_frame_s
