"""The whole flow: which transform feeds which."""

from __future__ import annotations

from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate.elements import VideoShots
from beam_curate.plan.plan import Plan
from beam_curate.records import missing
from transforms.caption_clips import CaptionClips
from transforms.cut_clips import CutClips
from transforms.detect_shots import DetectShots
from transforms.encode_captions import EncodeCaptions
from transforms.read_videos import ReadVideos
from transforms.record_videos import RecordVideos
from transforms.write_cosmos_dataset import WriteCosmosDataset


def build(pipeline: beam.Pipeline, plan: Plan, selection: PurePosixPath) -> None:
    """Adds the flow to a pipeline: source videos in, clips, captions, a dataset and records out.

    Args:
        pipeline: An empty pipeline.
        plan: What each stage does.
        selection: The list of videos to work on; see `beam_curate.sources.selection`.
    """
    videos = pipeline | "ReadVideos" >> ReadVideos(plan.output, selection)

    shots, failures = videos | "DetectShots" >> DetectShots(plan.detector, plan.store("shots", VideoShots))
    chunks = shots | "CutClips" >> CutClips(plan.cutter, plan.store("clips"), plan.options.split.clip_re_chunk_size)
    if plan.captioner is not None:
        chunks = chunks | "CaptionClips" >> CaptionClips(plan.captioner, plan.store("captions"))
    if plan.encoder is not None:
        chunks = chunks | "EncodeCaptions" >> EncodeCaptions(plan.encoder, plan.store("text"))
    chunks = chunks | "WriteCosmosDataset" >> WriteCosmosDataset(plan.context, plan.windows, plan.store("windows"))
    (videos, chunks, failures) | "RecordVideos" >> RecordVideos(plan.context, missing.recorded(selection))
