"""Chunks of clips for captioners, as the stages before them leave them."""

from __future__ import annotations

import shutil
from pathlib import Path

from beam_curate.elements import Clip, ClipChunk, ClipFile
from beam_curate.store.stage_files import StageFiles
from tests.support.facts import make_chunk, make_span
from tests.support.output import Output

RATE = 24


def chunks_of(layout: Output, footage: Path, size: tuple[int, int], frames: int, number: int) -> list[ClipChunk]:
    """Returns chunks of one clip each, all of the same pictures.

    Args:
        layout: The output folder.
        footage: A video.
        size: Its width and height in pixels.
        frames: Its frames, 24 a second.
        number: How many chunks.
    """
    return [make_chunk([_clip(layout, f"clip{index}", footage, size, frames)]) for index in range(number)]


def _clip(layout: Output, clip_id: str, footage: Path, size: tuple[int, int], frames: int) -> Clip:
    with layout.scratch() as scratch:
        path = scratch / f"{clip_id}.mp4"
        shutil.copyfile(footage, path)
        stored = StageFiles(layout, "clips", "benchmark").keep(path, clip_id)
    return Clip(make_span(clip_id, 0, frames), ClipFile(stored, *size, RATE, 1, frames, frames / RATE, "h264"))
