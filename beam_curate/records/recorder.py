"""Publishing what was made of a video, and recording it: the last two steps of the flow.

Chunks publish their clips and dataset items as they come. With the last chunk of a video, what former runs made of it
and this one did not is withdrawn, the records are written, and the done marker comes last; a video that was interrupted
anywhere is simply done again, from cached results.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from beam_curate import counters
from beam_curate.dataset import predict2
from beam_curate.elements import ClipChunk, Failure, Video, failures_in
from beam_curate.errors import IncompleteVideoError, OutputError
from beam_curate.records import records
from beam_curate.records.records import RecordContext
from beam_curate.store import disk_errors, journal, layout, readback
from beam_curate.store.base import Store
from beam_curate.store.done_markers import forget_done
from beam_curate.store.ledger import Entry
from beam_curate.store.outcomes import Outcome
from beam_curate.store.recorded import seal

STAGE = "records"
PUBLISH_STAGE = "publishing"
AGAIN = "run the same command again; finished work is kept"
_MOST_NAMED = 10


@dataclasses.dataclass(frozen=True)
class MadeBefore:
    """What was made of a video, according to its records and the journal."""

    journal: tuple[PurePosixPath, ...]
    num_chunks: int
    clips: frozenset[str]
    rejected: frozenset[str]
    items: frozenset[str]


def made_before(output: Store, relative_path: str) -> MadeBefore:
    """Reads the records and the journal of a video."""
    record = readback.read(output, layout.processed_video(relative_path), readback.VIDEO)
    of_journal = journal.keys(output, relative_path)
    entries = journal.read(output, of_journal)
    num_chunks = max([record["num_clip_chunks"] if record else 0, *(entry["num_clip_chunks"] for entry in entries)])
    while output.exists(layout.processed_chunk(relative_path, num_chunks)):  # the record that counts them may be gone
        num_chunks += 1
    read = [
        readback.read(output, layout.processed_chunk(relative_path, index), readback.CHUNK)
        for index in range(num_chunks)
    ]
    made: list[Mapping[str, Any]] = [*(chunk for chunk in read if chunk), *entries]
    return MadeBefore(
        tuple(of_journal),
        num_chunks,
        frozenset(clip for one in made for key in ("clips", "failed_clips") for clip in one.get(key, ())),
        frozenset(clip for one in made for clip in one.get("filtered_clips", ())),
        frozenset(item for one in made for item in one.get("dataset_items", ())),
    )


def publish_chunk(context: RecordContext, chunk: ClipChunk) -> ClipChunk:
    """Publishes the clips of a chunk, their records and their dataset items.

    Returns:
        The chunk, with the failure if it could not be published; `record_video` makes it one of the video.
    """
    if not chunk.all_clips:
        return chunk
    try:
        _publish(context, chunk)
    except Exception as error:  # noqa: BLE001 - one video never takes down another
        return dataclasses.replace(chunk, failures=(_failure(error, PUBLISH_STAGE, chunk.video),))
    return chunk


def _publish(context: RecordContext, chunk: ClipChunk) -> None:
    output = context.output
    forget_done(output, chunk.video, but=layout.done(context.fingerprint, chunk.video))
    items = list(predict2.items_of(chunk, context.validation_fraction))
    entry = {
        "num_clip_chunks": chunk.num_chunks,
        "clips": [clip.clip_id for clip in chunk.clips],
        "filtered_clips": [clip.clip_id for clip in chunk.rejected],
        "dataset_items": [item.name for item in items],
        "text_encoder": context.text_encoder,
    }
    journal.write(output, chunk.video.relative_path, entry)
    for clip in chunk.all_clips:
        if clip.media is not None:
            output.publish(clip.media.file, layout.published_clip(clip))
        output.write_json(layout.clip_meta(clip.clip_id), records.clip_record(context, chunk, clip))
    for item in items:
        predict2.publish(output, item)
        counters.add("dataset items")


def record_video(
    context: RecordContext, video: Video, chunks: Sequence[ClipChunk], failures: Sequence[Failure]
) -> Entry:
    """Withdraws what no longer holds, writes the records of a video, and its done marker.

    A video that is neither complete nor failed, or that cannot be published or recorded, is not settled: it is recorded
    as failed with the reason, all that was published of it stays, and the next run does it again.

    Args:
        context: Of the run.
        video: The video.
        chunks: All of its published chunks; none when the video failed or was skipped.
        failures: Of the video as a whole.

    Returns:
        What the ledger of the run holds of it.
    """
    try:
        unpublished = [one for chunk in chunks for one in chunk.failures]
        if unpublished:
            return _not_settled(context, video, unpublished[0])
        if what := incomplete(video, chunks, failures):
            return _not_settled(context, video, Failure.of(IncompleteVideoError(what), STAGE, video.uri), failures)
        return _settle(context, video, chunks, failures)
    except Exception as error:  # noqa: BLE001 - one video never takes down another
        failure = _failure(error, STAGE, video)
        with contextlib.suppress(OSError):  # what refuses the records may refuse this one, too
            return _not_settled(context, video, failure)
        return Entry(video, failure.message)


def _not_settled(context: RecordContext, video: Video, failure: Failure, others: Iterable[Failure] = ()) -> Entry:
    """Records a video as failed, to be done again; what was made of it stays."""
    output, path = context.output, video.relative_path
    counters.add("videos failed")
    with contextlib.suppress(OSError):  # a marker that stays does not agree with the record of the failure
        forget_done(output, video)
    record = records.error_record(context, video, 0, [*others, failure])
    output.write_json(layout.video_error(path), record)
    return Entry(video, failure.message)


def _failure(error: Exception, stage: str, video: Video) -> Failure:
    """Returns the failure of a video that cannot be written, with the place where."""
    if isinstance(error, OSError):
        error = OutputError(f"it cannot be written to the output folder: {disk_errors.explained(error)}")
    return Failure.of(error, stage, video.uri)


def _settle(context: RecordContext, video: Video, chunks: Sequence[ClipChunk], failures: Sequence[Failure]) -> Entry:
    """Writes the records of a video; returns what they say now, or nothing of it where records of earlier runs stay."""
    output, path = context.output, video.relative_path
    marker = layout.done(context.fingerprint, video)
    if not any(chunk.all_clips for chunk in chunks):  # publishing them did it
        forget_done(output, video, but=marker)
    chunks = sorted(chunks, key=lambda chunk: chunk.index)
    all_failures = [*failures, *(failure for chunk in chunks for failure in failures_in(chunk))]
    unsettled = any(failure.retriable for failure in all_failures)
    if unsettled:
        output.delete(marker)
    if unsettled and not chunks:
        # It may well succeed next time: what earlier runs made of it stays.
        output.write_json(layout.video_error(path), records.error_record(context, video, 0, all_failures))
        counters.add("videos failed")
        return Entry(video)
    was = made_before(output, path)
    _withdraw(context, was, chunks)
    of_chunks = [records.chunk_record(context, chunk) for chunk in chunks]
    tags: dict[PurePosixPath, str] = {}
    for chunk, record in zip(chunks, of_chunks, strict=True):
        key = layout.processed_chunk(path, chunk.index)
        tags[key] = output.write_json(key, record)
    for index in range(len(chunks), was.num_chunks):
        output.delete(layout.processed_chunk(path, index))
    _write_errors(context, video, chunks, failures, was.num_chunks, tags)
    of_video = records.video_record(context, chunks) if chunks else None
    _write_or_delete(layout.processed_video(path), of_video, output, tags)
    skip = records.skip_record(context, video) if video.duplicate_of else None
    _write_or_delete(layout.skipped_video(path), skip, output, tags)
    journal.remove(output, path, was.journal)
    if not unsettled:
        output.make_durable(_written(context, video, chunks))
        output.write_json(marker, {"failures": len(all_failures), "video": video.uri})
    counters.add("videos skipped" if video.duplicate_of else "videos done" if chunks else "videos failed")
    found = [dataclasses.asdict(failure) for failure in all_failures]
    outcome = Outcome(video, of_video, of_chunks, skip["reason"] if skip else None, found)
    return Entry(video, outcome=outcome, seal=seal(tags))


def incomplete(video: Video, chunks: Sequence[ClipChunk], failures: Sequence[Failure]) -> str | None:
    """Returns what is missing of a video; None if each chunk and clip arrived once, or it failed or is a duplicate."""
    if not chunks:
        return None if failures or video.duplicate_of else f"neither clips nor a failure arrived; {AGAIN}"
    expected = max(chunk.num_chunks for chunk in chunks)
    seen = collections.Counter(chunk.index for chunk in chunks)
    missing = [index for index in range(expected) if not seen[index]]
    if missing:
        return f"{len(missing)} of {expected} chunks did not arrive ({few(missing)}, counted from 0); {AGAIN}"
    if twice := sorted(index for index, times in seen.items() if times > 1 or not 0 <= index < expected):
        return f"chunks arrived more than once ({few(twice)}, counted from 0); {AGAIN}"
    return _incomplete_clips(chunks)


def _incomplete_clips(chunks: Sequence[ClipChunk]) -> str | None:
    """Returns what is missing of the clips of a video whose chunks are all there."""
    clips = [clip for chunk in chunks for clip in chunk.all_clips]
    expected = max(chunk.num_total_clips for chunk in chunks)
    if len(clips) != expected or len({clip.clip_id for clip in clips}) != expected:
        return f"{len(clips)} clips arrived and {expected} were found; each must arrive exactly once; {AGAIN}"
    neither = [clip.clip_id for clip in clips if clip.media is None and not clip.failures]
    if neither:
        return f"{len(neither)} clips have neither a file nor a failure, the first is {neither[0]}; {AGAIN}"
    return None


def few(things: Sequence[object], most: int = _MOST_NAMED) -> str:
    """Lists the first items and says how many more there are.

    Example:
        >>> few([2, 3, 5, 7], most=2)
        '2, 3 and 2 more'
    """
    listed = ", ".join(map(str, things[:most]))
    return listed if len(things) <= most else f"{listed} and {len(things) - most} more"


def _withdraw(context: RecordContext, was: MadeBefore, chunks: Iterable[ClipChunk]) -> None:
    output = context.output
    clips = {clip.clip_id for chunk in chunks for clip in chunk.all_clips}
    kept = {clip.clip_id for chunk in chunks for clip in chunk.clips if clip.media is not None}
    rejected = {clip.clip_id for chunk in chunks for clip in chunk.rejected}
    items = {item.name for chunk in chunks for item in predict2.items_of(chunk, context.validation_fraction)}
    for item in sorted(was.items - items):
        predict2.withdraw(output, item)
    for clip_id in sorted(was.clips - kept):
        output.delete(layout.clip(clip_id))
    for clip_id in sorted(was.rejected - rejected):
        output.delete(layout.clip(clip_id, rejected=True))
    for clip_id in sorted((was.clips | was.rejected) - clips):
        output.delete(layout.clip_meta(clip_id))


def _write_errors(
    context: RecordContext,
    video: Video,
    chunks: Sequence[ClipChunk],
    failures: Sequence[Failure],
    num_chunks_before: int,
    tags: dict[PurePosixPath, str],
) -> None:
    """Writes, or deletes, the error records of a video; failures of the video as a whole go into the first one."""
    found = {chunk.index: list(failures_in(chunk)) for chunk in chunks}
    if failures:
        found[0] = [*failures, *found.get(0, [])]
    for index in {0, *found, *range(num_chunks_before)}:
        wrong = found.get(index)
        record = records.error_record(context, video, index, wrong) if wrong else None
        _write_or_delete(layout.video_error(video.relative_path, index), record, context.output, tags)


def _written(context: RecordContext, video: Video, chunks: Sequence[ClipChunk]) -> Iterator[PurePosixPath]:
    """Yields every file that speaks of a video or was made of it."""
    path = video.relative_path
    indices = [0, *(chunk.index for chunk in chunks)]
    yield from (layout.processed_video(path), layout.skipped_video(path))
    yield from (layout.video_error(path, index) for index in indices)
    yield from (layout.processed_chunk(path, chunk.index) for chunk in chunks)
    for chunk in chunks:
        for clip in chunk.all_clips:
            yield layout.clip_meta(clip.clip_id)
            if clip.media is not None:
                yield layout.published_clip(clip)
        for item in predict2.items_of(chunk, context.validation_fraction):
            yield from predict2.keys(item.name)


def _write_or_delete(
    key: PurePosixPath, record: dict[str, Any] | None, output: Store, tags: dict[PurePosixPath, str]
) -> None:
    """Writes a record and notes its tag, or deletes it."""
    if record is None:
        output.delete(key)
    else:
        tags[key] = output.write_json(key, record)
