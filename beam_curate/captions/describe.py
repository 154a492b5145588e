"""The captioner ``describe``: describes in plain English what can be measured in a window of a clip.

It needs no model weights and says nothing about objects or meaning, only about length, light, colours, motion and
change over time, all measured in small thumbnails. The same file always gives the same text.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from beam_curate.captions.clip_file import frame_times, open_clip
from beam_curate.captions.measures import Measures, measure
from beam_curate.errors import LostFramesError

WIDTH, HEIGHT = 128, 72  # Thumbnail pixels: a shift of 1 % of the width is still a whole pixel.
SAMPLES_PER_S = 8  # Content that crosses the frame in half a second still overlaps between samples.
MAX_SAMPLES = 256  # Bounds memory (7 MB of thumbnails); longer windows are sampled more sparsely.

MIN_TREND = 15.0  # Levels between the first and the last quarter: about the smallest visible change.
MIN_COLOUR_CHANGE = 0.3  # Share of the frame that changes its colour name.


def describe_windows(clip: str | Path, windows: Sequence[tuple[int, int]]) -> list[str]:
    """Returns one paragraph per window; decodes the clip once, up to the end of the last window.

    >>> import av, tempfile
    >>> clip = Path(tempfile.mkdtemp(), "clip.mp4")
    >>> black = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
    >>> with av.open(clip, "w") as file:
    ...     stream = file.add_stream("libx264", rate=24, width=64, height=48)
    ...     file.mux(stream.encode(black) + stream.encode())
    >>> describe_windows(clip, [(0, 0)])
    ['For 0.04 seconds (1 frame) the picture is dark with almost no contrast. Black fills nearly all of it. ...']

    Args:
        clip: Local path of a video.
        windows: (first frame, last frame) of each, inclusive, from 0, in order, not overlapping.

    Raises:
        LostFramesError: A window has no decodable frame, the clip is damaged before its end, or the file has no video
            stream.
        ValueError: The windows are out of order, overlap, or end before they begin.
        DiskError: The operating system cannot read the file.
    """
    backwards = any(first < 0 or last < first for first, last in windows)
    if backwards or any(after[0] <= before[1] for before, after in itertools.pairwise(windows)):
        raise ValueError(f"windows must be in order and must not overlap: {list(windows)}")
    return [sentence(measure(*sampled)) for sampled in _sampled_windows(clip, windows)]


def _sampled_windows(
    clip: str | Path, windows: Sequence[tuple[int, int]]
) -> Iterator[tuple[NDArray[np.uint8], float, int]]:
    """Yields (thumbnails, seconds, number of frames) of each window."""
    if not windows:
        return
    with open_clip(clip) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        times = frame_times(clip, Fraction(rate))
        times = times if times is not None and len(times) > windows[-1][1] + 1 else None
        # One reformatter for all frames, since setting up its scaler is expensive.
        reformatter = VideoReformatter()
        frames = container.decode(stream)
        position = 0
        for first, last in windows:
            wanted = collections.Counter(_sampled(first, last, rate, times))
            thumbnails: list[NDArray[np.uint8]] = []
            count = 0
            inside = itertools.islice(frames, first - position, last + 1 - position)
            for count, frame in enumerate(inside, 1):
                if repeats := wanted[first + count - 1]:
                    # Area averaging, because other filters turn fine texture into flicker.
                    small = reformatter.reformat(frame, WIDTH, HEIGHT, "rgb24", interpolation="AREA")
                    thumbnails += [small.to_ndarray().astype(np.uint8, copy=False)] * repeats
            position = last + 1
            if not thumbnails:
                raise LostFramesError(f"{Path(clip).name} has no decodable frame in {first} to {last}")
            seconds = count / rate if times is None else float(times[first + count] - times[first])
            yield np.stack(thumbnails), seconds, count


def _sampled(first: int, last: int, rate: float, times: NDArray[np.float64] | None) -> Iterable[int]:
    """Returns the frames of a window to measure, evenly spaced in time: a frame that is shown longer is repeated.

    Args:
        first: First frame of the window.
        last: Last frame, inclusive.
        rate: Frames/s of the clip.
        times: Timestamps of the frames and of the clip's end, in s, for a variable frame rate; None for a constant one.
    """
    if times is None:
        return range(first, last + 1, _sampling_step(last - first + 1, rate))
    begin, end = times[first], times[last + 1]
    number = min(max(3, round((end - begin) * SAMPLES_PER_S)), MAX_SAMPLES)
    moments = begin + (end - begin) * np.arange(number) / number
    return (np.searchsorted(times[: last + 1], moments, side="right") - 1).tolist()


def _sampling_step(num_frames: int, rate: float) -> int:
    """Returns the distance of samples in frames, for at least 3 samples if possible and at most MAX_SAMPLES."""
    step = min(round(rate / SAMPLES_PER_S), (num_frames - 1) // 2)
    return max(1, step, math.ceil(num_frames / MAX_SAMPLES))


def sentence(measures: Measures) -> str:
    """Returns the measures as two to five sentences of plain English, 30 to 80 words.

    >>> grey = np.full((8, HEIGHT, WIDTH, 3), 128, np.uint8)
    >>> sentence(measure(grey, seconds=1.0, num_frames=24))
    'For 1.0 seconds (24 frames) the picture is moderately bright with almost no contrast. Grey fills...'
    """
    parts = [_light_words(measures), _colour_words(measures.colours)]
    if measures.num_frames == 1:
        parts.append("It is a single frame, which says nothing of motion or of change over time.")
    else:
        parts += [_motion_words(measures), _event_words(measures), _trend_words(measures)]
    return " ".join(part[0].upper() + part[1:] for part in parts if part)


def _below(value: float, steps: Sequence[tuple[float, str]], otherwise: str) -> str:
    """Returns the word of the first step above the value."""
    return next((word for limit, word in steps if value < limit), otherwise)


def _light_words(m: Measures) -> str:
    light = _below(
        m.brightness, ((45, "dark"), (90, "dim"), (160, "moderately bright"), (205, "bright")), "very bright"
    )
    contrast = _below(m.contrast, ((8, "almost no"), (28, "low"), (60, "moderate")), "high")
    place = {"top": "at the top", "bottom": "at the bottom", "left": "on the left", "right": "on the right"}
    side = f", brighter {place[m.brighter_side]}" if m.brighter_side else ""
    length = f"{m.seconds:.1f}" if m.seconds >= 1 else f"{m.seconds:.2f}"
    frames = "1 frame" if m.num_frames == 1 else f"{m.num_frames} frames"
    return f"For {length} seconds ({frames}) the picture is {light} with {contrast} contrast{side}."


def _colour_words(colours: Sequence[tuple[str, float]]) -> str:
    steps = (
        (0.2, "about a sixth"),
        (0.29, "about a quarter"),
        (0.42, "about a third"),
        (0.57, "about half"),
        (0.75, "more than half"),
        (0.93, "most"),
    )
    (name, share), *rest = [(name, _below(share, steps, "nearly all")) for name, share in colours]
    tail = " and ".join(f"{name} {share}" for name, share in rest)
    return f"{name} fills {share} of it" + (f", {tail}." if tail else ".")


def _motion_words(m: Measures) -> str:
    course = {"starts": "after a still start", "stops": "then comes to rest", "at times": "with pauses"}
    when = f", {course[m.course]}" if m.course in course else ""
    if m.motion == "unknown":
        return "No motion can be measured in it."
    if m.motion == "still":
        return "It holds still from the first frame to the last."
    if m.motion == "local":
        return f"The picture as a whole holds its place while parts of it change{when}."
    if m.motion == "irregular":
        return f"The motion is irregular and follows no common direction{when}."
    pace = _below(m.speed, ((0.1, "slowly"), (0.4, "at a moderate pace")), "fast")
    if m.motion == "shift":
        return f"The picture content moves {m.direction} {pace}{when}."
    way = "grows from" if m.motion == "zoom in" else "shrinks towards"
    return f"The picture content {way} the middle {pace}, like a {m.motion}{when}."


def _event_words(m: Measures) -> str:
    times = sorted(m.flashes_s + m.abrupt_s)
    if not times:
        return ""
    when = f"about {times[0]:.1f} seconds in"
    if m.flashes_s and m.abrupt_s:
        return f"Flashes and abrupt changes occur, first {when}."
    if m.flashes_s:
        many = f"{len(times)} short flashes of light occur, the first {when}."
        return many if len(times) > 1 else f"A short flash of light occurs {when}."
    many = f"It changes abruptly {len(times)} times, first {when}."
    return many if len(times) > 1 else f"It changes abruptly {when}."


def _trend_words(m: Measures) -> str:
    said = []
    if abs(m.brightness_change) >= MIN_TREND:
        much = "much " if abs(m.brightness_change) >= 4 * MIN_TREND else ""
        word = much + ("brighter" if m.brightness_change > 0 else "darker")
        said.append(f"it ends up {word}" if m.abrupt_s else f"it gradually gets {word}")
    if m.colour_change >= MIN_COLOUR_CHANGE and m.first_colour != m.last_colour:
        said.append(f"the main colour turns from {m.first_colour} to {m.last_colour}")
    elif m.colour_change >= MIN_COLOUR_CHANGE:
        said.append("the mix of colours changes")
    if said:
        return ", and ".join(said) + "."
    end = "Light and colours are much the same at the end as at the beginning"
    varies = m.brightness_range >= MIN_TREND and not m.flashes_s and not m.abrupt_s
    return f"{end}, though the light varies in between." if varies else f"{end}."
