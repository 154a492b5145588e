"""From options to the places that a run reads from."""

from __future__ import annotations

import dataclasses

from beam_curate.buckets.file_cache import FileCache
from beam_curate.options.parse import Options
from beam_curate.options.run import default_workspace
from beam_curate.sources.reading import SourceReader
from beam_curate.weights.fetch import WeightsSource

WORKER_WORKSPACE = "/tmp/beam-curate-workspace"
"""The workspace of workers that share no folder with this computer: they fill it from ``--model-weights-path``."""

_APART = ("DataflowRunner",)


def with_workers_workspace(options: Options) -> Options:
    """Returns options whose workspace is one of the workers.

    The default is below the home of whoever starts the run, which is nothing that a worker elsewhere could use.

    >>> from beam_curate.options.run import RunOptions
    >>> with_workers_workspace(Options(run=RunOptions("DataflowRunner"))).run.workspace
    '/tmp/beam-curate-workspace'
    """
    if options.run.runner in _APART and options.run.workspace == default_workspace():
        return dataclasses.replace(options, run=dataclasses.replace(options.run, workspace=WORKER_WORKSPACE))
    return options


def cache_of(options: Options) -> FileCache:
    """Returns the cache of each computer for copies of objects.

    >>> cache_of(Options()).max_bytes
    20000000000
    """
    return FileCache(options.run.cache_path or "", round(options.run.cache_gb * 1e9))


def sources_of(options: Options) -> SourceReader:
    """Returns what gives sources as files.

    >>> sources_of(Options()).profile
    'default'
    """
    return SourceReader(cache_of(options), options.input.input_s3_profile_name)


def weights_of(options: Options) -> WeightsSource | None:
    """Returns where workers take models from that they lack; None without such a place.

    >>> weights_of(Options()) is None
    True
    """
    path = options.run.model_weights_path
    return None if path is None else WeightsSource(path, options.input.input_s3_profile_name)
