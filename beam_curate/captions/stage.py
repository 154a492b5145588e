"""The stage ``captions``: what its captioners have in common, and the one that needs no model."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from beam_curate import counters
from beam_curate.captions.describe import describe_windows
from beam_curate.captions.windows import WindowRules
from beam_curate.elements import Caption, Clip, ClipChunk, Window
from beam_curate.processes.permits import CORES
from beam_curate.stage import Stage, attempt_clips
from beam_curate.store.stage_files import StageFiles


@dataclasses.dataclass(frozen=True)
class Captioner(Stage[ClipChunk, ClipChunk]):
    """The base of captioners: each gives every window of a clip a caption.

    Attributes:
        windows: How clips are divided.
        algorithm: Value of ``--captioning-algorithm``.
    """

    windows: WindowRules
    algorithm: str

    name: ClassVar[str] = "captions"
    version: ClassVar[int] = 3


@dataclasses.dataclass(frozen=True)
class DescribeCaptioner(Captioner):
    """Describes what can be measured in the frames; needs no model.

    >>> DescribeCaptioner(WindowRules()).identity()
    {'windows': {'window_frames': 256, 'remainder_frames': 128}, 'algorithm': 'describe'}
    """

    algorithm: str = "describe"

    model = None

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        """Returns the chunk with captioned windows."""
        return attempt_clips(self, chunk, lambda clip: self._caption(clip, files))

    def _caption(self, clip: Clip, files: StageFiles) -> Clip:
        assert clip.media is not None
        spans = self.windows.divide(clip.media.num_frames)
        texts: list[str] = []
        if spans:
            with files.reading(clip.media.file) as path, CORES.one():
                texts = describe_windows(path, spans)
        counters.add("windows captioned", len(texts))
        counters.step()
        windows = tuple(
            Window(start, end, Caption(self.algorithm, text, "success"))
            for (start, end), text in zip(spans, texts, strict=True)
        )
        return dataclasses.replace(clip, windows=windows)
