"""The groups of flags for captions, the dataset and the run itself: typed, checked, with their units in the help."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.flags import Group, flag

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
class CaptionOptions(Group):
    """Captions."""

    generate_captions: bool = flag(
        True, "Cut clips only: no captions, and so no dataset. For a first look at the clips."
    )
    captioning_algorithm: str = flag(
        "describe",
        "Who writes the captions: describe measures brightness, colour and motion and says so in plain "
        "sentences. It needs no model and no GPU.",
        choices=("describe",),
        planned=(
            *("cosmos_r1", "cosmos_r2", "gemini", "nemotron", "openai", "qwen", "qwen3_5_27b", "vllm_async"),
            *("qwen3_vl_30b", "qwen3_vl_30b_fp8", "qwen3_vl_235b", "qwen3_vl_235b_fp8"),
        ),
    )
    captioning_window_size: int = flag(
        256,
        "A clip is captioned window by window, each of this length, and each window is one item of the "
        "dataset. A caption of a shorter window is closer to what happens in it.",
        unit="frames",
        minimum=4,
    )
    captioning_remainder_threshold: int = flag(
        128,
        "A rest at the end of a clip of at least this length becomes a window of its own; a shorter one is "
        "added to the window before it.",
        unit="frames",
        minimum=1,
    )

    def contradictions(self) -> Iterator[str]:
        """Yields what cannot be meant together."""
        if self.captioning_remainder_threshold > self.captioning_window_size:
            yield (
                f"--captioning-remainder-threshold {self.captioning_remainder_threshold} is above "
                f"--captioning-window-size {self.captioning_window_size}: lower the first or raise the second"
            )


@dataclasses.dataclass(frozen=True)
class TextOptions(Group):
    """Text embeddings of captions."""

    text_encoder: str = flag(
        "t5_11b",
        "t5_11b is the encoder that Cosmos-Predict2 was trained with. t5_random gives embeddings of the "
        "same shape without meaning, in no time: for trying out the pipeline, never for training.",
        choices=("t5_11b", "t5_random"),
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
    )
    validation_fraction: float = flag(
        0.0,
        "Share of the source videos, each with all its clips, set aside for validation in a second dataset.",
        unit="0 up to below 1",
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
    max_failure_ratio: float | None = flag(
        None,
        "End with an error when more than this share of the videos failed, so that a script notices.",
        unit="0 to 1",
        minimum=0,
        maximum=1,
    )
    dry_run: bool = flag(False, "Check everything that can be checked and say what would be done, then stop.")
    workers: int | None = flag(
        None,
        "Threads of the local runner. Lower it to leave cores or memory to other programs.",
        unit="threads",
        minimum=1,
        shown_default="all cores",
    )
    verbose: bool = flag(False, "Say more while running: every video, and full error traces.")
