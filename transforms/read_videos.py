"""The videos of a run."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate.elements import Video
from beam_curate.sources.selection import read_selection
from beam_curate.store.base import Store
from transforms.redistribute import Redistribute


@dataclasses.dataclass(eq=False)
class ReadVideos(beam.PTransform):
    """Reads the videos that the driver selected for this run.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    >>> from beam_curate.sources.selection import write_selection
    >>> from beam_curate.store.local import LocalStore
    >>> output, key = LocalStore(Path(tempfile.mkdtemp())), PurePosixPath("selection")
    >>> write_selection(output, key, [Video("a.mp4", "a.mp4", 1, "etag")])
    >>> with beam.Pipeline(FnApiRunner()) as pipeline:
    ...     _ = pipeline | ReadVideos(output, key) | beam.Map(lambda video: print(video.uri))
    a.mp4

    Attributes:
        output: The output that holds the selection.
        selection: The key that `write_selection` wrote.
    """

    output: Store
    selection: PurePosixPath

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Video]:
        """Returns the videos, distributed over the workers."""
        return (
            pipeline
            | "Selection" >> beam.Create([self.selection])
            | "Read" >> beam.FlatMap(functools.partial(read_selection, self.output))
            | "Redistribute" >> Redistribute()
        )
