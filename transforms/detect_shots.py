"""From videos to shots."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from beam_curate.elements import Failure, Video, VideoShots
from beam_curate.plan.fingerprints import SHOTS_STAGE
from beam_curate.stage import Worker, attempt_video
from beam_curate.store.results import ResultStore
from transforms.cached import Remembered
from transforms.inference import infer


@dataclasses.dataclass(eq=False)
class DetectShots(beam.PTransform):
    """Finds the spans of each video. Duplicates pass by without work.

    Attributes:
        detector: How; see `beam_curate.shots.stage`.
        store: Of its results.
    """

    detector: Worker[Video, VideoShots]
    store: ResultStore[VideoShots]

    def expand(self, videos: beam.PCollection[Video]) -> tuple[beam.PCollection[VideoShots], beam.PCollection[Failure]]:
        """Returns shots, and the failures of videos that have none."""
        results = (
            videos
            | "Not duplicates" >> beam.Filter(_is_original)
            | "Remembered" >> Remembered(self.store, infer(self.detector, attempt_video, SHOTS_STAGE))
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
