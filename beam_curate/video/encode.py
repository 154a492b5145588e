"""Encoding a clip: H.264 in yuv420p, in an mp4 that starts fast and holds the same bytes each time it is made."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.audio
import av.container
import av.video
from av.bitstream import BitStreamFilterContext

from beam_curate.video.conform import Conform
from beam_curate.video.sound import AudioTrack

# A key frame at least this often, so that a trainer's random access decodes few frames in vain.
KEYFRAME_INTERVAL = 60
_CODEC_FLAG_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no encoder version in the stream
# x264 writes its version and options into the first picture; NAL unit type 6 is that message (H.264, 7.4.1).
_WITHOUT_ENCODER_MESSAGE = "filter_units=remove_types=6"


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How clips are encoded.

    Attributes:
        encoder: FFmpeg's name: ``libx264``, ``libopenh264`` or ``h264_nvenc``.
        crf: Constant quality, 0 (best) to 51; used unless ``bit_rate_kbps`` is given.
        preset: x264's speed preset.
        threads: Encoder threads of one clip. More than 1 gives other bytes from run to run.
        bit_rate_kbps: Fixed bit rate in 1000 bit/s, or None for constant quality.
        use_input_bit_rate: Take the bit rate of the source's video stream.
        max_output_frames: Lower the frame rate so that a clip has at most so many frames; None keeps it.
        max_decode_errors: Lost or damaged frames that a clip may hold.
        interlaced: What becomes of interlaced pictures, ``deinterlace`` or ``refuse``.
        hdr: What becomes of PQ and HLG pictures, ``tonemap`` (to BT.709) or ``keep`` (in 8 bits).
    """

    encoder: str = "libx264"
    crf: int = 18
    preset: str = "veryfast"
    threads: int = 1
    bit_rate_kbps: int | None = None
    use_input_bit_rate: bool = False
    max_output_frames: int | None = None
    max_decode_errors: int = 0
    interlaced: str = "deinterlace"
    hdr: str = "tonemap"

    def codec_options(self) -> dict[str, str]:
        """Returns the encoder's private options."""
        if self.encoder == "libx264":
            quality = {} if self.bit_rate_kbps else {"crf": str(self.crf)}
            # Without cpu-independent, x264's AVX-512 rate control gave other bytes now and then when another
            # thread was busy (mbtree, core 165); with it, the same bytes on every CPU, at the same speed.
            fixed = {"threads": str(self.threads), "x264-params": "cpu-independent=1"}
            return {"preset": self.preset, **fixed, **quality}
        if self.encoder == "h264_nvenc":
            quality = {} if self.bit_rate_kbps else {"rc": "vbr", "cq": str(self.crf)}
            return {"preset": "p4", "tune": "hq", **quality}
        return {"threads": str(self.threads)}


class ClipWriter:
    """Writes one clip. A context manager; the file is complete when it is left without an error.

    Args:
        path: The mp4 to write.
        encoding: How.
        rate: Frames/s that the file names.
        time_base: Unit of the pts given to `write`, in s.
        conform: Makes frames what they shall be in the file.
        audio: What to copy beside the video, or None.
        length: Of a variable rate, the end of the last frame in `time_base`: every frame is shown until the next
            one, and there are no B-frames, with which mp4 cannot say how long the last frame is. None of an even rate.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        rate: Fraction,
        time_base: Fraction,
        conform: Conform,
        audio: AudioTrack | None,
        length: int | None = None,
    ) -> None:
        self._length = length
        self._held: av.Packet[Any] | None = None
        self._encoding = encoding
        self._rate = rate
        self._time_base = time_base
        self._container = av.open(
            str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        self._stream: av.video.VideoStream | None = None
        self._conform = conform
        self._waiting_pts: deque[int] = deque()
        self._strip: BitStreamFilterContext | None = None
        self._audio = audio
        self._audio_stream: av.audio.AudioStream | None = None
        self._audio_packets = iter(audio.packets if audio else ())
        self._next_audio = next(self._audio_packets, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._encode(None)
            if kind is None and self._stream is not None:
                self._mux([*self._stream.encode(None), None])
                self._mux_audio_until(float("inf"))
        finally:
            self._container.close()

    def write(self, frame: av.VideoFrame, pts: int) -> None:
        """Encodes a frame at ``pts`` (in the writer's time base); the frame is changed in place."""
        self._waiting_pts.append(pts)
        self._encode(frame)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        for conformed in self._conform(frame):
            stream = self._stream or self._open(conformed)
            conformed.pts = self._waiting_pts.popleft()
            conformed.time_base = self._time_base
            conformed.pict_type = 0  # the encoder chooses, whatever the source had
            self._mux(stream.encode(conformed))

    def _open(self, frame: av.VideoFrame) -> av.video.VideoStream:
        """Begins the file: size and colours are those of the first frame to be encoded."""
        stream = self._container.add_stream(
            self._encoding.encoder, rate=self._rate, options=self._encoding.codec_options()
        )
        assert isinstance(stream, av.video.VideoStream)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.gop_size = KEYFRAME_INTERVAL
        if self._length is not None:
            context.max_b_frames = 0
        context.flags |= _CODEC_FLAG_BITEXACT
        if self._encoding.bit_rate_kbps:
            context.bit_rate = self._encoding.bit_rate_kbps * 1000
        for name in ("color_range", "colorspace", "color_trc", "color_primaries"):
            setattr(context, name, getattr(frame, name))
        self._stream = stream
        self._strip = BitStreamFilterContext(_WITHOUT_ENCODER_MESSAGE, stream)
        if self._audio:
            self._audio_stream = self._audio.add_to(self._container)
        return stream

    def _mux(self, packets: Sequence[av.Packet[Any] | None]) -> None:
        """Writes encoded packets; None flushes the filter at the end."""
        assert self._strip is not None
        for encoded in packets:
            for packet in self._strip.filter(encoded):
                self._mux_packet(packet) if self._length is None else self._mux_until(packet)
        if packets and packets[-1] is None and self._held is not None and self._length is not None:
            self._mux_lasting(self._held, self._length)

    def _mux_until(self, packet: av.Packet[Any]) -> None:
        """Holds a packet until the next one says how long it lasts."""
        held, self._held = self._held, packet
        if held is not None and packet.pts is not None:
            self._mux_lasting(held, packet.pts)

    def _mux_lasting(self, packet: av.Packet[Any], end_pts: int) -> None:
        packet.duration = end_pts - (packet.pts or 0)
        self._mux_packet(packet)

    def _mux_packet(self, packet: av.Packet[Any]) -> None:
        if packet.dts is not None and packet.time_base is not None:
            self._mux_audio_until(float(packet.dts * packet.time_base))
        packet.stream = self._stream
        self._container.mux(packet)

    def _mux_audio_until(self, time_s: float) -> None:
        while self._audio is not None and self._audio_stream is not None and self._next_audio is not None:
            if self._next_audio.start_s > time_s:
                return
            self._audio.mux(self._container, self._audio_stream, self._next_audio)
            self._next_audio = next(self._audio_packets, None)
