"""What a run would do, video by video, with an estimate of time and disk; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from beam_curate.buckets.base import scheme_of
from beam_curate.captions.stage import Captioner
from beam_curate.dataset.embedding_file import MAX_TOKENS
from beam_curate.elements import Video
from beam_curate.plan.plan import Plan
from beam_curate.progress.terminal import shown
from beam_curate.shots.stage import FixedStrideDetector, TransNetV2Detector
from beam_curate.sources.reading import SourceReader
from beam_curate.text_embeddings.stage import CaptionEncoder
from beam_curate.video import decoder_pool
from beam_curate.video.decode import SourceHeader
from beam_curate.video.decoder_pool import Limits

# Measured on one core of an AMD EPYC of 2022: TransNetV2 in float32, and decoding plus libx264 veryfast at
# crf 18. A GPU is many times faster at the first.
_SHOT_FRAMES_PER_S = 60
_ENCODED_PIXELS_PER_S = 45e6
# Bits per pixel of libx264 veryfast at crf 18 on moving footage; it varies several times either way.
_BITS_PER_PIXEL = 0.12
_SHOT_S = 4.0  # assumed length of a shot: films have 3 to 6 s
_BYTES_PER_TOKEN = 1024 * 2  # float16
_FETCHED = 20  # videos of an object store that are looked at: each is fetched as a whole


def print_dry_run(console: Console, plan: Plan, videos: Sequence[Video], barriers: Collection[str]) -> None:
    """Prints a table of the videos to be done, which models are in memory together, and an estimate.

    Of videos in an object store only the first few are looked at, and the others estimated by their size.

    Args:
        console: Where to print.
        plan: The stages of the run.
        videos: What is to be done.
        barriers: Names of stages that begin when all chunks have passed the stages before.
    """
    limits = _detector(plan).limits
    cores = os.cpu_count() or 1
    seen = [video for number, video in enumerate(videos) if number < _FETCHED or not scheme_of(video.uri)]
    with ThreadPoolExecutor(cores) as pool:
        headers = list(pool.map(lambda video: header_of(video, plan.sources.reader, limits), seen))
    table = Table("video", "size", "length", "would be", box=None, pad_edge=False)
    core_s = bytes_out = 0.0
    for video, header in zip(seen, headers, strict=True):
        if isinstance(header, SourceHeader):
            seconds, size = estimate(header, plan)
            core_s, bytes_out = core_s + seconds, bytes_out + size
            source = shown(f"{header.width}x{header.height} {header.video_codec}")
            table.add_row(shown(video.relative_path), source, f"{header.claimed_duration_s:.1f} s", _stages(plan))
        else:
            table.add_row(shown(video.relative_path), "", "", shown(f"failed: {header}"))
    console.print(table)
    if len(seen) < len(videos):
        ratio = sum(video.size_bytes for video in videos) / sum(video.size_bytes for video in seen)
        core_s, bytes_out = core_s * ratio, bytes_out * ratio
        console.print(
            f"Only the first {len(seen)} of {len(videos):,} videos were fetched and looked at; the estimate goes by "
            "the size of all."
        )
    if memory := in_memory(plan, barriers):
        console.print(memory)
    console.print(
        f"Roughly {_duration(core_s / cores)} on this machine's {cores} cores without a GPU, models for captions "
        f"and text not counted, and up to {bytes_out / 1e9:.2f} GB of output. Nothing was written."
    )


def in_memory(plan: Plan, barriers: Collection[str]) -> str:
    """Returns which large models are in memory together, and what that means; empty with fewer than two."""
    models = [planned.stage.model for planned in plan.stages]
    large = [model for model in models if model is not None and model.gpu_gb]
    if len(large) < 2:
        return ""
    names = ", ".join(f"{model.name} ({model.gpu_gb:.0f} GB)" for model in large)
    if not barriers:
        return f"Models in memory together: {names}. Each video is finished as soon as it has passed all stages."
    waiting = " and ".join(sorted(barriers))
    return (
        f"Models one after the other, since they do not fit into memory together: {names}. The stage {waiting} begins "
        "when the stages before it are done with all videos (on this computer, of a portion)."
    )


def _stages(plan: Plan) -> str:
    stages = [f"shots ({_detector(plan).algorithm})", "clips"]
    captioner: Captioner | None = plan.stage("captions")
    stages += [f"captions ({captioner.algorithm})"] if captioner else []
    stages += [f"dataset ({plan.context.text_encoder})"] if plan.context.text_encoder else []
    return ", ".join(stages)


def _detector(plan: Plan) -> FixedStrideDetector | TransNetV2Detector:
    detector = plan.shots.stage
    assert isinstance(detector, FixedStrideDetector | TransNetV2Detector)
    return detector


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def estimate(header: SourceHeader, plan: Plan) -> tuple[float, float]:
    """Returns (core seconds, bytes of output) that a video may take, from what its header claims.

    What is published is a link to what is stored, and counts once. A clip of several windows is there as a whole and
    window by window. An embedding has as many tokens as T5 takes at most.
    """
    core_s = shots_core_s(header, plan) + clips_core_s(header)
    size = _pixels(header) * _BITS_PER_PIXEL / 8
    clips, windows = divided(header, plan)
    if not plan.stage("text"):
        return core_s, size
    embeddings = clips * windows * MAX_TOKENS * _BYTES_PER_TOKEN
    return core_s, size * (2 if windows > 1 else 1) + embeddings


def shots_core_s(header: SourceHeader, plan: Plan) -> float:
    """Returns how long a core may take to find the shots of a video, without a GPU, in s."""
    uses_network = isinstance(_detector(plan), TransNetV2Detector)
    return _frames(header) / _SHOT_FRAMES_PER_S if uses_network else 0.0


def clips_core_s(header: SourceHeader) -> float:
    """Returns how long a core may take to cut the clips of a video, in s."""
    return _pixels(header) / _ENCODED_PIXELS_PER_S


def divided(header: SourceHeader, plan: Plan) -> tuple[float, int]:
    """Returns (clips of a video, captioned windows of each of them), if its shots have a usual length.

    For a dataset, windows count that are long enough for an item of it.
    """
    detector, captioner, frames = _detector(plan), plan.stage("captions"), _frames(header)
    if captioner is None or not frames:
        return 0.0, 0
    encoder: CaptionEncoder | None = plan.stage("text")
    min_frames, rate = encoder.min_frames if encoder else 0, float(header.frame_rate)
    if isinstance(detector, FixedStrideDetector):
        clip_frames = min(frames, detector.duration_s * rate)
    else:
        shortest = max(detector.rules.min_length_s * rate, detector.rules.min_length_frames, min_frames)
        clip_frames = min(frames, max(_SHOT_S * rate, shortest))
    windows = captioner.windows.divide(round(clip_frames))
    return frames / clip_frames, sum(last - first + 1 >= min_frames for first, last in windows)


def _frames(header: SourceHeader) -> float:
    return header.claimed_duration_s * float(header.frame_rate)


def _pixels(header: SourceHeader) -> float:
    return _frames(header) * header.width * header.height


def header_of(video: Video, reader: SourceReader, limits: Limits) -> SourceHeader | Exception:
    """Returns what a video claims of itself, or why it cannot be read."""
    try:
        with reader.reading(video) as path:
            header: SourceHeader = decoder_pool.call("probe", path, limits=limits)
            return header
    except Exception as error:  # noqa: BLE001 - shown in the table, as the run would record it
        return error
