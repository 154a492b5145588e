"""The stage that decides which caption windows are in the dataset, and gives each its video."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from beam_curate import counters
from beam_curate.dataset.format import MIN_GREY_STD, blank_fault, caption_fault, size_fault
from beam_curate.elements import Clip, ClipChunk, ClipFile, StoredFile, Window
from beam_curate.stage import Stage, attempt_clips
from beam_curate.store.stage_files import StageFiles
from beam_curate.video import decoder_pool
from beam_curate.video.encode import Encoding
from beam_curate.video.stage import copy_files, cut_files
from beam_curate.video.timeline import Timeline


def left_out(window: Window, min_frames: int, size: tuple[int, int]) -> str | None:
    """Returns why a window is not in the dataset, or None if it is.

    >>> left_out(Window(start_frame=0, end_frame=49), min_frames=94, size=(1280, 720))
    'fewer than 94 frames (--predict2-min-frames): 50'

    Args:
        window: A window with its caption and embedding; an earlier stage may have left it out.
        min_frames: Minimum number of frames of an item.
        size: Width and height of the clip in pixels.
    """
    if window.left_out is not None:
        return window.left_out
    if fault := size_fault(*size):
        return f"its video {fault}"
    if window.num_frames < min_frames:
        return f"fewer than {min_frames} frames (--predict2-min-frames): {window.num_frames}"
    if window.caption is None:
        return "no caption"
    if not window.caption.usable:
        # A caption without words has the status "success".
        outcome = "empty" if window.caption.outcome in ("success", "truncated") else window.caption.outcome
        return f"no usable caption ({outcome})"
    if fault := caption_fault(window.caption.text.strip()):
        return f"its caption {fault}"
    if window.embedding is None:
        return "no text embedding"
    return None


@dataclasses.dataclass(frozen=True)
class WindowCutter(Stage[ClipChunk, ClipChunk]):
    """Gives each window of the dataset its video: the clip, or a part of it if the clip has several windows.

    A part that begins with a key frame is copied, packet by packet; the default windows do. Others are encoded.

    Attributes:
        encoding: How the clips were encoded, and windows are that cannot be copied.
        min_frames: Minimum number of frames of a window.
        limits: Limits of the child process.
    """

    encoding: Encoding
    min_frames: int
    limits: decoder_pool.Limits

    name: ClassVar[str] = "windows"
    version: ClassVar[int] = 4
    transient: ClassVar[frozenset[str]] = frozenset({"limits"})
    model = None

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        """Returns the chunk with the videos of its windows, or the reasons why they are left out."""
        return attempt_clips(self, chunk, lambda clip: self._cut(clip, files))

    def _cut(self, clip: Clip, files: StageFiles) -> Clip:
        assert clip.media is not None
        size = clip.media.width, clip.media.height
        windows = [
            dataclasses.replace(window, left_out=left_out(window, self.min_frames, size)) for window in clip.windows
        ]
        wanted = [position for position, window in enumerate(windows) if window.left_out is None]
        if len(windows) > 1 and wanted:
            for position, media in zip(wanted, self._pieces(clip, [windows[i] for i in wanted], files), strict=True):
                windows[position] = dataclasses.replace(windows[position], video=media.file)
        for position in wanted:
            if fault := self._blank(windows[position], clip.media.file, files):
                windows[position] = dataclasses.replace(windows[position], video=None, left_out=f"its video {fault}")
        counters.add("windows ready", sum(window.left_out is None for window in windows))
        counters.step()
        return dataclasses.replace(clip, windows=tuple(windows))

    def _blank(self, window: Window, clip_file: StoredFile, files: StageFiles) -> str | None:
        """Returns what is wrong with a window's video if it is blank, by the same rule as `verify`."""
        with files.reading(window.video or clip_file) as path:
            arguments = str(path), window.num_frames, MIN_GREY_STD
            return blank_fault(decoder_pool.call("grey_std", *arguments, limits=self.limits))

    def _pieces(self, clip: Clip, windows: list[Window], files: StageFiles) -> list[ClipFile]:
        assert clip.media is not None
        with files.reading(clip.media.file) as path:
            made = self._made(str(path), clip, windows, files)
        pieces = []
        for piece in made:
            if isinstance(piece, Exception):
                raise piece
            pieces.append(piece)
        return pieces

    def _made(self, path: str, clip: Clip, windows: list[Window], files: StageFiles) -> list[ClipFile | Exception]:
        """Returns what was made of each window, in order: copied where it can be, else encoded."""
        header, times = decoder_pool.stream("packet_times", path, limits=self.limits)
        timeline = Timeline(header, times)
        spans = [
            timeline.span(
                f"{clip.clip_id}_{window.start_frame}_{window.end_frame}",
                window.start_frame,
                window.end_frame + 1,
            )
            for window in windows
        ]
        made = dict(copy_files(files, path, timeline.info, spans, self.limits))
        others = [span for span in spans if span.clip_id not in made]
        # The clip already has its final frame count; do not apply the frame limit twice.
        encoding = dataclasses.replace(self.encoding, max_output_frames=None)
        made |= dict(cut_files(files, path, timeline.info, others, encoding, self.limits))
        return [made[span.clip_id] for span in spans]
