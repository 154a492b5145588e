"""Reading a whole source once, in a child process: its header, its time stamps, its frames for shot detection."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from beam_curate.containers.timestamps import mend
from beam_curate.video.colours import trust
from beam_curate.video.decode import SourceHeader, header, open_video, packets_of, read_frames

# TransNetV2's input size: the paper's 48x27, aspect ratio ignored.
SHOT_FRAME_WIDTH = 48
SHOT_FRAME_HEIGHT = 27
_FRAMES_PER_MESSAGE = 100
_FRAMES_TO_COMPARE = 50
_MOST_REORDERED = 34  # places: 16 pictures in the decoder, of two fields each, and some more


@dataclasses.dataclass(frozen=True)
class Times:
    """Time stamps of consecutive frames.

    Attributes:
        pts: One a frame, in the stream's time base; None where the file has none.
        last_duration: Of the last frame, in the same unit; 0 when unknown.
        damaged: How many frames are damaged.
    """

    pts: tuple[int | None, ...]
    last_duration: int
    damaged: int = 0


@dataclasses.dataclass(frozen=True)
class ShotFrames:
    """Frames for shot detection: uint8 RGB [n, 27, 48, 3] with their pts."""

    frames: NDArray[np.uint8]
    pts: tuple[int | None, ...]


def probe(path: str) -> Iterator[SourceHeader]:
    """Yields the header."""
    with open_video(path) as (container, stream):
        yield header(container, stream)


def packet_times(path: str) -> Iterator[SourceHeader | Times | None]:
    """Yields the header, then the times of all frames: read from their packets, without decoding, where that is safe.

    A packet is not always a frame: field pictures come two packets to a frame, a recording that begins between key
    frames has packets that show nothing, AVI has no presentation times. So the first frames are decoded, and where the
    packets' times are not theirs, or where a time stamp anywhere in the file is out of the ordinary, all are.

    Raises:
        UnreadableSourceError: No frame could be decoded.
    """
    with open_video(path) as (container, stream):
        yield header(container, stream)
        stamps = [(p.pts, p.duration or 0) for p in packets_of(container, stream) if p.size and not p.is_discard]
        shown = _shown(stamps, stream.time_base or Fraction(1, 1000), bool(stream.codec_context.has_b_frames))
    if shown:
        first = [frame.pts for frame, _ in itertools.islice(read_frames(path), _FRAMES_TO_COMPARE)]
        if first and first == [pts for pts, _ in shown[: len(first)]]:
            yield Times(tuple(pts for pts, _ in shown), shown[-1][1])
            return
    yield from _decoded_times(path)


def _shown(packets: Sequence[tuple[int | None, int]], time_base: Fraction, reordered: bool) -> list[tuple[int, int]]:
    """Returns (pts, duration) of packets in the order in which they are shown; nothing where that needs a decoder.

    Args:
        packets: (pts, duration), in the order of decoding.
        time_base: Their unit in s.
        reordered: Whether the codec shows pictures in another order than it decodes them.
    """
    known = [(pts, duration) for pts, duration in packets if pts is not None]
    if not known or len(known) < len(packets):
        return []
    order = sorted(range(len(known)), key=known.__getitem__)
    most = _MOST_REORDERED if reordered else 0
    if any(abs(place - number) > most for place, number in enumerate(order)):
        return []
    mended = mend([known[number][0] for number in order], time_base)
    if mended is None or mended.bad or mended.stretches:
        return []  # a pause, or frames with a time far off: the order of decoding tells
    return [known[number] for number in order]


def _decoded_times(path: str) -> Iterator[Times | None]:
    last_duration = damaged_frames = 0
    pts: list[int | None] = []
    for frame, damaged in read_frames(path):
        pts.append(frame.pts)
        last_duration = frame.duration or 0
        damaged_frames += damaged
        if len(pts) % _FRAMES_PER_MESSAGE == 0:
            yield None  # a sign of life
    yield Times(tuple(pts), last_duration, damaged_frames)


def shot_frames(path: str) -> Iterator[SourceHeader | ShotFrames | Times]:
    """Yields the header, all frames at 48x27 in batches, and at the end how many are damaged."""
    reformatter = VideoReformatter()
    last_duration = damaged_frames = 0
    pts: list[int | None] = []
    batch: list[NDArray[np.uint8]] = []
    with open_video(path) as (container, stream):
        yield header(container, stream)
    for frame, damaged in read_frames(path):
        trust(frame)
        small = reformatter.reformat(
            frame, SHOT_FRAME_WIDTH, SHOT_FRAME_HEIGHT, "rgb24", interpolation=Interpolation.BICUBIC
        )
        batch.append(small.to_ndarray().astype(np.uint8, copy=False))
        pts.append(frame.pts)
        last_duration = frame.duration or 0
        damaged_frames += damaged
        if len(batch) == _FRAMES_PER_MESSAGE:
            yield ShotFrames(np.stack(batch), tuple(pts))
            batch, pts = [], []
    if batch:
        yield ShotFrames(np.stack(batch), tuple(pts))
    yield Times((), last_duration, damaged_frames)
