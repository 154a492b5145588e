"""Whoever can write to an output in a bucket decides what is in it, and nothing that is outside."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.elements import ClipChunk, ClipFile, StoredFile
from beam_curate.sources.reading import SourceReader
from beam_curate.store import layout
from beam_curate.store.objects import ObjectStore
from beam_curate.store.open import open_store
from beam_curate.store.results import ResultStore
from tests.support.facts import RATE, make_chunk, make_clip, make_span, make_video_element
from tests.support.output import Output
from tests.support.stores import PROFILE, new_place

CONTENT = b"pictures"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
UNIT = make_chunk([make_clip(Output(Path("/nowhere")), "x", media=None)])


@pytest.fixture
def output(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    place = new_place("s3", tmp_path, request)
    store = open_store(place, PROFILE, FileCache(str(tmp_path / "cache")))
    assert isinstance(store, ObjectStore)
    return store


def result_with(file: StoredFile) -> ClipChunk:
    """The result of the unit, with a clip in a file."""
    media = ClipFile(file, 320, 180, RATE, 1, 96, 4.0, "h264")
    clip = dataclasses.replace(make_clip(Output(Path("/nowhere")), "x", media=None), span=make_span("x"), media=media)
    return dataclasses.replace(UNIT, clips=(clip,))


def read_back(output: ObjectStore, file: StoredFile, *, check_content: bool = False) -> object:
    """What another run makes of a result that names a file."""
    results = ResultStore(output, "clips", "f", ClipChunk, check_content=check_content)
    results.put(UNIT, result_with(file))
    return results.get(UNIT)


def test_a_file_of_the_output_counts(output: ObjectStore) -> None:
    output.bucket.put("out/clips/x.mp4", CONTENT, SHA256)
    file = StoredFile("clips/x.mp4", len(CONTENT), SHA256)
    assert read_back(output, file) == result_with(file)


@pytest.mark.parametrize("check_content", [False, True])
@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "../../x",
        "clips/../../x",
        "clips/../../../x",
        "/etc/hostname",
        "/clips/x",
        "//host/share/x",
        "file:///etc/hostname",
        "s3://{bucket}/x",
        "s3://{bucket}/out/clips/x",
        "{url}/out/clips/x",
        "metas/x",
    ],
)
def test_a_file_that_a_record_names_elsewhere_is_absent(output: ObjectStore, path: str, check_content: bool) -> None:
    for key in ("x", "out/x", "out/metas/x", "out/clips/x", "etc/hostname"):
        output.bucket.put(key, CONTENT, SHA256)
    path = path.format(bucket=output.bucket.url.removeprefix("s3://"), url=output.bucket.url.replace("s3:/", ""))
    assert read_back(output, StoredFile(path, len(CONTENT), SHA256), check_content=check_content) is None


@pytest.mark.parametrize("sha256", ["../../mine", "/tmp/mine", "", "x" * 64, SHA256.upper(), f"{SHA256}\n"])
def test_a_hash_that_is_none_does_not_become_a_path(output: ObjectStore, tmp_path: Path, sha256: str) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    output.bucket.put("out/clips/x", CONTENT, sha256.strip())
    file = StoredFile("clips/x", len(CONTENT), sha256)
    assert read_back(output, file) is None
    if "/" in sha256:
        with pytest.raises(ValueError, match="cannot be the name"), output.reading(file):
            pass
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (tmp_path / "cache").exists() or not [*(tmp_path / "cache").rglob("*mine*")]


@pytest.mark.parametrize("key", ["../x", "clips/../../x", "/x", "//host/x"])
def test_no_key_is_written_listed_or_deleted_outside(output: ObjectStore, tmp_path: Path, key: str) -> None:
    output.bucket.put("x", b"mine")
    (tmp_path / "made").write_bytes(CONTENT)
    file = StoredFile("clips/x", len(CONTENT), SHA256)
    output.bucket.put("out/clips/x", CONTENT, SHA256)
    for call in (
        lambda: output.write(key, b""),
        lambda: output.write_if_absent(key, b""),
        lambda: output.put_file(tmp_path / "made", key),
        lambda: output.keep(tmp_path / "made", key, "stem"),
        lambda: output.keep(tmp_path / "made", layout.CLIPS, "../../../x"),
        lambda: output.link(file, key),
        lambda: output.delete(key),
        lambda: output.reclaim(key),
        lambda: output.list_files(key),
    ):
        with pytest.raises(ValueError, match="leads out"):
            call()
    assert {one.key for one in output.bucket.list("")} == {"x", "out/clips/x"}
    assert output.bucket.get("x") == b"mine"


@pytest.mark.parametrize("recorded", ["https://host/a.mp4", "file:///etc/hostname", "s3://", "s3://key:secret@b/a"])
def test_a_source_that_no_run_can_have_recorded_is_none(recorded: str) -> None:
    assert not SourceReader().is_another(recorded, make_video_element().uri)
