"""The videos of a run."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate.elements import Video
from beam_curate.sources.selection import read_selection
from beam_curate.store.base import Store


@dataclasses.dataclass(eq=False)
class ReadVideos(beam.PTransform):
    """Reads the list of videos that the launcher selected: listed, what is done subtracted, limited.

    Attributes:
        output: Where it is.
        selection: The key that `write_selection` wrote.
    """

    output: Store
    selection: PurePosixPath

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Video]:
        """Yields videos, spread over the workers."""
        return (
            pipeline
            | "Selection" >> beam.Create([self.selection])
            | "Read" >> beam.FlatMap(functools.partial(read_selection, self.output))
            | "Spread" >> beam.Reshuffle()
        )
