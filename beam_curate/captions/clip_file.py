"""Opening a clip that this program made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av
import av.container
import av.video

from beam_curate.errors import LostFramesError


@contextlib.contextmanager
def open_clip(clip: str | Path) -> Iterator[tuple[av.container.InputContainer, av.video.VideoStream]]:
    """Opens a clip and gives the container with its video stream.

    Raises:
        LostFramesError: It has no video stream, or what is done inside the block finds that it cannot be decoded.
        OSError: The file cannot be read.
    """
    name = Path(clip).name
    try:
        with av.open(f"file:{clip}") as container:  # "file:" keeps FFmpeg from reading a colon as a protocol's
            if not container.streams.video:
                raise LostFramesError(f"{name} has no video stream")
            yield container, container.streams.video[0]
    except av.error.InvalidDataError as error:
        raise LostFramesError(f"{name} cannot be decoded: {error}") from error
