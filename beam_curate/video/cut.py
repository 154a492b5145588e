"""Cuts the clips of one chunk from their source: one decoding pass, one encoder thread per clip, exact frames."""

from __future__ import annotations

import dataclasses
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av

from beam_curate.containers.error_causes import classify_write_error
from beam_curate.elements import Span, VideoInfo
from beam_curate.errors import LostFramesError
from beam_curate.video.conform import Conform
from beam_curate.video.decode import numbered, open_video
from beam_curate.video.encode import ClipWriter, Encoding
from beam_curate.video.sound import Sound, sounds
from beam_curate.video.timeline import MAX_RATE_DENOMINATOR

# Memory for decoded frames that wait for their encoder, whatever the length of clips. At 720p, the frames of one 8 s
# clip fit, so that the next clip's encoder can start meanwhile.
_WAITING_BYTES = 256 << 20
_MIN_WAITING_FRAMES = 8
_HEARTBEAT_FRAMES = 100
_MOST_ENCODERS = 8


@dataclasses.dataclass(frozen=True)
class CutFile:
    """A clip that was cut, with the facts read back from its file; or the error."""

    clip_id: str
    path: str = ""
    width: int = 0
    height: int = 0
    frame_rate: Fraction = Fraction(0)
    num_frames: int = 0
    duration_s: float = 0.0
    video_codec: str = ""
    notes: tuple[str, ...] = ()
    error: Exception | None = None


def cut(path: str, info: VideoInfo, spans: Sequence[Span], encoding: Encoding, folder: str) -> Iterator[CutFile | None]:
    r"""Cuts spans, ordered and not overlapping, out of one source into ``folder/{clip_id}.mp4``.

    >>> from tempfile import TemporaryDirectory
    >>> info = VideoInfo(32, 16, 25, 1, 1, 25, 3, 0.12, True, True, "rawvideo", "yuv420p", None, "yuv4mpegpipe", 0)
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.y4m")
    ...     _ = path.write_bytes(b"YUV4MPEG2 W32 H16 F25:1\n" + 3 * (b"FRAME\n" + bytes(768)))
    ...     clips = list(cut(str(path), info, [Span("clip", 1, 3, 1, 3, 0.04, 0.12)], Encoding(), folder))
    ...     [clip.num_frames for clip in clips if clip]
    [2]

    Yields:
        One CutFile per span, in order; None as a heartbeat in between.
    """
    if encoding.use_input_bit_rate and info.bit_rate_kbps:
        encoding = dataclasses.replace(encoding, bit_rate_kbps=info.bit_rate_kbps)
    frame_bytes = max(1, info.width * info.height * 3 // 2)
    waiting = threading.BoundedSemaphore(max(_MIN_WAITING_FRAMES, _WAITING_BYTES // frame_bytes))
    with sounds(path, info, spans) as sound, ThreadPoolExecutor(_encoders()) as encoders:
        remaining = deque(_Job(span, info, encoding, sound[span.clip_id], Path(folder), waiting) for span in spans)
        running: deque[Future[CutFile]] = deque()
        current: _Job | None = None
        try:
            for number, (place, frame, damaged) in enumerate(numbered(path, info, spans[0])):
                if number % _HEARTBEAT_FRAMES == 0:
                    yield None
                if current is not None and place >= current.end:
                    current.end_of_frames()
                    current = None
                while current is None and remaining and place >= remaining[0].end:
                    running.append(encoders.submit(remaining.popleft().finish))  # none of its frames decoded
                if current is None and remaining and place >= remaining[0].start:
                    current = remaining.popleft()
                    running.append(encoders.submit(current.run))
                if current is not None:
                    current.feed(place, frame, damaged)
                elif not remaining:
                    break
                while running and running[0].done():
                    yield running.popleft().result()
        finally:
            if current is not None:
                current.end_of_frames()  # or its thread would wait forever after an error in decoding
        running.extend(encoders.submit(job.finish) for job in remaining)
        while running:
            yield running.popleft().result()


def _encoders() -> int:
    """Number of encoder threads: the cores available, bounded since each takes memory."""
    return min(len(os.sched_getaffinity(0)), _MOST_ENCODERS)


class _Job:
    """The encoding of one clip: the decoding thread feeds frames, an encoder thread writes them."""

    def __init__(
        self,
        span: Span,
        info: VideoInfo,
        encoding: Encoding,
        sound: Sound,
        folder: Path,
        waiting: threading.BoundedSemaphore,
    ) -> None:
        self.span = span
        self.start, self.end = (
            (span.start_frame, span.end_frame) if info.counted else (span.start_pts, span.end_pts)
        )  # places, as `numbered` defines them
        self._info = info
        self._encoding = encoding
        self._sound = sound
        self._path = folder / f"{span.clip_id}.mp4"
        self._waiting = waiting
        self._frames: queue.SimpleQueue[tuple[int, av.VideoFrame] | None] = queue.SimpleQueue()
        self._damaged = 0
        self._duration_s = Fraction(0)
        self._notes: tuple[str, ...] = ()

    def feed(self, place: int, frame: av.VideoFrame, damaged: bool) -> None:
        """Queues a frame; blocks while too many are waiting."""
        self._damaged += damaged
        self._waiting.acquire()
        pts = self.span.frame_pts[place - self.start] if self.span.frame_pts else place
        self._frames.put((pts, frame))

    def end_of_frames(self) -> None:
        """Marks the end of the queue."""
        self._frames.put(None)

    def finish(self) -> CutFile:
        """Runs a job that got no frames."""
        self.end_of_frames()
        return self.run()

    def run(self) -> CutFile:
        """Encodes the queued frames to the end."""
        frames = self._received()
        try:
            self._write(frames)
            return read_back(self.span.clip_id, self._path, self._duration_s, self._notes)
        except Exception as error:  # noqa: BLE001 - one clip's error must not stop the chunk's other clips
            for _ in frames:
                pass
            cause = classify_write_error(error, self._path.parent, self._encoding.encoder)
            self._path.unlink(missing_ok=True)
            return CutFile(self.span.clip_id, error=cause)

    def _received(self) -> Iterator[tuple[int, av.VideoFrame]]:
        while (item := self._frames.get()) is not None:
            self._waiting.release()
            yield item

    def _write(self, frames: Iterator[tuple[int, av.VideoFrame]]) -> None:
        span, info = self.span, self._info
        total = span.num_frames
        kept = min(total, self._encoding.max_output_frames or total)
        even = info.constant_frame_rate
        # At a variable rate, every frame keeps its time; at a constant rate, frame n is shown at n / rate.
        rate, time_base, length = info.frame_rate * Fraction(kept, total), info.time_base, None
        if even:
            time_base = 1 / rate
        else:
            length = span.end_pts - span.start_pts
            rate = (kept / (length * time_base)).limit_denominator(MAX_RATE_DENOMINATOR)
        count = written = 0
        sound = self._sound.checked()
        conform = Conform(info.pixel_aspect, info.crop, self._encoding.interlaced, self._encoding.hdr)
        with ClipWriter(self._path, self._encoding, rate, time_base, conform, sound.track, length) as writer:
            for count, (pts, frame) in enumerate(frames, 1):
                # Keep `kept` evenly spaced frames of `total`.
                if written * total <= (count - 1) * kept:
                    writer.write(frame, written if even else pts - span.start_pts)
                    written += 1
        self._duration_s = (written if even else length or 0) * time_base
        self._notes = (*conform.notes, *([sound.note] if sound.note else []))
        lost = abs(total - count)
        if lost + self._damaged > self._encoding.max_decode_errors:
            raise LostFramesError(
                f"of its {total} frames (source frames {self.span.start_frame} to {self.span.end_frame - 1}) "
                f"{lost} are lost and {self._damaged} are damaged (--max-decode-errors)"
            )


def read_back(clip_id: str, path: Path, duration_s: Fraction, notes: tuple[str, ...]) -> CutFile:
    """Returns the facts of an mp4 that was written, as the file itself states them.

    Args:
        clip_id: Name of the clip.
        path: The mp4.
        duration_s: The length that was written, in s, exactly.
        notes: What happened to the clip on the way.
    """
    with open_video(str(path)) as (container, stream):
        count = sum(1 for packet in container.demux(stream) if packet.size)
        return CutFile(
            clip_id=clip_id,
            path=str(path),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            frame_rate=(count / duration_s).limit_denominator(MAX_RATE_DENOMINATOR),
            num_frames=count,
            duration_s=float(duration_s),
            video_codec=stream.codec_context.codec.canonical_name,
            notes=notes,
        )
