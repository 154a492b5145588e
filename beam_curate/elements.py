"""What travels between transforms: identities and facts, never pixels.

Every class is a frozen dataclass of plain fields, so that an element pickles small, compares by value and has
one JSON form. Frame numbers count from 0; ``end_frame`` of a span is exclusive, ``end_frame`` of a caption
window is inclusive (the convention of the dataset's file names). Units stand in the field names.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from beam_curate.errors import CurateError, LimitError

_LIMIT_ERRORS = frozenset(kind.__name__ for kind in LimitError.__subclasses__())


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why something could not be done.

    Attributes:
        stage: Name of the stage, e.g. ``detect_shots``.
        uri: The source video.
        clip_id: The clip, or None when the whole video failed.
        error_type: Class name of the error.
        message: What was wrong and what to do, one line.
        retriable: Whether the next run shall try again by itself.
    """

    stage: str
    uri: str
    clip_id: str | None
    error_type: str
    message: str
    retriable: bool

    @property
    def depends_on_limits(self) -> bool:
        """Whether other limits (--decode-timeout-s, --decode-memory-mb) may do without it."""
        return self.error_type in _LIMIT_ERRORS

    @classmethod
    def of(cls, error: BaseException, stage: str, uri: str, clip_id: str | None = None) -> Failure:
        """Returns the failure for an exception.

        What is no `CurateError` is no fault of the content, and retriable: a system call that failed, or else a fault
        of this program, which is named as such.
        """
        retriable = error.retriable if isinstance(error, CurateError) else True
        message = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, (CurateError, OSError)):
            message = f"internal error: {type(error).__name__}: {message}"
        return cls(stage, uri, clip_id, type(error).__name__, message, retriable)


@dataclasses.dataclass(frozen=True)
class Video:
    """A source video.

    Attributes:
        uri: Full path of the file; its identity.
        relative_path: POSIX path below the input folder.
        size_bytes: Size when it was listed.
        etag: Changes when the content does: modification time in ns for a local file.
        duplicate_of: Relative path of an earlier input with the same content, or None.
    """

    uri: str
    relative_path: str
    size_bytes: int
    etag: str
    duplicate_of: str | None = None

    @property
    def video_id(self) -> str:
        """UUID5 of the URI, as cosmos-curate names videos."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.uri))


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What reading a source video found.

    Attributes:
        width: Pixels.
        height: Pixels.
        frame_rate_num: Numerator of the average frame rate in frames/s.
        frame_rate_den: Its denominator.
        time_base_num: Numerator of the unit of ``pts`` in s.
        time_base_den: Its denominator.
        num_frames: Frames counted, not estimated.
        duration_s: From the first frame's time to the end of the last frame.
        has_timestamps: False when frames carry no usable pts; then ``pts`` are frame numbers, and the time
            base is one over the frame rate.
        constant_frame_rate: Whether every frame lies within half a frame of an even grid.
        video_codec: FFmpeg's name.
        pixel_format: FFmpeg's name.
        audio_codec: FFmpeg's name, or None without audio.
        container: FFmpeg's name of the container format.
        bit_rate_kbps: Of the video stream in 1000 bit/s; 0 when unknown.
        first_pts: Of the first frame.
        pixel_aspect_num: Numerator of a pixel's width over its height; 0 where each frame says it.
        pixel_aspect_den: Its denominator.
        crop: Left, top, width and height of what is shown of a decoded frame; None for all of it.
        mended: Whether bad time stamps were replaced; frames are then told apart by their number.
        notes: What a user should know of this source, in sentences.
    """

    width: int
    height: int
    frame_rate_num: int
    frame_rate_den: int
    time_base_num: int
    time_base_den: int
    num_frames: int
    duration_s: float
    has_timestamps: bool
    constant_frame_rate: bool
    video_codec: str
    pixel_format: str
    audio_codec: str | None
    container: str
    bit_rate_kbps: int
    first_pts: int = 0
    pixel_aspect_num: int = 0
    pixel_aspect_den: int = 1
    crop: tuple[int, int, int, int] | None = None
    mended: bool = False
    notes: tuple[str, ...] = ()

    @property
    def frame_rate(self) -> Fraction:
        """Average frames per second."""
        return Fraction(self.frame_rate_num, self.frame_rate_den)

    @property
    def counted(self) -> bool:
        """Whether decoded frames are told apart by their number, since their own time stamps do not do."""
        return self.mended or not self.has_timestamps

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a stored pixel over its height; 0 where each frame says it."""
        return Fraction(self.pixel_aspect_num, self.pixel_aspect_den)

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of pts."""
        return Fraction(self.time_base_num, self.time_base_den)


@dataclasses.dataclass(frozen=True)
class Span:
    """A piece of a source video that becomes a clip: frames [start_frame, end_frame), pts [start_pts, end_pts).

    Attributes:
        clip_id: Its name.
        start_frame: First frame.
        end_frame: The frame after the last.
        start_pts: Of the first frame, in the source's time base.
        end_pts: End of the last frame.
        start_s: In s after the source's first frame.
        end_s: Likewise.
        frame_pts: Of each frame, where the source's own do not do and its rate varies; else empty.
        seekable: Whether the first frame can be found by its own time stamp.
    """

    clip_id: str
    start_frame: int
    end_frame: int
    start_pts: int
    end_pts: int
    start_s: float
    end_s: float
    frame_pts: tuple[int, ...] = ()
    seekable: bool = True

    @property
    def num_frames(self) -> int:
        """Frames in the span."""
        return self.end_frame - self.start_frame


@dataclasses.dataclass(frozen=True)
class Loss:
    """Footage of a video of which no clip is made.

    Attributes:
        cause: Why, in words.
        count: Pieces.
        seconds: Together, in s.
    """

    cause: str
    count: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class VideoShots:
    """A video with the spans to cut from it, in order, and what is left out between them."""

    video: Video
    info: VideoInfo
    spans: tuple[Span, ...]
    losses: tuple[Loss, ...] = ()


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A file in the result store. Its name holds its hash, so it never changes once written.

    Attributes:
        path: POSIX path below the output folder.
        size_bytes: Size.
        sha256: Hex digest of the content.
    """

    path: str
    size_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class ClipFile:
    """An encoded clip: its file and the facts read back from it."""

    file: StoredFile
    width: int
    height: int
    frame_rate_num: int
    frame_rate_den: int
    num_frames: int
    duration_s: float
    video_codec: str
    notes: tuple[str, ...] = ()

    @property
    def frame_rate(self) -> Fraction:
        """Average frames per second."""
        return Fraction(self.frame_rate_num, self.frame_rate_den)


@dataclasses.dataclass(frozen=True)
class Caption:
    """A captioner's answer for one window.

    Attributes:
        algorithm: Value of ``--captioning-algorithm``.
        text: The caption; empty when status is ``error`` or ``blocked``.
        status: ``success``, ``truncated``, ``blocked``, ``error`` or ``skipped``.
        prompt_tokens: Tokens read, 0 where the captioner has none.
        output_tokens: Tokens written, 0 where the captioner has none.
        failure_reason: Why there is no text where status is ``error``: ``empty``, ``cut_off`` (in its reasoning),
            ``degenerate`` (repeats itself or holds no words), ``markup`` (tokens of a chat template), ``declined``
            (says that it cannot), ``reasoning`` (without marks), ``echoed`` (the prompt), ``undecodable``,
            ``not_finite`` (the model computed NaN), ``too_long`` (prompt and pictures), ``refused`` (by the server),
            ``exception`` (no answer at all); None otherwise.
    """

    algorithm: str
    text: str
    status: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    failure_reason: str | None = None

    @property
    def usable(self) -> bool:
        """Whether the text may be trained on."""
        return self.status in ("success", "truncated") and bool(self.text.strip())

    @property
    def outcome(self) -> str:
        """The reason of a failure, else the status: what records and the summary count."""
        return self.failure_reason or self.status


@dataclasses.dataclass(frozen=True)
class TextEmbedding:
    """A stored text embedding: a pickle of a list with one float16 array [num_tokens, 1024].

    Attributes:
        file: The pickle.
        num_tokens: Rows, the end-of-sequence token included; at most 512.
        truncated: Whether the caption was longer than 512 tokens.
    """

    file: StoredFile
    num_tokens: int
    truncated: bool


@dataclasses.dataclass(frozen=True)
class Window:
    """A caption window of a clip: frames start_frame to end_frame of the clip, both inclusive.

    Attributes:
        start_frame: First frame.
        end_frame: Last frame.
        caption: None until captioned.
        embedding: None until encoded.
        video: The window's own mp4 where the clip has several windows; None where the clip itself serves.
        left_out: Why the window is not in the dataset, or None.
    """

    start_frame: int
    end_frame: int
    caption: Caption | None = None
    embedding: TextEmbedding | None = None
    video: StoredFile | None = None
    left_out: str | None = None

    @property
    def num_frames(self) -> int:
        """Frames in the window."""
        return self.end_frame - self.start_frame + 1


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip on its way through the stages; each fills in what it makes.

    Attributes:
        span: Where it lies in the source.
        media: The encoded clip, None until cut (or when cutting failed).
        windows: Caption windows, in order.
        failures: What went wrong for this clip.
    """

    span: Span
    media: ClipFile | None = None
    windows: tuple[Window, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def clip_id(self) -> str:
        """Id of the clip."""
        return self.span.clip_id


@dataclasses.dataclass(frozen=True)
class ClipChunk:
    """Clips of one video, in order: the unit of decoding, of model batches, of results and of records.

    Attributes:
        video: The source.
        info: What reading it found.
        index: Number of this chunk in the video, from 0.
        num_chunks: Chunks of the video.
        num_total_clips: Clips of the video over all chunks.
        clips: At least one, except for the single chunk of a video without clips.
        losses: Footage of the video that lies in no clip.
    """

    video: Video
    info: VideoInfo
    index: int
    num_chunks: int
    num_total_clips: int
    clips: tuple[Clip, ...]
    losses: tuple[Loss, ...] = ()

    def with_clips(self, clips: Iterator[Clip] | tuple[Clip, ...]) -> ClipChunk:
        """Returns this chunk with other clips."""
        return dataclasses.replace(self, clips=tuple(clips))


def stored_files(element: Any) -> Iterator[StoredFile]:
    """Yields every StoredFile inside an element, in field order."""
    if isinstance(element, StoredFile):
        yield element
    elif dataclasses.is_dataclass(element):
        for field in dataclasses.fields(element):
            yield from stored_files(getattr(element, field.name))
    elif isinstance(element, tuple):
        for item in element:
            yield from stored_files(item)


def failures_in(element: Any) -> Iterator[Failure]:
    """Yields every Failure inside an element, in field order."""
    if isinstance(element, Failure):
        yield element
    elif isinstance(element, ClipChunk):
        for clip in element.clips:
            yield from clip.failures
