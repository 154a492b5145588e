"""The JSON records of clips, chunks and videos. Keys follow cosmos-curate 1.4; ours are added, none renamed.

Records hold neither the time of day nor how long work took, so that the same videos and options give the same bytes.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

from beam_curate import __version__
from beam_curate.dataset.predict2 import items_of, part_of
from beam_curate.elements import Clip, ClipChunk, Failure, Video, Window
from beam_curate.records.footage import lost_in
from beam_curate.store import layout
from beam_curate.store.base import Store

# Filters of ours by the names that cosmos-curate's counts have for them; it counts no others.
_FILTERS = {
    "motion": "motion",
    "aesthetic": "aesthetic",
    "classifier": "qwen_classifier",
    "semantic": "qwen_semantic",
    "artificial_text": "artificial_text",
}
COUNTS = (
    *(f"num_clips_filtered_by_{name}" for name in _FILTERS.values()),
    "num_clips_passed",
    "num_clips_transcoded",
    "num_clips_with_embeddings",
    "num_clips_with_caption",
    "num_clips_with_webp",
)


@dataclasses.dataclass(frozen=True)
class RecordContext:
    """What all records of a run have in common.

    Attributes:
        output: Where all is written.
        fingerprint: Under which videos are done.
        text_encoder: Value of ``--text-encoder``, or None without a dataset.
        validation_fraction: Value of ``--validation-fraction``.
    """

    output: Store
    fingerprint: str
    text_encoder: str | None
    validation_fraction: float

    @property
    def provenance(self) -> dict[str, Any]:
        """What every record says of the run and the program that wrote it."""
        return {"fingerprint": self.fingerprint, "beam_curate_version": __version__}


def clip_record(context: RecordContext, chunk: ClipChunk, clip: Clip) -> dict[str, Any]:
    """Returns ``metas/v0/{clip_id}.json``."""
    info, media = chunk.info, clip.media
    assert info is not None  # a chunk with clips has the facts of its source
    record: dict[str, Any] = {
        "span_uuid": clip.clip_id,
        "source_video": chunk.video.uri,
        "duration_span": [clip.span.start_s, clip.span.end_s],
        "frame_span": [clip.span.start_frame, clip.span.end_frame],
        "width_source": info.width,
        "height_source": info.height,
        "framerate_source": float(info.frame_rate),
        "clip_location": context.output.location(layout.published_clip(clip)),
        "errors": [failure.stage for failure in clip.failures],
        "failures": [dataclasses.asdict(failure) for failure in clip.failures],
        "windows": [_window(window) for window in clip.windows],
        "filtered_windows": [],
        "valid": media is not None,
        "has_caption": any(window.caption and window.caption.usable for window in clip.windows),
        "total_prompt_tokens": sum(w.caption.prompt_tokens for w in clip.windows if w.caption),
        "total_output_tokens": sum(w.caption.output_tokens for w in clip.windows if w.caption),
        **_scores(clip),
        **context.provenance,
    }
    if media is not None:
        record |= {
            "width": media.width,
            "height": media.height,
            "framerate": float(media.frame_rate),
            "num_frames": media.num_frames,
            "video_codec": media.video_codec,
            "num_bytes": media.file.size_bytes,
            "sha256": media.file.sha256,
            "notes": list(media.notes),
        }
    return record


def _scores(clip: Clip) -> dict[str, Any]:
    """Returns what filters found, also under the keys that cosmos-curate has for its own filters, and the rejection."""
    if not clip.scores and clip.rejection is None:
        return {}
    of = {score.filter: score.values for score in clip.scores if score.problem is None}
    record: dict[str, Any] = {
        "scores": {score.filter: score.values or {"problem": score.problem} for score in clip.scores},
        "rejection": dataclasses.asdict(clip.rejection) if clip.rejection else None,
    }
    if "motion" in of:
        record["motion_score"] = {name: of["motion"][name] for name in ("global_mean", "per_patch_min_256")}
    if "aesthetic" in of:
        record["aesthetic_score"] = of["aesthetic"]["score"]
    return record


def _window(window: Window) -> dict[str, Any]:
    record: dict[str, Any] = {"start_frame": window.start_frame, "end_frame": window.end_frame}
    if window.caption is not None:
        algorithm = window.caption.algorithm
        record |= {
            f"{algorithm}_caption": window.caption.text,
            f"{algorithm}_prompt_tokens": window.caption.prompt_tokens,
            f"{algorithm}_output_tokens": window.caption.output_tokens,
            "caption_status": window.caption.status,
        }
        if window.caption.failure_reason is not None:
            record["caption_failure_reason"] = window.caption.failure_reason
    if window.embedding is not None:
        record |= {
            "text_tokens": window.embedding.num_tokens,
            "text_truncated": window.embedding.truncated,
        }
    if window.left_out is not None:
        record["left_out_of_dataset"] = window.left_out
    return record


def chunk_record(context: RecordContext, chunk: ClipChunk) -> dict[str, Any]:
    """Returns ``processed_clip_chunks/{relpath}_{index}.json``."""
    cut = [clip for clip in chunk.clips if clip.media is not None]
    rejections = [clip.rejection for clip in chunk.rejected if clip.rejection]
    filtered_by = dict(sorted(collections.Counter(rejection.filter for rejection in rejections).items()))
    captions = {
        clip.clip_id: {
            f"{window.start_frame}_{window.end_frame}": window.caption.text
            for window in clip.windows
            if window.caption is not None
        }
        for clip in cut
    }
    rejected_s = [clip.media.duration_s for clip in chunk.rejected if clip.media]
    lengths = [*(clip.media.duration_s for clip in cut if clip.media), *rejected_s]
    captioned = [window.caption for clip in cut for window in clip.windows if window.caption]
    return {
        "video": chunk.video.uri,
        "clip_chunk_index": chunk.index,
        **dict.fromkeys(COUNTS, 0),
        **{f"num_clips_filtered_by_{theirs}": filtered_by.get(ours, 0) for ours, theirs in _FILTERS.items()},
        "num_clips_passed": len(cut),
        "num_clips_transcoded": len(cut) + len(chunk.rejected),
        "num_clips_with_caption": sum(any(w.caption and w.caption.usable for w in clip.windows) for clip in cut),
        "total_clip_duration": sum(lengths),
        "max_clip_duration": max(lengths, default=0.0),
        "filtered_clip_duration": sum(rejected_s),
        "total_prompt_tokens": sum(caption.prompt_tokens for caption in captioned),
        "total_output_tokens": sum(caption.output_tokens for caption in captioned),
        "clips": [clip.clip_id for clip in cut],
        "filtered_clips": [clip.clip_id for clip in chunk.rejected],
        "filtered_by": filtered_by,
        "all_windows": {clip_id: texts for clip_id, texts in captions.items() if texts},
        "all_windows_enhanced_caption": {},
        "num_clips_failed": sum(clip.media is None for clip in chunk.clips),
        "failed_clips": [clip.clip_id for clip in chunk.clips if clip.media is None],
        "dataset_items": [item.name for item in items_of(chunk, context.validation_fraction)],
        "caption_outcomes": dict(sorted(collections.Counter(caption.outcome for caption in captioned).items())),
        "windows_left_out": {
            f"{clip.clip_id}_{window.start_frame}_{window.end_frame}": window.left_out
            for clip in chunk.clips
            for window in clip.windows
            if window.left_out
        },
        **context.provenance,
    }


def video_record(context: RecordContext, chunks: Sequence[ClipChunk]) -> dict[str, Any]:
    """Returns ``processed_videos/{relpath}.json``, from all chunks of the video."""
    chunk = chunks[0]
    video, info = chunk.video, chunk.info
    assert info is not None  # failed videos have no such record
    return {
        "video": video.uri,
        "height": info.height,
        "width": info.width,
        "framerate": float(info.frame_rate),
        "num_frames": info.num_frames,
        "duration": info.duration_s,
        "video_codec": info.video_codec,
        "pixel_format": info.pixel_format,
        "audio_format": info.audio_codec,
        "num_total_clips": chunk.num_total_clips,
        "num_clip_chunks": chunk.num_chunks,
        "video_uuid": video.video_id,
        "size_bytes": video.size_bytes,
        "etag": video.etag,
        "container": info.container,
        "constant_frame_rate": info.constant_frame_rate,
        "notes": list(info.notes),
        "footage_lost": lost_in(chunks),
        "dataset_part": part_of(video, context.validation_fraction),
        "text_encoder": context.text_encoder,
        **context.provenance,
    }


def error_record(context: RecordContext, video: Video, index: int, failures: list[Failure]) -> dict[str, Any]:
    """Returns ``video_errors/{relpath}_{index}.json``."""
    return {
        "video": video.uri,
        "clip_chunk_index": index,
        "errors": {failure.stage: f"{failure.error_type}: {failure.message}" for failure in failures},
        "failures": [dataclasses.asdict(failure) for failure in failures],
        **context.provenance,
    }


def skip_record(context: RecordContext, video: Video) -> dict[str, Any]:
    """Returns ``skipped_videos/{relpath}.json``."""
    return {
        "video": video.uri,
        "reason": f"same content as {video.duplicate_of}",
        "duplicate_of": video.duplicate_of,
        **context.provenance,
    }
