"""How much work a run may be, by the same ground as the estimate of a dry run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

from beam_curate.elements import Video
from beam_curate.plan.plan import Plan
from beam_curate.report.dry_run import clips_core_s, divided, header_of, shots_core_s
from beam_curate.video.decode import SourceHeader

_LOOKED_AT = 20  # videos; reading a header starts a process
_AT_ONCE = 2
_RATE = Fraction(30)
ASSUMED = "1920x1080 at 30 frames/s"
"""What footage is taken to be of which only the hours are known."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """Work of a run.

    Attributes:
        hours_of_video: Length of the footage, in hours.
        shots_core_hours: For shots, of one core and without a GPU, in hours.
        clips_core_hours: For clips, of one core, in hours.
        windows: Captions to be written.
    """

    hours_of_video: float
    shots_core_hours: float
    clips_core_hours: float
    windows: float

    def times(self, factor: float) -> Workload:
        """Returns that of more of the same footage.

        >>> Workload(1.0, 2.0, 3.0, 900.0).times(10)
        Workload(hours_of_video=10.0, shots_core_hours=20.0, clips_core_hours=30.0, windows=9000.0)
        """
        return Workload(*(factor * value for value in dataclasses.astuple(self)))


def of_hours(hours: float, plan: Plan) -> Workload:
    """Returns the work of footage of which only the length is known; the rest is assumed to be as `ASSUMED` says.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> round(of_hours(1, make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))).clips_core_hours, 2)
    1.38
    """
    seconds = 3600.0
    frames = round(seconds * _RATE)
    hour = SourceHeader(1920, 1080, _RATE, 1 / _RATE, "h264", "yuv420p", None, "mp4", 0, frames, seconds)
    return of_headers([hour], plan).times(hours)


def of_headers(headers: Iterable[SourceHeader], plan: Plan) -> Workload:
    """Returns the work of videos of which the headers are known."""
    seconds = shots_s = clips_s = windows = 0.0
    for header in headers:
        clips, of_each = divided(header, plan)
        seconds += header.claimed_duration_s
        shots_s += shots_core_s(header, plan)
        clips_s += clips_core_s(header)
        windows += clips * of_each
    return Workload(seconds / 3600, shots_s / 3600, clips_s / 3600, windows)


def of_videos(videos: Sequence[Video], plan: Plan) -> Workload:
    """Returns the work of videos on this computer; of many, a few are looked at, and their sizes tell of the others.

    Videos that cannot be read are no work.
    """
    looked_at = videos[:: max(1, len(videos) // _LOOKED_AT)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda video: header_of(video, plan.sources.reader, plan.limits), looked_at)
        headers = [header for header in found if isinstance(header, SourceHeader)]
    seen = sum(video.size_bytes for video in looked_at)
    return of_headers(headers, plan).times(sum(video.size_bytes for video in videos) / seen if seen else 1.0)
