"""Reading a whole source once, in a child process: its header, its time stamps, its frames for shot detection."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from beam_curate.video.decode import SourceHeader, header, open_video, packets_of, read_frames

# TransNetV2's input size: the paper's 48x27, aspect ratio ignored.
SHOT_FRAME_WIDTH = 48
SHOT_FRAME_HEIGHT = 27
_FRAMES_PER_MESSAGE = 100
_FRAMES_TO_COMPARE = 50


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
    frames has packets that show nothing, AVI has no presentation times. So the first frames are decoded, and
    where the packets' times are not theirs, all are.
    """
    with open_video(path) as (container, stream):
        yield header(container, stream)
        packets = [
            (packet.pts, packet.duration or 0)
            for packet in packets_of(container, stream)
            if packet.size and not packet.is_discard
        ]
    if all(pts is not None for pts, _ in packets):
        packets.sort()  # they come in decoding order
        first = [frame.pts for frame, _ in itertools.islice(read_frames(path), _FRAMES_TO_COMPARE)]
        if first == [pts for pts, _ in packets[: len(first)]]:
            yield Times(tuple(pts for pts, _ in packets), packets[-1][1] if packets else 0)
            return
    yield from _decoded_times(path)


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
