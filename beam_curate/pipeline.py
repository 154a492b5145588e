"""The whole flow: which transform feeds which."""

from __future__ import annotations

from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate.plan.plan import Plan
from beam_curate.records import missing
from transforms.chunk_stage import ChunkStage
from transforms.cut_clips import CutClips
from transforms.detect_shots import DetectShots
from transforms.read_videos import ReadVideos
from transforms.record_videos import RecordVideos
from transforms.write_cosmos_dataset import WriteCosmosDataset


def build(pipeline: beam.Pipeline, plan: Plan, selection: PurePosixPath) -> None:
    """Adds the flow to a pipeline: source videos in, clips, captions, a dataset and records out.

    Args:
        pipeline: An empty pipeline.
        plan: The stages of the run.
        selection: The list of videos to work on; see `beam_curate.sources.selection`.
    """
    videos = pipeline | "ReadVideos" >> ReadVideos(plan.output, selection)
    shots, failures = videos | "DetectShots" >> DetectShots(plan.shots)
    chunks = shots | "CutClips" >> CutClips(plan.clips)
    for planned in plan.after_clips:  # captions, text embeddings, the windows of the dataset
        chunks = chunks | planned.name.capitalize() >> ChunkStage(planned)
    chunks = chunks | "WriteCosmosDataset" >> WriteCosmosDataset(plan.context)
    (videos, chunks, failures) | "RecordVideos" >> RecordVideos(plan.context, missing.recorded(selection))
