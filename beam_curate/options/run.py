"""Flags for the run itself."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from beam_curate.errors import UsageError
from beam_curate.options.flags import Group, LocalPath, Place, flag


def default_workspace() -> str:
    """Returns the folder for models and caches that cosmos-curate uses too.

    >>> Path(default_workspace()).name
    'cosmos_curate_local_workspace'
    """
    prefix = os.environ.get("COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX")
    try:
        return str(Path(prefix or Path.home()) / "cosmos_curate_local_workspace")
    except RuntimeError as error:
        raise UsageError("there is no home folder for --workspace: name a folder with it") from error


WORKSPACE_SHOWN = "${COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX:-$HOME}/cosmos_curate_local_workspace"
"""The default workspace as `--help` shows it."""


@dataclasses.dataclass(frozen=True)
class RunOptions(Group):
    """Running."""

    runner: str = flag(
        "DirectRunner",
        "Where the pipeline runs: DirectRunner or PrismRunner on this computer, FlinkRunner, DataflowRunner or "
        "PortableRunner on many.",
        metavar="NAME",
    )
    workspace: LocalPath = flag(
        default_workspace,
        "The folder for model files and caches, shared by all runs and with cosmos-curate.",
        metavar="FOLDER",
        shown_default=WORKSPACE_SHOWN,
    )
    model_weights_path: Place | None = flag(
        None,
        "A folder or bucket (gs://, s3://) with a copy of the workspace's models folder: a worker that lacks a model "
        "takes it from there, once per computer.",
        metavar="PATH",
    )
    config: Place | None = flag(
        None,
        "A YAML or JSON file with flags, such as limit: 10 or generate_captions: false. The command line "
        "overrules it, also for switches: --generate-captions, --no-verbose.",
        metavar="FILE",
    )
    cache_path: LocalPath | None = flag(
        None,
        "The folder of each computer for copies of videos and clips from object stores. It should be on a fast disk.",
        metavar="FOLDER",
        shown_default="beam-curate-cache in the system's folder for temporary files",
    )
    cache_gb: float = flag(
        20.0,
        "How much that folder may hold. What was not used for the longest time goes first; a larger video is fetched "
        "all the same.",
        unit="GB",
        gt=0,
        le=1_000_000,
    )
    retry_failed: bool = flag(
        False,
        "Retry what failed permanently in an earlier run, for instance after a file was repaired. What "
        "failed for a transient reason is always retried.",
    )
    repair: bool = flag(
        False,
        "Check every video again, also finished ones, and restore what was removed from the output or "
        "damaged in it: clips, records, items of the dataset. Files stored in .work are checked by their hashes and "
        "computed again only where they are damaged.",
    )
    max_failure_ratio: float | None = flag(
        None,
        "End with exit status 1 when more than this share of the videos failed, or of the clips: 0 allows no failure. "
        "A video has failed when it cannot be read, or when all of its clips failed; a clip, when its file, a caption "
        "or an embedding could not be made. All videos of the input count, those of earlier runs too.",
        unit="share",
        ge=0,
        le=1,
        shown_default="no limit",
    )
    dry_run: bool = flag(False, "Check everything that can be checked, say what would be done, and stop.")
    threads: int | None = flag(
        None,
        "How much the local runner computes at once. Lower it to leave cores or memory to other programs; more threads "
        "than cores make a run slower. What waits for a model or a server does not count.",
        unit="threads",
        ge=1,
        le=256,
        shown_default="all cores",
    )
    gpu_memory_gb: float | None = flag(
        None,
        "Memory of the workers' GPU, where they are other computers. Models that fit into it together stay loaded side "
        "by side; others are used one after the other, so that all captions are written before the first text is "
        "encoded.",
        unit="GB",
        gt=0,
        le=10_000,
        shown_default="of this computer's GPU; elsewhere one model at a time",
    )
    gpu_only_where_needed: str | None = flag(
        None,
        "On Dataflow: have GPUs of this kind, such as nvidia-l4, for the stages with large models alone, and workers "
        "without a GPU for the others. That cuts the chain of stages: what is cut on one worker is read again from the "
        "output by another, and each part waits for the one before it. It pays where cutting takes longer than "
        "captions.",
        metavar="GPU",
        shown_default="all workers are alike",
    )
    detach: bool = flag(
        False,
        "Leave the job to a cluster and return as soon as it has begun there: beam-curate status OUTPUT tells how far "
        "it is, beam-curate summarize OUTPUT writes the summary when it has ended. For FlinkRunner, PortableRunner and "
        "DataflowRunner.",
    )
    verbose: bool = flag(False, "Say more while running: every video, and full error traces.")
