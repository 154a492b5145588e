"""The key of everything that the program writes, named once; `beam_curate.store.base.Store` reads and writes them.

Names follow cosmos-curate 1.4, so that its tools read ours.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from urllib.parse import quote

from beam_curate.elements import Clip, Video

NAME_MAX_BYTES = 255  # the longest file name of ext4, xfs, apfs and ntfs
PREFIX_MAX_BYTES = 200  # of an output in an object store, where a key has 1,024 at most
_RECORD_MAX_BYTES = 780  # which leaves room for that prefix, and for the folder of the records

# What a user reads.
CLIPS = PurePosixPath("clips")
FILTERED_CLIPS = PurePosixPath("filtered_clips")
PROCESSED_VIDEOS = PurePosixPath("processed_videos")
PROCESSED_CHUNKS = PurePosixPath("processed_clip_chunks")
SKIPPED_VIDEOS = PurePosixPath("skipped_videos")
VIDEO_ERRORS = PurePosixPath("video_errors")
SUMMARY = PurePosixPath("summary.json")
FAILURES = PurePosixPath("failures.jsonl")  # every failure, one JSON object per line
ALL_CAPTIONS = PurePosixPath("v0/all_window_captions.json")
DATASET = PurePosixPath("cosmos_predict2_video2world_dataset")  # or the folder of its train and val datasets
NOT_FOR_TRAINING = "NOT_FOR_TRAINING.txt"

# What the program keeps for itself.
WORK = PurePosixPath(".work")
TMP = WORK / "tmp"  # temporary files; deleted by a run that is alone
LEASES = WORK / "leases"  # of runs on an object store; see `beam_curate.store.lease`
RUNS = WORK / "runs"  # what each run was asked and keeps until it ends; see `beam_curate.store.runs`
PUBLISHED = WORK / "published"  # of videos that are not recorded yet; see `beam_curate.store.journal`
DONE = WORK / "done"  # done markers, one folder per fingerprint, in folders that are listed at the same time
FILES = WORK / "files"  # files that belong to cached results
FORMER_REPORT = WORK / "report.json"  # of a run that had nothing to do
FINGERPRINTS = WORK / "fingerprints.json"  # of the last run's stages


def clip(clip_id: str, *, rejected: bool = False) -> PurePosixPath:
    """An encoded clip, which a filter may have rejected.

    Example:
        >>> str(clip("8e81")), str(clip("8e81", rejected=True))
        ('clips/8e81.mp4', 'filtered_clips/8e81.mp4')
    """
    return (FILTERED_CLIPS if rejected else CLIPS) / f"{clip_id}.mp4"


def published_clip(made: Clip) -> PurePosixPath:
    """Where users find a clip, according to whether a filter rejected it.

    Example:
        >>> from beam_curate.elements import Span
        >>> str(published_clip(Clip(Span("8e81", 0, 96, 0, 96, 0.0, 4.0))))
        'clips/8e81.mp4'
    """
    return clip(made.clip_id, rejected=made.rejection is not None)


def clip_meta(clip_id: str) -> PurePosixPath:
    """What is known of a clip.

    Example:
        >>> str(clip_meta("8e81"))
        'metas/v0/8e81.json'
    """
    return PurePosixPath("metas/v0") / f"{clip_id}.json"


def processed_video(relative_path: str) -> PurePosixPath:
    """The record of a curated video.

    Example:
        >>> str(processed_video("day1/a.mp4"))
        'processed_videos/day1/a.mp4.json'
    """
    return PROCESSED_VIDEOS / _record(relative_path, ".json")


def processed_chunk(relative_path: str, index: int) -> PurePosixPath:
    """The record of one chunk of a curated video.

    Example:
        >>> str(processed_chunk("day1/a.mp4", 2))
        'processed_clip_chunks/day1/a.mp4_2.json'
    """
    return PROCESSED_CHUNKS / _record(relative_path, f"_{index}.json")


def skipped_video(relative_path: str) -> PurePosixPath:
    """The record of a video that was left out, and why.

    Example:
        >>> str(skipped_video("day1/a.mp4"))
        'skipped_videos/day1/a.mp4.json'
    """
    return SKIPPED_VIDEOS / _record(relative_path, ".json")


def video_error(relative_path: str, index: int = 0) -> PurePosixPath:
    """The record of what failed in a video or one of its chunks.

    Example:
        >>> str(video_error("day1/a.mp4"))
        'video_errors/day1/a.mp4_0.json'
    """
    return VIDEO_ERRORS / _record(relative_path, f"_{index}.json")


def done(fingerprint: str, video: Video) -> PurePosixPath:
    """The marker that says a video needs no more work.

    Example:
        >>> str(done("4c1f", Video("/in/day 1/a.mp4", "day 1/a.mp4", 900, "17")))
        '.work/done/4c1f/88/day%201%2Fa.mp4@900-17'
    """
    return DONE / fingerprint / done_name(video.relative_path, video.size_bytes, video.etag)


def done_name(relative_path: str, size_bytes: int, etag: str) -> PurePosixPath:
    """The name of a video's done marker, the same under each fingerprint, in one of 256 folders.

    Example:
        >>> str(done_name("day 1/a.mp4", 900, "17"))
        '88/day%201%2Fa.mp4@900-17'
    """
    name = bounded_name(quote(relative_path, safe=""), f"@{size_bytes}-{etag}")
    return PurePosixPath(hashlib.sha256(name.encode()).hexdigest()[:2]) / name


def worker_counts(run: PurePosixPath) -> PurePosixPath:
    """Where the processes that work for a run leave their counters; see `beam_curate.progress.worker_counts`.

    Example:
        >>> str(worker_counts(RUNS / "run"))
        '.work/runs/run/counts'
    """
    return run / "counts"


def of_run(run: PurePosixPath, what: str, video: Video) -> PurePosixPath:
    """What a run keeps of a video until it ends, in its folder.

    Example:
        >>> str(of_run(RUNS / "run", "arrived", Video("/in/a.mp4", "a.mp4", 900, "17")))[:31]
        '.work/runs/run/arrived/823bd49b'
    """
    return run / what / hashlib.sha256(video.uri.encode(errors="surrogateescape")).hexdigest()


def ledger(fingerprint: str) -> PurePosixPath:
    """The folder of what was recorded under a fingerprint, of each run a folder; see `beam_curate.store.ledger`.

    Example:
        >>> str(ledger("4c1f"))
        '.work/ledger/4c1f'
    """
    return WORK / "ledger" / fingerprint


def results(stage: str, fingerprint: str) -> PurePosixPath:
    """The folder of cached results of a stage.

    Example:
        >>> str(results("shots", "4c1f"))
        '.work/shots/4c1f'
    """
    return WORK / stage / fingerprint


def stage_files(stage: str, fingerprint: str) -> PurePosixPath:
    """The folder of files that belong to cached results of a stage.

    Example:
        >>> str(stage_files("clips", "4c1f"))
        '.work/files/clips/4c1f'
    """
    return FILES / stage / fingerprint


def bounded_name(name: str, suffix: str = "") -> str:
    """Returns ``name + suffix``, shortened with a hash in its middle when a file system would refuse it.

    Example:
        >>> bounded_name("talk", ".json")
        'talk.json'
        >>> len(bounded_name("talk" * 100, ".json"))
        255
    """
    if len((name + suffix).encode()) <= NAME_MAX_BYTES:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    room = NAME_MAX_BYTES - len(suffix.encode()) - len(digest) - 1
    return f"{name.encode()[:room].decode(errors='ignore')}~{digest}{suffix}"


def _record(relative_path: str, suffix: str) -> PurePosixPath:
    """Returns the path of its source with a suffix; an object may be in folders that no file system would take.

    What is too long as a whole is cut, and told from others by a hash.
    """
    path = PurePosixPath(relative_path)
    record = PurePosixPath(*map(bounded_name, path.parent.parts), bounded_name(path.name, suffix))
    if len(str(record).encode()) <= _RECORD_MAX_BYTES:
        return record
    digest = hashlib.sha256(relative_path.encode()).hexdigest()[:16]
    head = str(record).encode()[: _RECORD_MAX_BYTES - NAME_MAX_BYTES].decode(errors="ignore")
    return PurePosixPath(head.rpartition("/")[0]) / bounded_name(f"{path.name}~{digest}", suffix)
