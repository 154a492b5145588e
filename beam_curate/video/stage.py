"""The stage that divides a video into chunks and cuts their clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from beam_curate import counters
from beam_curate.elements import Clip, ClipChunk, ClipFile, Span, VideoInfo, VideoShots
from beam_curate.sources.reading import SourceReader
from beam_curate.stage import Stage, failed
from beam_curate.store import layout
from beam_curate.store.base import Key
from beam_curate.store.stage_files import StageFiles
from beam_curate.video import decoder_pool
from beam_curate.video.cut import CutFile
from beam_curate.video.encode import Encoding, require_working

# cosmos-curate measures a chunk in clips of this many seconds (--clip-re-chunk-size).
CHUNK_CLIP_S = 8


def chunks_of(shots: VideoShots, clips_per_chunk: int) -> Iterator[ClipChunk]:
    """Divides the spans of a video into chunks.

    >>> from beam_curate.elements import Video
    >>> info = VideoInfo(1280, 720, 24, 1, 1, 24, 960, 40.0, True, True, "h264", "yuv420p", None, "mov", 0)
    >>> frames = range(0, 960, 192)
    >>> spans = tuple(Span(f"clip{i}", i, i + 192, i, i + 192, i / 24, i / 24 + 8) for i in frames)
    >>> shots = VideoShots(Video("/data/a.mp4", "a.mp4", 1000, "0"), info, spans, losses=())
    >>> [len(chunk.clips) for chunk in chunks_of(shots, clips_per_chunk=2)]
    [2, 2, 1]

    As in cosmos-curate, a chunk is closed once the lengths of its clips, each rounded down to seconds, add up to
    ``clips_per_chunk`` x 8 s. A video without spans is one empty chunk, so that it is recorded like any other.
    """
    groups: list[list[Span]] = [[]]
    budget_s = 0
    for span in shots.spans:
        if groups[-1] and budget_s >= clips_per_chunk * CHUNK_CLIP_S:
            groups.append([])
            budget_s = 0
        groups[-1].append(span)
        budget_s += int(span.end_s - span.start_s)
    for index, group in enumerate(groups):
        clips = tuple(Clip(span) for span in group)
        yield ClipChunk(shots.video, shots.info, index, len(groups), len(shots.spans), clips, shots.losses)


@dataclasses.dataclass(frozen=True)
class ClipCutter(Stage[ClipChunk, ClipChunk]):
    """Cuts the clips of a chunk in a child process and keeps the files.

    Attributes:
        encoding: How clips are encoded.
        clips_per_chunk: Value of ``--clip-re-chunk-size``; see `chunks_of`.
        limits: Limits of the child process.
        sources: Gives sources as files.
        may_be_rejected: Whether a filter may reject clips, so that they are not kept under their public name at once.
    """

    encoding: Encoding
    clips_per_chunk: int
    limits: decoder_pool.Limits
    sources: SourceReader = SourceReader()
    may_be_rejected: bool = False

    name: ClassVar[str] = "clips"
    version: ClassVar[int] = 4
    transient: ClassVar[frozenset[str]] = frozenset({"limits", "sources", "may_be_rejected"})
    model = None

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        """Returns the chunk with the media of its clips, or their failures.

        Raises:
            SetupError: The encoder is a part of the GPU, and this computer has none that works.
        """
        assert chunk.info is not None  # a chunk with clips has the facts of its source
        if self.encoding.on_gpu:
            require_working(self.encoding)
        spans = tuple(clip.span for clip in chunk.clips)
        cut: dict[str, ClipFile | Exception] = {}
        with self.sources.reading(chunk.video) as path:
            info, limits = chunk.info, self.limits
            public = None if self.may_be_rejected else layout.clip
            for clip_id, result in cut_files(files, path, info, spans, self.encoding, limits, public):
                cut[clip_id] = result
                counters.step()
        counters.add("clips cut", len(spans))
        return chunk.with_clips(tuple(self._with_media(chunk, clip, cut) for clip in chunk.clips))

    def _with_media(self, chunk: ClipChunk, clip: Clip, cut: dict[str, ClipFile | Exception]) -> Clip:
        media = cut.get(clip.clip_id)
        if isinstance(media, Exception):
            return failed(self.name, chunk, clip, media)
        return dataclasses.replace(clip, media=media)


def cut_files(
    files: StageFiles,
    path: str,
    info: VideoInfo,
    spans: Sequence[Span],
    encoding: Encoding,
    limits: decoder_pool.Limits,
    public: Callable[[str], Key] | None = None,
) -> Iterator[tuple[str, ClipFile | Exception]]:
    """Cuts spans of a video file in a child process and stores the clips; yields (clip id, stored clip or error).

    Clips that are published as they are have a ``public`` name, which follows from their id.
    """
    if spans:
        yield from _made(files, limits, public, "cut", path, info, spans, encoding)


def copy_files(
    files: StageFiles, path: str, info: VideoInfo, spans: Sequence[Span], limits: decoder_pool.Limits
) -> Iterator[tuple[str, ClipFile | Exception]]:
    """Does the same for those spans of a clip that can be copied, see `beam_curate.video.copy.copy`."""
    return _made(files, limits, None, "copy", path, info, spans)


def _made(
    files: StageFiles,
    limits: decoder_pool.Limits,
    public: Callable[[str], Key] | None,
    task: str,
    *arguments: Any,
) -> Iterator[tuple[str, ClipFile | Exception]]:
    with files.scratch() as scratch:
        for cut in decoder_pool.stream(task, *arguments, str(scratch), limits=limits):
            yield cut.clip_id, cut.error or _stored(files, cut, public(cut.clip_id) if public else None)


def _stored(files: StageFiles, cut: CutFile, public: Key | None) -> ClipFile:
    return ClipFile(
        file=files.keep(Path(cut.path), cut.clip_id, public),
        width=cut.width,
        height=cut.height,
        frame_rate_num=cut.frame_rate.numerator,
        frame_rate_den=cut.frame_rate.denominator,
        num_frames=cut.num_frames,
        duration_s=cut.duration_s,
        video_codec=cut.video_codec,
        notes=cut.notes,
    )
