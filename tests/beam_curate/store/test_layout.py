"""Where records lie, whatever a source is called: an object's key has up to 1,024 bytes and any folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.store import layout
from beam_curate.store.local import LocalStore

RECORDS: list[Callable[[str], PurePosixPath]] = [
    layout.processed_video,
    lambda path: layout.processed_chunk(path, 12),
    layout.skipped_video,
    layout.video_error,
]
KEY_MAX_BYTES = 1024  # of S3 and of Google Cloud Storage
SHORT = ["a.mp4", "day 1/a.mp4", "d/e/f/a.mp4", f"{'d' * 255}/{'e' * 255}/a.mp4", f"{'é' * 127}/a.mp4", "~/a~b.mp4"]
LONG = [
    "x" * 1020 + ".mp4",
    "d" * 1018 + "/a.mp4",
    "d" * 256 + "/a.mp4",
    "d" * 256 + "/b.mp4",
    "d" * 257 + "/a.mp4",
    "d" * 256 + "/" + "d" * 256 + "/a.mp4",
    "d" * 256 + "/" + "d" * 257 + "/a.mp4",
    "d/" + "e" * 300 + "/f/" + "x" * 300 + ".mp4",
    "映" * 339 + "/a.mp4",
    "映" * 338 + "画/a.mp4",
    "é" * 127 + "ab/a.mp4",
    "/".join("d" * 511),
    "/".join("d" * 509) + "/ee",
    "/".join(["d" * 250] * 4) + "/a.mp4",
    "/".join(["d" * 250] * 4) + "/b.mp4",
    "/".join(["d" * 250] * 3) + "/" + "x" * 250 + ".mp4",
    "/".join(["d" * 250] * 3) + "/" + "x" * 251 + ".mp4",
    "/".join(["映" * 83] * 4) + "/a.mp4",
]


@pytest.mark.parametrize("path", SHORT)
def test_the_record_of_a_source_is_called_like_it(path: str) -> None:
    assert str(layout.processed_video(path)) == f"processed_videos/{path}.json"
    assert str(layout.processed_chunk(path, 2)) == f"processed_clip_chunks/{path}_2.json"
    assert str(layout.skipped_video(path)) == f"skipped_videos/{path}.json"
    assert str(layout.video_error(path)) == f"video_errors/{path}_0.json"


@pytest.mark.parametrize("path", LONG, ids=lambda path: f"{path[:2]}-{len(path.encode())}-{path[-7:]}")
def test_a_folder_takes_the_records_of_any_source(path: str, tmp_path: Path) -> None:
    output = LocalStore(tmp_path)
    for record in RECORDS:
        key = record(path)
        assert key.suffix == ".json"
        assert len(f"{'p' * 200}/{key}".encode()) <= KEY_MAX_BYTES
        output.write(key, b"{}")
        assert output.list_files(key.parent) == [key]


def test_no_two_sources_have_one_record() -> None:
    for record in RECORDS:
        assert len({record(path) for path in [*SHORT, *LONG]}) == len(SHORT) + len(LONG)
