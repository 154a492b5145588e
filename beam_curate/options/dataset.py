"""The groups of flags for text embeddings, the dataset and the run itself: typed, checked, with units in the help."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.options.flags import MOST_FRAMES, Group, flag

TRAINER_MIN_FRAMES = 94
"""Frames the Cosmos-Predict2 loader needs at least: it draws 93, and fails on a video of exactly 93."""


def default_workspace() -> str:
    """Returns the folder for models and caches that cosmos-curate uses too."""
    prefix = os.environ.get("COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX")
    try:
        return str(Path(prefix or Path.home()) / "cosmos_curate_local_workspace")
    except RuntimeError as error:
        raise UsageError("there is no home folder for --workspace: name a folder with it") from error


@dataclasses.dataclass(frozen=True)
class TextOptions(Group):
    """Text embeddings of captions."""

    text_encoder: str = flag(
        "t5_11b",
        "t5_11b is the encoder that Cosmos-Predict2 was trained with. t5_random gives embeddings of the "
        "same shape without meaning, in no time: for trying out the pipeline, never for training.",
        choices=("t5_11b", "t5_random"),
    )
    text_encoder_dtype: str = flag(
        "float32",
        "Precision of the text encoder. float32 is what Cosmos-Predict2 was trained with, and takes 20 GB. float16 "
        "takes 14 GB and bfloat16 10 GB; both are much faster on a GPU, and embeddings differ a little "
        "(docs/models.md).",
        choices=("float32", "bfloat16", "float16"),
    )


@dataclasses.dataclass(frozen=True)
class DatasetOptions(Group):
    """Dataset for training."""

    generate_cosmos_predict_dataset: str = flag(
        "disable",
        "predict2 writes a folder that the Cosmos-Predict2 trainer reads as it is: videos, captions and "
        "text embeddings. disable makes clips and captions only.",
        choices=("disable", "predict2"),
    )
    predict2_min_frames: int = flag(
        TRAINER_MIN_FRAMES,
        "Windows with fewer frames are left out of the dataset. The trainer draws 93 frames from each video "
        "and stops at shorter ones; lower this only if yours draws fewer.",
        unit="frames",
        minimum=1,
        maximum=MOST_FRAMES,
    )
    validation_fraction: float = flag(
        0.0,
        "Share of the source videos, each with all its clips, set aside for validation in a second dataset.",
        unit="share",
        minimum=0,
        below=1,
    )
    write_all_caption_json: bool = flag(
        True, "Do not write the JSON file that holds all captions; it grows large with millions of clips."
    )


@dataclasses.dataclass(frozen=True)
class RunOptions(Group):
    """Running."""

    runner: str = flag(
        "DirectRunner",
        "Where the pipeline runs: DirectRunner or PrismRunner on this computer, FlinkRunner or PortableRunner on many.",
        metavar="NAME",
    )
    workspace: str = flag(
        default_workspace,
        "The folder for model files and caches, shared by all runs and with cosmos-curate.",
        is_path=True,
        metavar="FOLDER",
        shown_default="${COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX:-$HOME}/cosmos_curate_local_workspace",
    )
    model_weights_path: str | None = flag(
        None,
        "A folder or bucket (gs://, s3://) with a copy of the workspace's models folder: a worker that misses a model "
        "takes it from there, once a computer.",
        metavar="PATH",
    )
    config: str | None = flag(
        None,
        "A YAML or JSON file with flags, such as limit: 10 or generate_captions: false. The command line "
        "overrules it, also for switches: --generate-captions, --no-verbose.",
        is_path=True,
        metavar="FILE",
    )
    retry_failed: bool = flag(
        False,
        "Try again what failed for good in an earlier run, for instance after a file was repaired. What "
        "failed by circumstance is always tried again.",
    )
    repair: bool = flag(
        False,
        "Look at every video again, also at those that are done, and make again what was removed from the output or "
        "damaged in it: clips, records, items of the dataset. What is stored in .work is checked by its hashes and not "
        "computed again where it is sound.",
    )
    max_failure_ratio: float | None = flag(
        None,
        "End with exit status 1 when more than this share of the videos failed, or of the clips: 0 for none at all. A "
        "video has failed when it cannot be read, or when all of its clips failed; a clip, when its file, a caption or "
        "an embedding could not be made. All videos of the input count, those of earlier runs too.",
        unit="share",
        minimum=0,
        maximum=1,
    )
    dry_run: bool = flag(False, "Check everything that can be checked and say what would be done, then stop.")
    threads: int | None = flag(
        None,
        "Threads of the local runner. Lower it to leave cores or memory to other programs; more than there are cores "
        "make a run slower.",
        unit="threads",
        minimum=1,
        maximum=256,
        shown_default="all cores",
    )
    verbose: bool = flag(False, "Say more while running: every video, and full error traces.")
