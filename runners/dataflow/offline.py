"""A job for Dataflow as files, written by Beam's own DataflowRunner without a network.

`beam.Pipeline(runner=DataflowRunner())` would ask Google about the bucket for staging before the graph is built. Here
the graph was built for the local runner, and DataflowRunner gets it with local folders to stage in.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apache_beam import Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions

JOB = "job.json"
"""The file with a job's description: workers, image, options."""

_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_NOBODY = {"type": "authorized_user", "client_id": "none", "client_secret": "none", "refresh_token": "none"}


def write_job(pipeline: Pipeline, options: PipelineOptions, folder: Path) -> None:
    """Writes ``job.json`` and ``pipeline.pb`` as DataflowRunner would send and stage them.

    Args:
        pipeline: With the graph, made for another runner than Dataflow.
        options: Of the job; where it is staged is changed.
        folder: Exists.

    Raises:
        ValueError: Beam finds the job wrong.
    """
    from apache_beam.options.pipeline_options import GoogleCloudOptions
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    cloud = options.view_as(GoogleCloudOptions)
    cloud.temp_location = cloud.temp_location or cloud.staging_location
    cloud.staging_location = str(folder)
    cloud.template_location = str(folder / JOB)
    logging.getLogger("google.auth").setLevel(logging.ERROR)  # it warns that nobody has no project
    with _credentials_of_nobody():
        DataflowRunner().run_pipeline(pipeline, options)


@contextlib.contextmanager
def _credentials_of_nobody() -> Iterator[None]:
    """Gives the library of Google credentials that open nothing: it would look for others on the network."""
    before = os.environ.get(_VARIABLE)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(_NOBODY, file)
        file.flush()
        os.environ[_VARIABLE] = file.name
        try:
            yield
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before
