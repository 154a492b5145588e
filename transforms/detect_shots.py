"""From videos to shots."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from beam_curate.elements import Failure, Video, VideoShots
from beam_curate.stage import PlannedStage
from transforms.cached import Cached
from transforms.inference import infer


@dataclasses.dataclass(eq=False)
class DetectShots(beam.PTransform):
    """Detects the shots of each video. Duplicates are left out.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> shots, failures = beam.Pipeline() | beam.Create([]) | DetectShots(plan.shots)
    >>> isinstance(shots, beam.PCollection)
    True

    Attributes:
        planned: The stage, with the store of its results; see `beam_curate.shots.stage`.
    """

    planned: PlannedStage[Video, VideoShots]

    def expand(self, videos: beam.PCollection[Video]) -> tuple[beam.PCollection[VideoShots], beam.PCollection[Failure]]:
        """Returns shots, and the failures of videos that have none."""
        results = (
            videos
            | "Not duplicates" >> beam.Filter(_is_original)
            | "Cached" >> Cached(self.planned.results, infer(self.planned))
        )
        shots = results | "Shots" >> beam.Filter(_is_shots)
        failures = results | "Failures" >> beam.Filter(_is_failure)
        return shots, failures


def _is_original(video: Video) -> bool:
    return video.duplicate_of is None


def _is_shots(result: VideoShots | Failure) -> bool:
    return isinstance(result, VideoShots)


def _is_failure(result: VideoShots | Failure) -> bool:
    return isinstance(result, Failure)
