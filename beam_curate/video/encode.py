"""Encodes a clip: H.264 in yuv420p, in an mp4 with its index first, and the same bytes on every run."""

from __future__ import annotations

import dataclasses
import functools
import socket
import tempfile
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.video
from av.bitstream import BitStreamFilterContext
from av.video.frame import PictureType

from beam_curate.errors import SetupError
from beam_curate.video.conform import Conform
from beam_curate.video.mp4 import Mp4Writer
from beam_curate.video.sound import AudioTrack

# Every clip has a key frame at each multiple of this many frames, so that windows that begin there are copied, and a
# trainer's random access decodes at most so many frames to get one. It divides the default window of 256 frames.
KEYFRAME_INTERVAL = 64
_CODEC_FLAG_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no encoder version in the stream
# x264 writes its version and options into the first frame, in a NAL unit of type 6 (H.264, 7.4.1).
_WITHOUT_ENCODER_MESSAGE = "filter_units=remove_types=6"
# Forced I-frames are IDR frames: no later frame refers to an earlier one. libopenh264 makes no others.
_FORCED_KEY_FRAMES = {"forced-idr": "1"}


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How clips are encoded.

    >>> Encoding(preset="medium").codec_options()
    {'preset': 'medium', 'threads': '1', 'x264-params': 'cpu-independent=1', 'forced-idr': '1', 'crf': '18'}

    Attributes:
        encoder: FFmpeg's name: ``libx264``, ``libopenh264`` or ``h264_nvenc``.
        crf: Constant quality, 0 (best) to 51; ignored if ``bit_rate_kbps`` is given.
        preset: x264's speed preset.
        threads: Encoder threads per clip. With more than 1, bytes differ from run to run.
        bit_rate_kbps: Average bit rate in 1000 bit/s, or None for constant quality.
        use_input_bit_rate: Use the bit rate of the source's video stream.
        max_output_frames: Lower the frame rate so that a clip has at most this many frames; None keeps the rate.
        max_decode_errors: Maximum number of lost or damaged frames in a clip.
        interlaced: How interlaced frames are handled, ``deinterlace`` or ``refuse``.
        hdr: How PQ and HLG frames are handled, ``tonemap`` (to BT.709) or ``keep`` (in 8 bits).
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

    @property
    def on_gpu(self) -> bool:
        """Whether the encoder is a part of the GPU, so that only a worker can tell whether it is there."""
        return self.encoder == "h264_nvenc"

    def codec_options(self) -> dict[str, str]:
        """Returns the encoder's private options."""
        if self.encoder == "libx264":
            quality = {} if self.bit_rate_kbps else {"crf": str(self.crf)}
            # Without cpu-independent, x264's AVX-512 rate control sometimes gave different bytes when another
            # thread was busy (mbtree, core 165); with it, bytes are the same on every CPU, at the same speed.
            fixed = {"threads": str(self.threads), "x264-params": "cpu-independent=1"}
            return {"preset": self.preset, **fixed, **_FORCED_KEY_FRAMES, **quality}
        if self.on_gpu:
            quality = {} if self.bit_rate_kbps else {"rc": "vbr", "cq": str(self.crf)}
            return {"preset": "p4", "tune": "hq", **_FORCED_KEY_FRAMES, **quality}
        return {"threads": str(self.threads)}


class ClipWriter:
    """Writes one clip. A context manager; the file is complete once it exits without an error.

    >>> from tempfile import TemporaryDirectory
    >>> conform = Conform(Fraction(1), None, interlaced="deinterlace", hdr="tonemap")
    >>> with TemporaryDirectory() as folder:
    ...     with ClipWriter(Path(folder, "a.mp4"), Encoding(), Fraction(25), Fraction(1, 25), conform, None) as writer:
    ...         writer.write(av.VideoFrame(64, 48, "rgb24"), pts=0)
    ...     av.open(f"{folder}/a.mp4").streams.video[0].frames
    1

    Args:
        path: The mp4 to write.
        encoding: How to encode it.
        rate: Frames/s that the file states.
        time_base: Unit of the pts given to `write`, in s.
        conform: Converts frames before they are encoded.
        audio: Audio to copy, or None.
        length: The end of the last frame in `time_base` if the frame rate is variable: every frame is then shown until
            the next one, without B-frames, as mp4 cannot state the duration of the last frame with them. None for a
            constant rate.
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
        self._mp4 = Mp4Writer(path, audio)
        self._stream: av.video.VideoStream | None = None
        self._conform = conform
        self._waiting_pts: deque[int] = deque()
        self._encoded = 0
        self._strip: BitStreamFilterContext | None = None

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
                self._mp4.finish()
        finally:
            self._mp4.close()

    def write(self, frame: av.VideoFrame, pts: int) -> None:
        """Encodes a frame at ``pts`` (in the writer's time base); the frame is changed in place."""
        self._waiting_pts.append(pts)
        self._encode(frame)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        for conformed in self._conform(frame):
            stream = self._stream or self._open(conformed)
            conformed.pts = self._waiting_pts.popleft()
            conformed.time_base = self._time_base
            # The source's own type would count as a wish.
            is_key = self._encoded % KEYFRAME_INTERVAL == 0
            conformed.pict_type = PictureType.I if is_key else PictureType.NONE
            self._encoded += 1
            self._mux(stream.encode(conformed))

    def _open(self, frame: av.VideoFrame) -> av.video.VideoStream:
        """Adds the video stream; its size and colours are those of the first frame."""
        stream = self._mp4.container.add_stream(
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
        self._mp4.start(stream)
        return stream

    def _mux(self, packets: Sequence[av.Packet[Any] | None]) -> None:
        """Writes encoded packets; None flushes the filter at the end."""
        assert self._strip is not None
        for encoded in packets:
            for packet in self._strip.filter(encoded):
                self._mp4.mux(packet) if self._length is None else self._mux_until(packet)
        if packets and packets[-1] is None and self._held is not None and self._length is not None:
            self._mux_lasting(self._held, self._length)

    def _mux_until(self, packet: av.Packet[Any]) -> None:
        """Holds a packet until the pts of the next one gives its duration."""
        held, self._held = self._held, packet
        if held is not None and packet.pts is not None:
            self._mux_lasting(held, packet.pts)

    def _mux_lasting(self, packet: av.Packet[Any], end_pts: int) -> None:
        packet.duration = end_pts - (packet.pts or 0)
        self._mp4.mux(packet)


def try_encoding(encoding: Encoding, path: Path) -> None:
    """Writes a clip of one frame.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     try_encoding(Encoding("no_such_encoder"), Path(folder, "a.mp4"))
    Traceback (most recent call last):
        ...
    av.codec.codec.UnknownCodecError: no_such_encoder

    Raises:
        OSError: The encoder does not work, or the place takes no file.
        ValueError: There is no such encoder.
    """
    conform = Conform(Fraction(1), None, "deinterlace", "tonemap")
    with ClipWriter(path, encoding, Fraction(24), Fraction(1, 24), conform, None) as writer:
        writer.write(av.VideoFrame(256, 256, "yuv420p"), 0)


def not_working(encoding: Encoding, where: str, error: Exception) -> str:
    """Returns what to say of an encoder that does not work.

    >>> not_working(Encoding("h264_nvenc"), "here", OSError("no capable device"))
    '--transcode-encoder h264_nvenc does not work here (no capable device); take --transcode-encoder libx264'
    """
    other = "" if encoding.encoder == "libx264" else "; take --transcode-encoder libx264"
    return f"--transcode-encoder {encoding.encoder} does not work {where} ({error}){other}"


@functools.cache
def require_working(encoding: Encoding) -> None:
    """Encodes a frame with the encoder, once in a process.

    Raises:
        SetupError: The encoder does not work on this computer.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            try_encoding(encoding, Path(folder, "probe.mp4"))
        except (OSError, ValueError) as error:
            raise SetupError(not_working(encoding, f"on {socket.gethostname()}", error)) from error
