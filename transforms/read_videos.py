"""The videos of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import apache_beam as beam

from beam_curate.elements import Video
from beam_curate.sources.selection import read_selection


@dataclasses.dataclass(eq=False)
class ReadVideos(beam.PTransform):
    """Reads the list of videos that the launcher selected: listed, what is done subtracted, limited.

    Attributes:
        selection: File that `write_selection` wrote.
    """

    selection: Path

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Video]:
        """Yields videos, spread over the workers."""
        return (
            pipeline
            | "Selection" >> beam.Create([self.selection])
            | "Read" >> beam.FlatMap(read_selection)
            | "Spread" >> beam.Reshuffle()
        )
