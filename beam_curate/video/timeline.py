"""From the time stamps of all frames of a source to the facts the other stages rely on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from beam_curate.elements import Span, VideoInfo
from beam_curate.errors import UnreadableSourceError
from beam_curate.video.decode import SourceHeader
from beam_curate.video.scan import Times

_FALLBACK_RATE = Fraction(25)  # for a file with neither time stamps nor a frame rate
_MAX_RATE_DENOMINATOR = 100_000  # FFmpeg holds both halves of a rate in 32 bits


class Timeline:
    """The frames of a source in time.

    Attributes:
        info: The facts.
        pts: int64 [num_frames + 1] in ``info.time_base``, strictly increasing; the last entry is the end of
            the last frame.
    """

    info: VideoInfo
    pts: NDArray[np.int64]

    def __init__(self, header: SourceHeader, times: Times) -> None:
        """Works out the facts.

        Raises:
            UnreadableSourceError: There is no frame.
        """
        count = len(times.pts)
        if count == 0:
            raise UnreadableSourceError("it holds no video frame")
        known = [pts for pts in times.pts if pts is not None]
        has_timestamps = len(known) == count and all(later > earlier for earlier, later in itertools.pairwise(known))
        if has_timestamps:
            time_base = header.time_base
            rate = _rate(header.frame_rate, known, time_base)
            frame_duration = max(1, round(1 / (rate * time_base)))
            last = times.last_duration or frame_duration
            even = _is_even(np.array(known, dtype=np.int64), time_base, rate)
            if even and last <= frame_duration // 2 + 1:
                last = frame_duration  # of field pictures, the duration of one field is given
            pts = np.array([*known, known[-1] + last], dtype=np.int64)
        else:
            rate = header.frame_rate or _FALLBACK_RATE
            time_base = 1 / rate
            pts = np.arange(count + 1, dtype=np.int64)
        self.pts = pts
        info = VideoInfo(
            width=header.width,
            height=header.height,
            frame_rate_num=rate.numerator,
            frame_rate_den=rate.denominator,
            time_base_num=time_base.numerator,
            time_base_den=time_base.denominator,
            num_frames=count,
            duration_s=float((int(pts[-1]) - int(pts[0])) * time_base),
            has_timestamps=has_timestamps,
            constant_frame_rate=_is_even(pts[:-1], time_base, rate),
            video_codec=header.video_codec,
            pixel_format=header.pixel_format,
            audio_codec=header.audio_codec,
            container=header.container,
            bit_rate_kbps=header.bit_rate_kbps,
            first_pts=int(pts[0]),
            pixel_aspect_num=header.pixel_aspect.numerator,
            pixel_aspect_den=header.pixel_aspect.denominator,
        )
        self.info = dataclasses.replace(info, notes=_notes(header, times, info))

    def seconds(self) -> NDArray[np.float64]:
        """Start time of each frame, and the end of the last, in s after the first frame's: [num_frames + 1]."""
        return (self.pts - self.pts[0]) * float(self.info.time_base)

    def span(self, clip_id: str, start_frame: int, end_frame: int) -> Span:
        """Returns the span of frames [start_frame, end_frame)."""
        start, end = int(self.pts[start_frame]), int(self.pts[end_frame])
        first = int(self.pts[0])
        return Span(
            clip_id=clip_id,
            start_frame=start_frame,
            end_frame=end_frame,
            start_pts=start,
            end_pts=end,
            start_s=float((start - first) * self.info.time_base),
            end_s=float((end - first) * self.info.time_base),
        )


def _rate(claimed: Fraction, pts: Sequence[int], time_base: Fraction) -> Fraction:
    """Returns the frame rate that the container claims where the time stamps agree, or else their average."""
    if len(pts) < 2:
        return claimed or _FALLBACK_RATE
    if claimed and _is_even(np.array(pts, dtype=np.int64), time_base, claimed):
        return claimed
    average = Fraction(len(pts) - 1, pts[-1] - pts[0]) / time_base
    return average.limit_denominator(_MAX_RATE_DENOMINATOR)


def _is_even(pts: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> bool:
    """Whether frame i lies within half a frame of i / rate after the first."""
    offsets = (pts - pts[0]) * float(time_base * rate)
    return bool(np.all(np.abs(offsets - np.arange(len(pts))) < 0.5))


def _notes(header: SourceHeader, times: Times, info: VideoInfo) -> tuple[str, ...]:
    notes = []
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
