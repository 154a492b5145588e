"""The captioners that --captioning-algorithm names. Each is a worker on chunks, chosen in `captioner`."""

from __future__ import annotations

import dataclasses

from beam_curate import attempt, progress
from beam_curate.attempt import Worker
from beam_curate.captions.describe import describe_windows
from beam_curate.captions.windows import caption_windows
from beam_curate.elements import Caption, Clip, ClipChunk, Window
from beam_curate.layout import Layout

STAGE = "captions"


@dataclasses.dataclass(frozen=True)
class WindowRules:
    """How a clip is divided into caption windows, in frames; see `caption_windows`."""

    window_frames: int = 256
    remainder_frames: int = 128


@dataclasses.dataclass(frozen=True)
class DescribeCaptioner:
    """Says what can be measured in the pictures; needs no model.

    Attributes:
        layout: The output folder.
        windows: How clips are divided.
    """

    layout: Layout
    windows: WindowRules
    model: None = None

    def run(self, chunk: ClipChunk) -> ClipChunk:
        """Returns the chunk with captioned windows."""
        return attempt.attempt_clips(chunk, STAGE, self._caption)

    def _caption(self, clip: Clip) -> Clip:
        assert clip.media is not None
        spans = caption_windows(clip.media.num_frames, self.windows.window_frames, self.windows.remainder_frames)
        texts = describe_windows(self.layout.stored(clip.media.file), spans) if spans else []
        progress.add("windows captioned", len(texts))
        progress.step()
        windows = tuple(
            Window(start, end, Caption("describe", text, "success"))
            for (start, end), text in zip(spans, texts, strict=True)
        )
        return dataclasses.replace(clip, windows=windows)


def captioner(algorithm: str, layout: Layout, windows: WindowRules) -> Worker[ClipChunk, ClipChunk]:
    """Returns the captioner of a name."""
    builders = {"describe": DescribeCaptioner}
    return builders[algorithm](layout, windows)
