"""Publishing what was made of a video, and recording it: the last two steps of the flow.

Chunks publish their clips and dataset items as they come. When all chunks of a video are there, what former
runs made of it and this one did not is withdrawn, the records are written, and the done marker comes last; a
video that was interrupted anywhere is simply done again, from remembered results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from beam_curate import progress
from beam_curate.dataset import predict2
from beam_curate.elements import ClipChunk, Failure, Video, failures_in
from beam_curate.layout import Layout
from beam_curate.report import records
from beam_curate.report.records import RecordContext
from beam_curate.storage import files


@dataclasses.dataclass(frozen=True)
class Former:
    """What the records say that earlier runs made of a video."""

    record: dict[str, Any]
    clips: frozenset[str]
    items: frozenset[str]


def former(layout: Layout, relative_path: str) -> Former:
    """Reads the records of a video."""
    record = files.read_json(layout.processed_video(relative_path)) or {}
    chunks = [
        files.read_json(layout.processed_chunk(relative_path, index)) or {}
        for index in range(record.get("num_clip_chunks", 0))
    ]
    return Former(
        record,
        frozenset(clip for chunk in chunks for clip in chunk.get("clips", ())),
        frozenset(item for chunk in chunks for item in chunk.get("dataset_items", ())),
    )


def publish_chunk(context: RecordContext, chunk: ClipChunk) -> ClipChunk:
    """Publishes the clips of a chunk, their records and their dataset items; returns the chunk."""
    layout = context.layout
    _forget_done(context, chunk.video)
    for clip in chunk.clips:
        if clip.media is not None:
            files.publish(layout, clip.media.file, layout.clip(clip.clip_id))
        files.write_json(layout.clip_meta(clip.clip_id), records.clip_record(context, chunk, clip), layout.tmp)
    for item in predict2.items_of(chunk, context.validation_fraction):
        predict2.publish(layout, item)
        progress.add("dataset items")
    return chunk


def record_video(
    context: RecordContext, video: Video, chunks: Sequence[ClipChunk], failures: Sequence[Failure]
) -> None:
    """Withdraws what is no longer so, writes the records of a video, and its done marker.

    Args:
        context: Of the run.
        video: The video.
        chunks: All of its published chunks; none when the video failed or was skipped.
        failures: Of the video as a whole.
    """
    layout, path = context.layout, video.relative_path
    _forget_done(context, video)
    chunks = sorted(chunks, key=lambda chunk: chunk.index)
    all_failures = [*failures, *(failure for chunk in chunks for failure in failures_in(chunk))]
    if not chunks and any(failure.retriable for failure in failures):
        # It may well succeed next time: what earlier runs made of it stays.
        _write_errors(context, video, chunks, failures)
        progress.add("videos failed")
        return
    _withdraw(context, former(layout, path), chunks)
    for chunk in chunks:
        record = records.chunk_record(context, chunk)
        files.write_json(layout.processed_chunk(path, chunk.index), record, layout.tmp)
    _remove_chunks(layout, path, from_index=len(chunks))
    _write_errors(context, video, chunks, failures)
    if chunks:
        files.write_json(layout.processed_video(path), records.video_record(context, chunks[0]), layout.tmp)
    else:
        layout.processed_video(path).unlink(missing_ok=True)
    _write_or_remove(
        layout.skipped_video(path),
        records.skip_record(context, video) if video.duplicate_of else None,
        layout,
    )
    if not any(failure.retriable for failure in all_failures):
        marker = layout.done(context.fingerprint, path, video.size_bytes, video.etag)
        files.write_json(marker, {"failures": len(all_failures)}, layout.tmp)
    progress.add("videos skipped" if video.duplicate_of else "videos done" if chunks else "videos failed")


def _withdraw(context: RecordContext, was: Former, chunks: Iterable[ClipChunk]) -> None:
    layout = context.layout
    clips = {clip.clip_id for chunk in chunks for clip in chunk.clips}
    published = {clip.clip_id for chunk in chunks for clip in chunk.clips if clip.media is not None}
    items = {item.name for chunk in chunks for item in predict2.items_of(chunk, context.validation_fraction)}
    for item in sorted(was.items - items):
        predict2.withdraw(layout, item)
    for clip_id in sorted(was.clips - published):
        layout.clip(clip_id).unlink(missing_ok=True)
    for clip_id in sorted(was.clips - clips):
        layout.clip_meta(clip_id).unlink(missing_ok=True)


def _forget_done(context: RecordContext, video: Video) -> None:
    """Removes the done marker of a run with other options or another file: its results are about to change."""
    layout = context.layout
    record = files.read_json(layout.processed_video(video.relative_path)) or {}
    if "fingerprint" not in record:
        return
    marker = layout.done(record["fingerprint"], video.relative_path, record["size_bytes"], record["etag"])
    current = layout.done(context.fingerprint, video.relative_path, video.size_bytes, video.etag)
    if marker != current:
        marker.unlink(missing_ok=True)


def _remove_chunks(layout: Layout, relative_path: str, from_index: int) -> None:
    index = from_index
    while (path := layout.processed_chunk(relative_path, index)).exists():
        path.unlink()
        index += 1


def _write_errors(
    context: RecordContext, video: Video, chunks: Sequence[ClipChunk], failures: Sequence[Failure]
) -> None:
    """Writes, or removes, the error records of a video: those of the video as a whole count to its first chunk."""
    found = {chunk.index: list(failures_in(chunk)) for chunk in chunks}
    if failures:
        found[0] = [*failures, *found.get(0, [])]
    indexes = {0, *found}
    while context.layout.video_error(video.relative_path, len(indexes)).exists():
        indexes.add(len(indexes))
    for index in indexes:
        wrong = found.get(index)
        record = records.error_record(context, video, index, wrong) if wrong else None
        _write_or_remove(context.layout.video_error(video.relative_path, index), record, context.layout)


def _write_or_remove(path: Path, record: dict[str, Any] | None, layout: Layout) -> None:
    if record is None:
        path.unlink(missing_ok=True)
    else:
        files.write_json(path, record, layout.tmp)
