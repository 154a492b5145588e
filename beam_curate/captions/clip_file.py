"""Opens clips, and reads the timestamps of their frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.video
import numpy as np
from numpy.typing import NDArray

from beam_curate.containers.error_causes import classify_read_error
from beam_curate.containers.tracks import open_container
from beam_curate.errors import DiskError, LostFramesError, UnreadableSourceError


@contextlib.contextmanager
def open_clip(clip: str | Path) -> Iterator[tuple[av.container.InputContainer, av.video.VideoStream]]:
    """Opens a clip; yields the container and its video stream.

    >>> import tempfile
    >>> clip = Path(tempfile.mkdtemp(), "clip.mp4")
    >>> with av.open(clip, "w") as file:
    ...     stream = file.add_stream("libx264", rate=24)
    ...     file.mux(stream.encode(av.VideoFrame(640, 480)) + stream.encode())
    >>> with open_clip(clip) as (container, stream):
    ...     stream.average_rate
    Fraction(24, 1)

    Raises:
        LostFramesError: There is no video stream, or decoding fails inside the block.
        DiskError: The operating system cannot read it.
    """
    name = Path(clip).name
    try:
        with open_container(str(clip)) as container:
            if not container.streams.video:
                raise LostFramesError(f"{name} has no video stream")
            yield container, container.streams.video[0]
    except (UnreadableSourceError, av.error.FFmpegError) as error:
        cause = classify_read_error(error, str(clip))
        raise cause if cause.retriable else LostFramesError(f"{name} cannot be decoded: {cause}") from error


def frame_times(clip: str | Path, rate: Fraction) -> NDArray[np.float64] | None:
    """Returns the start time of each frame of a clip with a variable frame rate, and the end of the last, in s.

    None for a clip whose frames all lie within half a frame of an even grid, and for a file that cannot be read. Only
    packets are read; nothing is decoded.

    >>> import tempfile
    >>> clip = Path(tempfile.mkdtemp(), "clip.mp4")
    >>> with av.open(clip, "w") as file:
    ...     stream = file.add_stream("libx264", rate=10)
    ...     for frame, frame.pts in [(av.VideoFrame(640, 480), pts) for pts in (0, 1, 2, 9)]:
    ...         file.mux(stream.encode(frame))
    ...     file.mux(stream.encode())
    >>> frame_times(clip, rate=Fraction(4))[:4].tolist()
    [0.0, 0.1, 0.2, 0.9]

    Args:
        clip: Local path of the clip.
        rate: Its average frame rate, in frames/s.
    """
    with (
        contextlib.suppress(LostFramesError, DiskError, OSError, av.error.FFmpegError),
        open_clip(clip) as (container, stream),
    ):
        packets = [(packet.pts, packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
        if not packets or stream.time_base is None or not rate:
            return None
        packets.sort()
        stamps = np.array([pts for pts, _ in packets], np.float64)
        times = (stamps - stamps[0]) * float(stream.time_base)
        if np.abs(times - np.arange(len(times)) / float(rate)).max() <= 0.5 / rate:
            return None
        last_s = float(packets[-1][1] * stream.time_base) or float(1 / rate)
        return np.append(times, times[-1] + last_s)
    return None
