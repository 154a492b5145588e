r"""Reads an entire source once, in a child process: its header, its time stamps, its frames for shot detection.

>>> from tempfile import NamedTemporaryFile
>>> with NamedTemporaryFile(suffix=".y4m") as file:
...     _ = file.write(b"YUV4MPEG2 W32 H16 F25:1\n" + 3 * (b"FRAME\n" + bytes(768))), file.flush()
...     next(probe(file.name)).frame_rate, list(packet_times(file.name))[-1].pts
...     [part.frames.shape for part in shot_frames(file.name) if isinstance(part, ShotFrames)]
(Fraction(25, 1), (0, 1, 2))
[(3, 27, 48, 3)]
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from beam_curate.containers.timestamps import fix_timestamps
from beam_curate.video.colours import fix_colours
from beam_curate.video.decode import SourceHeader, header, open_video, packets_of, read_frames

# TransNetV2's input size: the paper's 48x27, aspect ratio ignored.
SHOT_FRAME_WIDTH = 48
SHOT_FRAME_HEIGHT = 27
_FRAMES_PER_MESSAGE = 100
_FRAMES_TO_COMPARE = 50
_MAX_REORDERED = 34  # places: 16 frames in the decoder, of two fields each, and some margin


@dataclasses.dataclass(frozen=True)
class Times:
    """Time stamps of consecutive frames.

    Attributes:
        pts: One per frame, in the stream's time base; None for a frame without.
        last_duration: Duration of the last frame, in the same unit; 0 if unknown.
        damaged: Number of damaged frames.
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
    """Yields the header of a file, and nothing else."""
    with open_video(path) as (container, stream):
        yield header(container, stream)


def packet_times(path: str) -> Iterator[SourceHeader | Times | None]:
    """Yields the header, then the times of all frames: of their packets, without decoding, if that is safe.

    Packets do not always correspond to frames: interlaced fields may have one packet each, a recording that begins
    between key frames has packets that cannot be decoded, AVI has no presentation times. So the first frames are
    decoded and compared. If the packets' times differ, or any stamp in the file is implausible, all frames are decoded.

    Raises:
        UnreadableSourceError: No frame could be decoded.
    """
    with open_video(path) as (container, stream):
        yield header(container, stream)
        stamps = [(p.pts, p.duration or 0) for p in packets_of(container, stream) if p.size and not p.is_discard]
        shown = _in_presentation_order(
            stamps, stream.time_base or Fraction(1, 1000), bool(stream.codec_context.has_b_frames)
        )
    if shown:
        first = [frame.pts for frame, _ in itertools.islice(read_frames(path), _FRAMES_TO_COMPARE)]
        if first and first == [pts for pts, _ in shown[: len(first)]]:
            yield Times(tuple(pts for pts, _ in shown), shown[-1][1])
            return
    yield from _decoded_times(path)


def _in_presentation_order(
    packets: Sequence[tuple[int | None, int]], time_base: Fraction, reordered: bool
) -> list[tuple[int, int]]:
    """Returns (pts, duration) of packets in presentation order; nothing if frames must be decoded to know it.

    Args:
        packets: (pts, duration), in decoding order.
        time_base: Their unit in s.
        reordered: Whether the codec's presentation order differs from its decoding order.
    """
    known = [(pts, duration) for pts, duration in packets if pts is not None]
    if not known or len(known) < len(packets):
        return []
    order = sorted(range(len(known)), key=known.__getitem__)
    limit = _MAX_REORDERED if reordered else 0
    if any(abs(place - number) > limit for place, number in enumerate(order)):
        return []
    fixed = fix_timestamps([known[number][0] for number in order], time_base)
    if fixed is None or fixed.bad or fixed.stretches:
        return []  # a pause, or stamps far off: the decoder's order is needed to tell
    return [known[number] for number in order]


def _decoded_times(path: str) -> Iterator[Times | None]:
    last_duration = damaged_frames = 0
    pts: list[int | None] = []
    for frame, damaged in read_frames(path):
        pts.append(frame.pts)
        last_duration = frame.duration or 0
        damaged_frames += damaged
        if len(pts) % _FRAMES_PER_MESSAGE == 0:
            yield None  # a heartbeat
    yield Times(tuple(pts), last_duration, damaged_frames)


def shot_frames(path: str) -> Iterator[SourceHeader | ShotFrames | Times]:
    """Yields the header, then all frames at 48x27 in batches, and last the number of damaged frames."""
    reformatter = VideoReformatter()
    last_duration = damaged_frames = 0
    pts: list[int | None] = []
    batch: list[NDArray[np.uint8]] = []
    with open_video(path) as (container, stream):
        yield header(container, stream)
    for frame, damaged in read_frames(path):
        fix_colours(frame)
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
