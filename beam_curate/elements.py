"""The elements that travel between transforms: identities and facts, never pixels.

Every class is a frozen dataclass of plain fields, so that elements pickle small, compare by value and have one JSON
form. Frame numbers count from 0; ``end_frame`` of a span is exclusive, ``end_frame`` of a caption window is inclusive
(the convention of the dataset's file names). Field names state units.
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
    """Why a stage failed for a video or a clip.

    Attributes:
        stage: Name of the stage.
        uri: The source video.
        clip_id: The clip, or None if the video failed.
        error_type: Class name of the error.
        message: What was wrong and what to do, in one line.
        retriable: Whether the next run tries again.
    """

    stage: str
    uri: str
    clip_id: str | None
    error_type: str
    message: str
    retriable: bool

    @property
    def depends_on_limits(self) -> bool:
        """Whether it may be avoided with other limits (--decode-timeout-s, --decode-memory-mb)."""
        return self.error_type in _LIMIT_ERRORS

    @classmethod
    def of(cls, error: BaseException, stage: str, uri: str, clip_id: str | None = None) -> Failure:
        """Returns the failure for an exception.

        Exceptions other than `CurateError` are retriable: failed system calls, or internal errors, which are marked so.

        >>> Failure.of(KeyError("x"), "shots", "/data/a.mp4").message
        "internal error: KeyError: 'x'"
        """
        retriable = error.retriable if isinstance(error, CurateError) else True
        message = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, (CurateError, OSError)):
            message = f"internal error: {type(error).__name__}: {message}"
        return cls(stage, uri, clip_id, type(error).__name__, message, retriable)


@dataclasses.dataclass(frozen=True, slots=True)  # there may be a million of them
class Video:
    """A source video.

    >>> Video("/data/a.mp4", "a.mp4", size_bytes=1000, etag="0").video_id
    '8e812009-407a-5c5e-8257-bb2d068af0ef'

    Attributes:
        uri: Full path of the file; its identity.
        relative_path: POSIX path below the input folder.
        size_bytes: Size at the time of listing.
        etag: Changes with the content: modification time in ns for a local file.
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
    """Facts found by reading a source video.

    Attributes:
        width: Pixels.
        height: Pixels.
        frame_rate_num: Numerator of the average frame rate in frames/s.
        frame_rate_den: Its denominator.
        time_base_num: Numerator of the unit of ``pts`` in s.
        time_base_den: Its denominator.
        num_frames: Frames counted, not estimated.
        duration_s: From the start of the first frame to the end of the last.
        has_timestamps: False if frames have no usable pts; then ``pts`` are frame numbers, and the time base is one
            over the frame rate.
        constant_frame_rate: Whether every frame is within half a frame of an even grid.
        video_codec: FFmpeg's name.
        pixel_format: FFmpeg's name.
        audio_codec: FFmpeg's name, or None without audio.
        container: FFmpeg's name of the container format.
        bit_rate_kbps: Bit rate of the video stream in 1000 bit/s; 0 if unknown.
        first_pts: The pts of the first frame.
        pixel_aspect_num: Numerator of a pixel's width over its height; 0 if each frame states it.
        pixel_aspect_den: Its denominator.
        crop: Left, top, width and height of the visible part of a decoded frame; None for all of it.
        fixed_timestamps: Whether bad time stamps were replaced; frames are then identified by their number.
        notes: Sentences on what a user should know about this source.
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
    fixed_timestamps: bool = False
    notes: tuple[str, ...] = ()

    @property
    def frame_rate(self) -> Fraction:
        """Average frames per second."""
        return Fraction(self.frame_rate_num, self.frame_rate_den)

    @property
    def counted(self) -> bool:
        """Whether decoded frames are identified by their number, since their own time stamps are unusable."""
        return self.fixed_timestamps or not self.has_timestamps

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a stored pixel over its height; 0 if each frame states it."""
        return Fraction(self.pixel_aspect_num, self.pixel_aspect_den)

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of pts."""
        return Fraction(self.time_base_num, self.time_base_den)


@dataclasses.dataclass(frozen=True)
class Span:
    """A part of a source video that becomes a clip: frames [start_frame, end_frame), pts [start_pts, end_pts).

    Attributes:
        clip_id: Name of the clip.
        start_frame: First frame.
        end_frame: The frame after the last.
        start_pts: The pts of the first frame, in the source's time base.
        end_pts: End of the last frame, in the same unit.
        start_s: Start in s after the source's first frame.
        end_s: End in s after the source's first frame.
        frame_pts: The pts of each frame if time stamps were replaced and the frame rate varies; else empty.
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
        """Number of frames in the span."""
        return self.end_frame - self.start_frame


@dataclasses.dataclass(frozen=True)
class Loss:
    """Footage of a video that is not in any clip.

    Attributes:
        cause: Why it is left out, as shown to users.
        count: Number of pieces.
        seconds: Their total length.
    """

    cause: str
    count: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class VideoShots:
    """A video with the spans to cut from it, in order, and the footage that is left out."""

    video: Video
    info: VideoInfo
    spans: tuple[Span, ...]
    losses: tuple[Loss, ...] = ()


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A file in the result store. Its name contains its hash, and it never changes once written.

    Attributes:
        path: POSIX path below the output folder.
        size_bytes: Size of the content.
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
    """A captioner's result for one window.

    Attributes:
        algorithm: Value of ``--captioning-algorithm``.
        text: The caption; empty if the status is ``error`` or ``blocked``.
        status: ``success``, ``truncated``, ``blocked``, ``error`` or ``skipped``.
        prompt_tokens: Input tokens, 0 for a captioner without tokens.
        output_tokens: Output tokens, 0 for a captioner without tokens.
        failure_reason: Why there is no text if the status is ``error``: ``empty``, ``cut_off`` (within its reasoning),
            ``degenerate`` (repeats itself or has no words), ``markup`` (tokens of a chat template), ``declined``
            (a refusal), ``reasoning`` (unmarked), ``echoed`` (the prompt), ``undecodable``, ``not_finite`` (the model
            computed NaN), ``too_long`` (prompt and frames), ``refused`` (by the server), ``exception`` (no completion);
            None otherwise.
    """

    algorithm: str
    text: str
    status: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    failure_reason: str | None = None

    @property
    def usable(self) -> bool:
        """Whether the text may be used for training.

        >>> Caption("describe", "A red car.", "success").usable, Caption("describe", "", "error").usable
        (True, False)
        """
        return self.status in ("success", "truncated") and bool(self.text.strip())

    @property
    def outcome(self) -> str:
        """The reason of a failure, else the status, as records and the summary count it."""
        return self.failure_reason or self.status


@dataclasses.dataclass(frozen=True)
class TextEmbedding:
    """A stored text embedding: a pickle of a list with one float16 array [num_tokens, 1024].

    Attributes:
        file: The stored pickle.
        num_tokens: Number of rows, the end-of-sequence token included; at most 512.
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
        video: The window's own mp4 if the clip has several windows; None if the window is the clip.
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
        """Number of frames in the window.

        >>> Window(start_frame=0, end_frame=95).num_frames
        96
        """
        return self.end_frame - self.start_frame + 1


@dataclasses.dataclass(frozen=True)
class Score:
    """What a filter found of a clip.

    Attributes:
        filter: Name of the filter, such as ``motion``.
        values: Named numbers, words, and lists of these, as JSON has them.
        problem: Why there are none; None where there are.
    """

    filter: str
    values: dict[str, Any]
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Rejection:
    """Why a filter rejected a clip.

    Attributes:
        filter: Name of the filter.
        reason: The score and the limit that it does not keep, in words.
    """

    filter: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip on its way through the stages; each stage fills in its result.

    Attributes:
        span: Its part of the source.
        media: The encoded clip; None until it is cut, or if cutting failed.
        windows: Caption windows, in order.
        failures: Failures of stages for this clip.
        scores: Of the filters that it has passed, and of the one that rejected it, in order.
        rejection: Why it is among the rejected clips of its chunk; None for all others.
    """

    span: Span
    media: ClipFile | None = None
    windows: tuple[Window, ...] = ()
    failures: tuple[Failure, ...] = ()
    scores: tuple[Score, ...] = ()
    rejection: Rejection | None = None

    @property
    def clip_id(self) -> str:
        """Id of the clip."""
        return self.span.clip_id


@dataclasses.dataclass(frozen=True)
class ClipChunk:
    """Clips of one video, in order: the unit of decoding, of model batches, of results and of records.

    Attributes:
        video: The source.
        info: Facts of the source; None of a video that failed or is a duplicate.
        index: Number of this chunk in the video, from 0.
        num_chunks: Number of chunks of the video.
        num_total_clips: Number of clips of the video, over all chunks.
        clips: Those that no filter has rejected.
        losses: Footage of the video that is not in any clip.
        failures: Of the video as a whole; those of a clip are in the clip.
        rejected: Clips that a filter has rejected: later stages leave them as they are.
    """

    video: Video
    info: VideoInfo | None
    index: int
    num_chunks: int
    num_total_clips: int
    clips: tuple[Clip, ...]
    losses: tuple[Loss, ...] = ()
    failures: tuple[Failure, ...] = ()
    rejected: tuple[Clip, ...] = ()

    @classmethod
    def without_clips(cls, video: Video, *failures: Failure) -> ClipChunk:
        """Returns the only chunk of a video that failed, or that is a duplicate.

        >>> ClipChunk.without_clips(Video("/data/b.mp4", "b.mp4", 1000, "0", duplicate_of="a.mp4")).num_chunks
        1
        """
        return cls(video, None, 0, 1, 0, (), failures=failures)

    @property
    def all_clips(self) -> tuple[Clip, ...]:
        """Kept and rejected clips, in the order of the video."""
        return tuple(sorted((*self.clips, *self.rejected), key=lambda clip: clip.span.start_frame))

    def with_clips(self, clips: Iterator[Clip] | tuple[Clip, ...]) -> ClipChunk:
        """Returns a copy of this chunk with other clips."""
        return dataclasses.replace(self, clips=tuple(clips))


def stored_files(element: Any) -> Iterator[StoredFile]:
    """Yields every StoredFile inside an element, in field order.

    >>> file = StoredFile(".work/files/clips/f/a.mp4", 7, "0" * 64)
    >>> list(stored_files((file, "no file"))) == [file]
    True
    """
    if isinstance(element, StoredFile):
        yield element
    elif dataclasses.is_dataclass(element):
        for field in dataclasses.fields(element):
            yield from stored_files(getattr(element, field.name))
    elif isinstance(element, tuple):
        for item in element:
            yield from stored_files(item)


def failures_in(element: Any) -> Iterator[Failure]:
    """Yields every Failure inside an element, in field order.

    >>> failure = Failure("shots", "/in/a.mp4", None, "ContentError", "no frames", False)
    >>> [one.message for one in failures_in(failure)]
    ['no frames']
    """
    if isinstance(element, Failure):
        yield element
    elif isinstance(element, ClipChunk):
        yield from element.failures
        for clip in element.all_clips:
            yield from clip.failures
