"""Importing Beam, which takes seconds, half of them for what a run on this computer has no use for."""

from __future__ import annotations

from beam_curate.imports import without
from runners.base import Runner

UNUSED = (
    "apache_beam.io.aws.s3filesystem",
    "apache_beam.io.azure.blobstoragefilesystem",
    "apache_beam.io.gcp.bigquery",
    "apache_beam.io.gcp.gcsfilesystem",
    "apitools",
    "google.cloud.dataflow",
    "pandas",
)
"""Beam's connectors, its clients of Google Cloud, its types of data frames: optional parts, which it can do without."""


def import_beam(runner: Runner) -> None:
    """Imports Beam; for a runner on this computer, without its optional parts.

    >>> from beam_curate.plan.settings import RunnerSettings
    >>> from runners.direct import DirectRunner
    >>> import_beam(DirectRunner(RunnerSettings()))
    """
    with without(*UNUSED if runner.is_local else ()):
        import apache_beam  # noqa: F401 - for those that import it later
