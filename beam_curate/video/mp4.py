"""Writes an mp4 packet by packet: its index first, audio beside the video, and the same bytes on every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import av.audio
import av.container
import av.video

from beam_curate.video.sound import AudioTrack


class Mp4Writer:
    """An mp4 of one video stream, with audio if there is any.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     writer = Mp4Writer(Path(folder, "a.mp4"), None)
    ...     stream = writer.container.add_stream("libx264", rate=25)
    ...     stream.width, stream.height = 64, 48
    ...     writer.start(stream)
    ...     for packet in [*stream.encode(av.VideoFrame(64, 48, "yuv420p")), *stream.encode(None)]:
    ...         writer.mux(packet)
    ...     writer.finish()
    ...     writer.close()
    ...     av.open(f"{folder}/a.mp4").streams.video[0].frames
    1

    Args:
        path: The file to write.
        audio: Audio to copy, or None.

    Attributes:
        container: Where the video stream is added.
    """

    def __init__(self, path: Path, audio: AudioTrack | None) -> None:
        self.container = av.open(
            str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        self._video: av.video.VideoStream | None = None
        self._audio = audio
        self._audio_stream: av.audio.AudioStream | None = None
        self._audio_packets = iter(audio.packets if audio else ())
        self._next_audio = next(self._audio_packets, None)

    def start(self, video: av.video.VideoStream) -> None:
        """Takes the container's video stream, and adds the audio stream after it."""
        self._video = video
        if self._audio:
            self._audio_stream = self._audio.add_to(self.container)

    def mux(self, packet: av.Packet[Any]) -> None:
        """Writes a packet of the video, and before it the audio that starts earlier."""
        if packet.dts is not None and packet.time_base is not None:
            self._mux_audio_until(float(packet.dts * packet.time_base))
        packet.stream = self._video
        self.container.mux(packet)

    def finish(self) -> None:
        """Writes the rest of the audio."""
        self._mux_audio_until(float("inf"))

    def close(self) -> None:
        """Writes the index and closes the file."""
        self.container.close()

    def _mux_audio_until(self, time_s: float) -> None:
        while self._audio is not None and self._audio_stream is not None and self._next_audio is not None:
            if self._next_audio.start_s > time_s:
                return
            self._audio.mux(self.container, self._audio_stream, self._next_audio)
            self._next_audio = next(self._audio_packets, None)
