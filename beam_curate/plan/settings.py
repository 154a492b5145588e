"""Settings of a run that belong to no stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from beam_curate.sources.reading import SourceReader
from beam_curate.weights.fetch import WeightsSource


@dataclasses.dataclass(frozen=True)
class RunnerSettings:
    """Where the pipeline runs.

    Attributes:
        name: Beam's name of the runner, such as ``DirectRunner``.
        threads: Units of processor work at once on a local runner; None for as many as there are cores.
        beam_args: Flags of Apache Beam, unchanged, with their values.
        verbose: Whether logs of Beam and tracebacks of workers are shown.
        gpu_gb: Memory of a worker's GPU in GB (10^9 bytes); None where it is that of this computer, or not known.
        needs_gpu: Whether a stage has a model that is made for a GPU.
        gpu_only_where_needed: The kind of GPU that stages with such models alone get; None where workers are alike.
        detach: Whether the job is left to a cluster.
    """

    name: str = "DirectRunner"
    threads: int | None = None
    beam_args: tuple[str, ...] = ()
    verbose: bool = False
    gpu_gb: float | None = None
    needs_gpu: bool = False
    gpu_only_where_needed: str | None = None
    detach: bool = False


@dataclasses.dataclass(frozen=True)
class SourceSettings:
    """Which videos a run works on.

    Attributes:
        path: A folder, a file or a glob; None when there is only a list.
        list_path: A JSON file with paths, or None.
        extensions: File name extensions of videos, in lower case with a dot.
        limit: Most videos to take; 0 for all.
        keep_duplicates: Whether a file with the content of another is curated, too.
        retry_failed: Whether videos that failed permanently are tried again.
        repair: Whether videos that are done are looked at again.
        reader: Gives sources as files.
    """

    path: str | None
    list_path: str | None
    extensions: tuple[str, ...]
    limit: int = 0
    keep_duplicates: bool = False
    retry_failed: bool = False
    repair: bool = False
    reader: SourceReader = SourceReader()


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Where models lie.

    Attributes:
        workspace: The folder with ``models/``.
        weights: Where a worker takes a model from that it lacks; None without.
    """

    workspace: str
    weights: WeightsSource | None = None


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """What is said at the beginning and at the end of a run.

    Attributes:
        flags: Every option by its flag, for ``summary.json``.
        notes: Sentences to say at the start.
        all_captions: Whether the file with all captions is written; None for inputs that are not too large.
        each_video: Whether the summary has an entry for each video; None for inputs that are not too large.
        max_failure_ratio: Share of videos or clips above which a run has failed; None without a limit.
        dry_run: Whether the run only says what it would do.
    """

    flags: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    all_captions: bool | None = None
    each_video: bool | None = None
    max_failure_ratio: float | None = None
    dry_run: bool = False
