r"""A filter of one's own: clips that are too dark to see anything.

    PYTHONPATH=examples beam-curate split --filter-plugin brightness_filter:BrightnessFilter \
        --brightness-minimum 0.15 --input-video-path FOOTAGE --output-clip-path OUT

docs/adding-a-stage.md explains it line by line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np

from beam_curate.filters.base import ClipFilter
from beam_curate.options.flags import flag


@dataclasses.dataclass(frozen=True)
class BrightnessFilter(ClipFilter):
    """Rejects clips that are too dark."""

    minimum: float = flag(0.1, "Smallest mean brightness.", unit="share", ge=0, le=1)
    every: int = flag(12, "Look at one of so many frames.", unit="frames", ge=1)

    name: ClassVar[str] = "brightness"
    version: ClassVar[int] = 1
    rule: ClassVar[frozenset[str]] = ClipFilter.rule | {"minimum"}
    transient: ClassVar[frozenset[str]] = rule
    model = None

    def score(self, clip: Path) -> Mapping[str, Any]:
        """Returns the mean of the grey levels, 0 (black) to 1 (white)."""
        with av.open(str(clip)) as container:
            frames = (frame for number, frame in enumerate(container.decode(video=0)) if number % self.every == 0)
            return {"mean": float(np.mean([frame.to_ndarray(format="gray").mean() / 255 for frame in frames]))}

    def judge(self, values: Mapping[str, Any]) -> str | None:
        """Returns why a clip is rejected, or None where it is kept."""
        if values["mean"] < self.minimum:
            return f"its mean brightness {values['mean']:.3f} is below --brightness-minimum {self.minimum:g}"
        return None
