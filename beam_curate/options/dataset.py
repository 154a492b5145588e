"""Flags for text embeddings and the dataset."""

from __future__ import annotations

import dataclasses
from typing import Literal

from beam_curate.options.flags import MOST_FRAMES, Group, flag

TRAINER_MIN_FRAMES = 94
"""Fewest frames that the Cosmos-Predict2 loader can read: it draws 93, and fails on a video of exactly 93."""


_FOR_FEW = "for inputs of up to 100,000 videos"


@dataclasses.dataclass(frozen=True)
class TextOptions(Group):
    """Text embeddings of captions."""

    text_encoder: Literal["t5_11b", "t5_random"] = flag(
        "t5_11b",
        "t5_11b is the encoder that Cosmos-Predict2 was trained with. t5_random gives embeddings of the "
        "same shape without meaning, instantly: for trying out the pipeline, never for training.",
    )
    text_encoder_dtype: Literal["float32", "bfloat16", "float16"] = flag(
        "float32",
        "Precision of the text encoder. float32 is what Cosmos-Predict2 was trained with, and takes 20 GB. float16 "
        "takes 14 GB and bfloat16 10 GB; both are much faster on a GPU, and embeddings differ a little "
        "(docs/models.md).",
    )


@dataclasses.dataclass(frozen=True)
class DatasetOptions(Group):
    """Dataset for training."""

    generate_cosmos_predict_dataset: Literal["disable", "predict2"] = flag(
        "disable",
        "predict2 writes a folder that the Cosmos-Predict2 trainer reads directly: videos, captions and "
        "text embeddings. disable makes clips and captions only.",
    )
    predict2_min_frames: int = flag(
        TRAINER_MIN_FRAMES,
        "Windows with fewer frames are left out of the dataset. The trainer draws 93 frames from each video "
        "and fails on shorter ones; lower this only if yours draws fewer.",
        unit="frames",
        ge=1,
        le=MOST_FRAMES,
    )
    validation_fraction: float = flag(
        0.0,
        "Share of the source videos, each with all its clips, set aside for validation in a second dataset.",
        unit="share",
        ge=0,
        lt=1,
    )
    write_all_caption_json: bool | None = flag(
        None,
        "Write v0/all_window_captions.json, which holds all captions. It grows by about 15 KB per video.",
        shown_default=_FOR_FEW,
    )
    write_video_summaries: bool | None = flag(
        None,
        "Write an entry for each video into summary.json, about 2 KB, after the totals.",
        shown_default=_FOR_FEW,
    )
