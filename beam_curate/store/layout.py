"""Every path the program writes, named once. Names follow cosmos-curate 1.4, so that its tools read ours."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from beam_curate.elements import StoredFile, Video

NAME_MAX_BYTES = 255  # the longest file name of ext4, xfs, apfs and ntfs
DATASET = "cosmos_predict2_video2world_dataset"
NOT_FOR_TRAINING = "NOT_FOR_TRAINING.txt"


def bounded_name(name: str, suffix: str = "") -> str:
    """Returns ``name + suffix``, shortened with a hash in its middle when a file system would refuse it."""
    if len((name + suffix).encode()) <= NAME_MAX_BYTES:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    room = NAME_MAX_BYTES - len(suffix.encode()) - len(digest) - 1
    return f"{name.encode()[:room].decode(errors='ignore')}~{digest}{suffix}"


def _record(relative_path: str, suffix: str) -> PurePosixPath:
    path = PurePosixPath(relative_path)
    return path.parent / bounded_name(path.name, suffix)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The folders and files below one output folder.

    Attributes:
        output: Absolute path of the output folder.
    """

    output: str

    @property
    def root(self) -> Path:
        """The output folder."""
        return Path(self.output)

    # What a user reads.

    def clip(self, clip_id: str) -> Path:
        """An encoded clip."""
        return self.root / "clips" / f"{clip_id}.mp4"

    def clip_meta(self, clip_id: str) -> Path:
        """What is known of a clip."""
        return self.root / "metas" / "v0" / f"{clip_id}.json"

    def processed_video(self, relative_path: str) -> Path:
        """The record of a curated video."""
        return self.root / "processed_videos" / _record(relative_path, ".json")

    def processed_chunk(self, relative_path: str, index: int) -> Path:
        """The record of one chunk of a curated video."""
        return self.root / "processed_clip_chunks" / _record(relative_path, f"_{index}.json")

    def skipped_video(self, relative_path: str) -> Path:
        """The record of a video that was left out, and why."""
        return self.root / "skipped_videos" / _record(relative_path, ".json")

    def video_error(self, relative_path: str, index: int = 0) -> Path:
        """The record of what failed in a video or one of its chunks."""
        return self.root / "video_errors" / _record(relative_path, f"_{index}.json")

    @property
    def summary(self) -> Path:
        """Counts over all videos."""
        return self.root / "summary.json"

    @property
    def failures(self) -> Path:
        """Every failure, one JSON object a line."""
        return self.root / "failures.jsonl"

    @property
    def all_captions(self) -> Path:
        """Every caption of every video."""
        return self.root / "v0" / "all_window_captions.json"

    @property
    def dataset(self) -> Path:
        """The Cosmos-Predict2 dataset, or the folder of its ``train`` and ``val`` datasets."""
        return self.root / DATASET

    # What the program keeps for itself.

    @property
    def work(self) -> Path:
        """Results of stages, done markers and temporary files."""
        return self.root / ".work"

    @property
    def tmp(self) -> Path:
        """Temporary files: on the output's own file system, so that publishing is a rename."""
        return self.work / "tmp"

    @property
    def published(self) -> Path:
        """What was published of videos that are not recorded yet; see `beam_curate.store.journal`."""
        return self.work / "published"

    @property
    def done_folders(self) -> Path:
        """Done markers, a folder a fingerprint."""
        return self.work / "done"

    def done_folder(self, fingerprint: str) -> Path:
        """Done markers of runs with one fingerprint."""
        return self.done_folders / fingerprint

    def done(self, fingerprint: str, relative_path: str, size_bytes: int, etag: str) -> Path:
        """The marker that says a video needs no more work."""
        name = bounded_name(quote(relative_path, safe=""), f"@{size_bytes}-{etag}")
        return self.done_folder(fingerprint) / name

    def done_name(self, video: Video) -> str:
        """The file name of a video's done marker."""
        return self.done("", video.relative_path, video.size_bytes, video.etag).name

    def results(self, stage: str, fingerprint: str) -> Path:
        """Remembered results of a stage."""
        return self.work / stage / fingerprint

    def stage_files(self, stage: str, fingerprint: str) -> Path:
        """Files that belong to remembered results of a stage."""
        return self.files / stage / fingerprint

    @property
    def files(self) -> Path:
        """Files that belong to remembered results."""
        return self.work / "files"

    @property
    def fingerprints(self) -> Path:
        """The fingerprints of the last run's stages."""
        return self.work / "fingerprints.json"

    def stored(self, file: StoredFile) -> Path:
        """Where a stored file lies."""
        return self.root / file.path
