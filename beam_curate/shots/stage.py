"""The stage that finds the spans of a video, by TransNetV2 or at a fixed stride, reading it in a child process."""

from __future__ import annotations

import dataclasses
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from beam_curate import counters
from beam_curate.elements import Span, Video, VideoShots
from beam_curate.models.slot import ModelRef
from beam_curate.shots.scenes import TOO_SHORT, Piece, SceneRules, divide, limited, losses_of, scenes_of, split_at
from beam_curate.shots.sliding_windows import sliding_windows
from beam_curate.sources.reading import SourceReader
from beam_curate.stage import Stage
from beam_curate.store.stage_files import StageFiles
from beam_curate.video import decoder_pool
from beam_curate.video.decode import SourceHeader
from beam_curate.video.scan import ShotFrames, Times
from beam_curate.video.timeline import Timeline

_WAITING_WINDOWS = 16  # per video, for the network: 6 MB, and enough for all its threads


class _Detector(Stage[Video, VideoShots]):
    """The base of both detectors."""

    name: ClassVar[str] = "shots"
    version: ClassVar[int] = 2
    result_type: ClassVar[type[Any]] = VideoShots
    transient: ClassVar[frozenset[str]] = frozenset({"limits", "sources"})

    sources: SourceReader

    def run(self, video: Video, files: StageFiles) -> VideoShots:
        """Returns the spans of a video."""
        with self.sources.reading(video) as path:
            return self._detect(video, path)

    def _detect(self, video: Video, path: str) -> VideoShots:
        """Returns the spans of a video that lies at a path."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class FixedStrideDetector(_Detector):
    """Finds consecutive spans of equal length by the time stamps of frames.

    Attributes:
        duration_s: Length of a span.
        min_length_s: Minimum length of the last span; a shorter one is left out.
        limit_clips: Maximum number of spans per video; 0 means no limit.
        limits: Limits of the child process.
        sources: Gives sources as files.
    """

    duration_s: float
    min_length_s: float
    limit_clips: int
    limits: decoder_pool.Limits
    sources: SourceReader = SourceReader()

    algorithm: ClassVar[str] = "fixed-stride"
    model = None

    def _detect(self, video: Video, path: str) -> VideoShots:
        """Returns the spans of a video, from its packets without decoding it if possible."""
        header, times = decoder_pool.stream("packet_times", path, limits=self.limits)
        timeline = Timeline(header, times)
        spans: dict[int, Span] = {}
        pieces: list[Piece] = []
        for first, end, start_s, stop_s in self._strides(timeline):
            fits = stop_s - start_s >= self.min_length_s - timeline.rounding_s
            pieces.append(Piece(first, end, None if fits else TOO_SHORT))
            spans[first] = timeline.span(_clip_id(video, start_s, stop_s), first, end)
        pieces = limited(pieces, self.limit_clips)
        kept = tuple(spans[piece.start] for piece in pieces if piece.cause is None)
        return VideoShots(video, timeline.info, kept, losses_of(timeline, pieces))

    def _strides(self, timeline: Timeline) -> Iterator[tuple[int, int, float, float]]:
        """Yields first frame, end frame, start and end in s; spans do not cross pauses of the recording."""
        for stretch_first, stretch_end in timeline.stretches:
            starts_s = timeline.starts_s[stretch_first:stretch_end] + timeline.rounding_s
            end_s = float(timeline.ends_s[stretch_end - 1])
            start_s = float(timeline.starts_s[stretch_first])
            while start_s < end_s:
                stop_s = min(start_s + self.duration_s, end_s)
                first, end = np.searchsorted(starts_s, (start_s, stop_s)) + stretch_first
                end = stretch_end if stop_s >= end_s else end
                if end > first:
                    yield int(first), int(end), start_s, stop_s
                start_s += self.duration_s


@dataclasses.dataclass(frozen=True)
class TransNetV2Detector(_Detector):
    """Finds shots with TransNetV2.

    Attributes:
        model: The network; see `beam_curate.shots.transnetv2`.
        rules: Which scenes are kept.
        limit_clips: Maximum number of spans per video; 0 means no limit.
        limits: Limits of the child process.
        fast: Use longer windows, computed once each: faster, with slightly different probabilities.
        sources: Gives sources as files.
    """

    model: ModelRef
    rules: SceneRules
    limit_clips: int
    limits: decoder_pool.Limits
    fast: bool = False
    sources: SourceReader = SourceReader()

    algorithm: ClassVar[str] = "transnetv2"

    def _detect(self, video: Video, path: str) -> VideoShots:
        """Returns the spans of a video; a child process decodes it while the network processes windows."""
        reading = _Reading(decoder_pool.stream("shot_frames", path, limits=self.limits))
        parts: list[NDArray[np.float32]] = []
        for part in self._probabilities(sliding_windows(reading.frames(), fast=self.fast)):
            parts.append(part)
            reading.count_done(len(part))
        timeline = Timeline(reading.header, reading.times())
        probabilities = np.concatenate(parts)[: timeline.info.num_frames]
        scenes = scenes_of(probabilities, self.rules.threshold)
        pieces = divide(split_at(scenes, timeline.stretches), timeline.starts_s, timeline.ends_s, self.rules)
        pieces = limited(pieces, self.limit_clips)
        spans = tuple(
            timeline.span(_clip_id(video, piece.start, piece.end), piece.start, piece.end)
            for piece in pieces
            if piece.cause is None
        )
        return VideoShots(video, timeline.info, spans, losses_of(timeline, pieces))

    def _probabilities(self, windows: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yields the probabilities of each window while the next ones are read."""
        threshold = None if self.fast else self.rules.threshold
        waiting: deque[Future[NDArray[np.float32]]] = deque()
        try:
            for window in windows:
                with self.model.use() as network:
                    waiting.append(network.submit(window, threshold))
                if len(waiting) > _WAITING_WINDOWS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Reading:
    """Splits the messages of the child process into frames for the network and facts for the timeline."""

    def __init__(self, messages: Iterator[Any]) -> None:
        self._messages = messages
        counters.add("shots: opened")
        try:
            self.header: SourceHeader = next(messages)
        except Exception:
            counters.add("shots: opened", -1)
            raise
        self._pts: list[int | None] = []
        self._num_done = 0
        self._end = Times((), 0)
        claimed = self.header.claimed_frames or int(self.header.claimed_duration_s * self.header.frame_rate)
        self._claimed = max(0, claimed)
        counters.add("shots: frames to do", self._claimed)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        try:
            for message in self._messages:
                if isinstance(message, ShotFrames):
                    self._pts.extend(message.pts)
                    yield message.frames
                else:
                    self._end = message
        finally:
            counters.add("shots: frames to do", len(self._pts) - self._claimed)

    def count_done(self, number: int) -> None:
        """Counts frames that the network has processed, without the padding of the last window."""
        number = min(number, len(self._pts) - self._num_done)
        self._num_done += number
        counters.add("shots: frames done", number)

    def times(self) -> Times:
        return dataclasses.replace(self._end, pts=tuple(self._pts))


def _clip_id(video: Video, start: float, end: float) -> str:
    """Names a clip as cosmos-curate does: by frame numbers (TransNetV2) or by seconds (fixed stride)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{video.uri}_{start}_{end}"))
