"""Flags of the filters between cutting and captioning."""

from __future__ import annotations

import dataclasses
from typing import Literal

from beam_curate.options.flags import Group, flag

_MODES = "enable rejects clips, score-only keeps all and records their scores"


@dataclasses.dataclass(frozen=True)
class FilterOptions(Group):
    """Filters: which clips are worth training on (docs/filters.md)."""

    motion_filter: Literal["disable", "enable", "score-only"] = flag(
        "disable",
        f"Filter clips in which hardly anything moves, by the motion vectors of their encoding: {_MODES}.",
    )
    motion_global_mean_threshold: float = flag(
        0.00098,
        "Reject clips whose mean motion is smaller: the length of motion vectors over all pixels, where 1 is width "
        "plus height of the picture.",
        unit="share",
        ge=0,
        le=1,
    )
    motion_per_patch_min_256_threshold: float = flag(
        0.000001,
        "Reject clips of which a patch of 256 x 256 pixels moves less, in the mean over its pixels.",
        unit="share",
        ge=0,
        le=1,
    )
    motion_decode_target_fps: float = flag(
        2.0, "How many frames in a second of a clip are looked at.", unit="frames/s", gt=0, le=1000
    )
    motion_decode_target_duration_ratio: float = flag(
        0.5, "How much of a clip is looked at, from its beginning; at least 10 frames.", unit="share", gt=0, le=1
    )
    aesthetic_threshold: float | None = flag(
        None,
        "Filter clips by a model of what people like to look at, from about 1 to 10: reject those with a smaller mark. "
        "3.5 rejects what is blurred, dark or garbled. -1 and below only records the marks. Off without it.",
        unit="mark",
        ge=-1000,
        le=1000,
    )
    aesthetic_reduction: Literal["min", "mean"] = flag(
        "min", "The mark of a clip is that of its worst second, or the mean of all."
    )
    filter_plugin: str | None = flag(
        None,
        "Filters of your own, separated by commas: MODULE:CLASS, or the name of an entry point of an installed package "
        "(docs/adding-a-stage.md). Each has flags under its own name; with it, --help shows them.",
        metavar="NAMES",
    )
