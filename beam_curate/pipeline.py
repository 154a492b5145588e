"""The whole flow: which transform feeds which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

import apache_beam as beam

from beam_curate.plan.plan import Plan
from transforms.chunk_stage import ChunkStage
from transforms.cut_clips import CutClips
from transforms.detect_shots import DetectShots
from transforms.hints import with_hints
from transforms.read_videos import ReadVideos
from transforms.record_videos import RecordVideos
from transforms.redistribute import Redistribute
from transforms.write_cosmos_dataset import WriteCosmosDataset


def build(
    pipeline: beam.Pipeline,
    plan: Plan,
    run: PurePosixPath,
    selection: PurePosixPath,
    *,
    deal_out_chunks: bool = False,
    barriers: Collection[str] = (),
    captions_in_ledger: bool = True,
    resource_hints: Mapping[str, str] | None = None,
) -> beam.PCollection[str]:
    """Adds the flow to a pipeline: source videos in, clips, captions, a dataset and records out.

    It is one chain from end to end, which runners fuse: each chunk goes through all stages by itself.

    Args:
        pipeline: An empty pipeline.
        plan: The stages of the run.
        run: The folder of the run.
        selection: The list of videos to work on; see `beam_curate.sources.selection`.
        deal_out_chunks: Whether the chunks of a video are distributed over the workers.
        barriers: Names of stages that begin when all chunks have passed the stages before.
        captions_in_ledger: Whether the ledger of the run holds all captions.
        resource_hints: What the workers of stages whose models need a GPU are to have, where these are others.

    Returns:
        The URI of each video, once it is recorded.
    """
    videos = pipeline | "ReadVideos" >> ReadVideos(plan.output, selection)
    chunks = videos | "DetectShots" >> DetectShots(plan.shots, plan.chunks, run)
    if deal_out_chunks:
        chunks = chunks | "DealOut" >> beam.Reshuffle()
    chunks = chunks | "CutClips" >> CutClips(plan.clips, run)
    for planned in plan.after_clips:  # captions, text embeddings, the windows of the dataset
        hints = resource_hints if planned.needs_gpu else None
        if planned.name in barriers:
            chunks = chunks | f"Before {planned.name}" >> with_hints(Redistribute(), hints)
        chunks = chunks | planned.name.capitalize() >> with_hints(ChunkStage(planned, run), hints)
    chunks = chunks | "WriteCosmosDataset" >> WriteCosmosDataset(plan.context, run)
    return chunks | "RecordVideos" >> RecordVideos(plan.context, run, captions_in_ledger)
