"""A dataset in a bucket is checked as one on this computer is: the same faults, told by their URLs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from beam_curate.buckets.base import Bucket
from beam_curate.buckets.file_cache import FileCache
from beam_curate.buckets.open import open_bucket
from beam_curate.cli.main import main
from beam_curate.dataset.embedding_file import dump_embedding
from beam_curate.store.layout import NOT_FOR_TRAINING
from tests.support.media import make_video
from tests.support.stores import PROFILE, new_place, upload

CAPTIONS = {"a_0_95": "A red ball rolls down the hill.", "b": "Rain falls.", "c": "Two dogs run."}
BY_PROFILE = ("--input-s3-profile-name", PROFILE)


def embedding(seed: int, width: int = 1024) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.15, (9, width)).astype(np.float16)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `set` with a sound dataset in it."""
    folder = tmp_path_factory.mktemp("good")
    for part in ("videos", "metas", "t5_xxl"):
        (folder / "set" / part).mkdir(parents=True)
    for seed, (stem, caption) in enumerate(CAPTIONS.items()):
        make_video(folder / "set" / "videos" / f"{stem}.mp4", frames=96, size=(128, 72), seed=seed)
        (folder / "set" / "metas" / f"{stem}.txt").write_text(f"{caption}\n")
        (folder / "set" / "t5_xxl" / f"{stem}.pickle").write_bytes(dump_embedding(embedding(seed)))
    return folder


@pytest.fixture(params=["s3", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, good: Path) -> str:
    """The URL below which the folder `set` is a sound dataset."""
    place = new_place(request.param, tmp_path, request)
    upload(good, place)
    return place


class Files(NamedTuple):
    """Access to a dataset by names below it."""

    put: Callable[[str, bytes], None]
    get: Callable[[str], bytes]
    delete: Callable[[str], None]


def truncate_a_video(files: Files) -> None:
    data = files.get("videos/b.mp4")
    files.put("videos/b.mp4", data[: len(data) // 2])


def delete_a_text(files: Files) -> None:
    files.delete("metas/b.txt")


def other_pickle(files: Files) -> None:
    files.put("t5_xxl/b.pickle", dump_embedding(embedding(5, 1024))[:-100])


def same_embedding(files: Files) -> None:
    files.put("t5_xxl/b.pickle", files.get("t5_xxl/c.pickle"))


def same_caption(files: Files) -> None:
    files.put("metas/b.txt", files.get("metas/c.txt"))


def wrong_number_of_frames(files: Files) -> None:
    files.put("videos/d_0_120.mp4", files.get("videos/b.mp4"))
    files.put("metas/d_0_120.txt", b"A new one.")
    files.put("t5_xxl/d_0_120.pickle", dump_embedding(embedding(7)))


def strange_files(files: Files) -> None:
    files.put("notes.md", b"mine")
    files.put("videos/b.mov", b"mine")
    files.put("videos/folder/b.mp4", b"mine")


def a_whole_folder_missing(files: Files) -> None:
    for stem in CAPTIONS:
        files.delete(f"metas/{stem}.txt")


def random_embeddings(files: Files) -> None:
    files.put(NOT_FOR_TRAINING, b"random")


def two_layouts(files: Files) -> None:
    files.put("train/videos/x.mp4", b"mine")


DAMAGES = {
    truncate_a_video: {("video_unreadable", "videos/b.mp4")},
    delete_a_text: {("missing_file", "metas/b.txt")},
    other_pickle: {("embedding", "t5_xxl/b.pickle")},
    same_embedding: {("shared_embedding", "t5_xxl/b.pickle"), ("shared_embedding", "t5_xxl/c.pickle")},
    same_caption: {("differing_embedding", "t5_xxl/b.pickle"), ("differing_embedding", "t5_xxl/c.pickle")},
    wrong_number_of_frames: {("video_window", "videos/d_0_120.mp4")},
    strange_files: {("other_file", "notes.md"), ("other_file", "videos/b.mov"), ("other_file", "videos/folder")},
    a_whole_folder_missing: {
        ("missing_folder", "metas"),
        *(("missing_file", f"metas/{stem}.txt") for stem in CAPTIONS),
    },
    random_embeddings: {("random_embeddings", NOT_FOR_TRAINING)},
    two_layouts: {("two_layouts", "train")},
}


def in_bucket(bucket: Bucket, prefix: str) -> Files:
    return Files(
        lambda name, data: bucket.put(f"{prefix}/set/{name}", data),
        lambda name: bucket.get(f"{prefix}/set/{name}"),
        lambda name: bucket.delete([f"{prefix}/set/{name}"]),
    )


def in_folder(folder: Path) -> Files:
    def put(name: str, data: bytes) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    def delete(name: str) -> None:
        (folder / name).unlink()
        if not any((folder / name).parent.iterdir()):  # as buckets have it
            (folder / name).parent.rmdir()

    return Files(put, lambda name: (folder / name).read_bytes(), delete)


def test_a_sound_dataset(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    assert main(["verify", f"{place}/set", *BY_PROFILE, "--cache-path", str(cache)]) == 0
    printed = capsys.readouterr().out
    assert f"{place}/set: ok" in printed
    assert re.search(r" 3 +│ 288 +│ 0.00 ", printed)
    assert str(cache) not in printed


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_dataset_has_the_faults_that_it_has_on_this_computer(
    damage: Callable[[Files], None], place: str, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good / "set", tmp_path / "set")
    bucket, prefix = open_bucket(place, PROFILE)
    damage(in_folder(tmp_path / "set"))
    damage(in_bucket(bucket, prefix))
    assert main(["verify", str(tmp_path / "set")]) == 1
    here = capsys.readouterr().out
    assert main(["verify", f"{place}/set/", *BY_PROFILE, "--cache-path", str(tmp_path / "cache")]) == 1
    there = capsys.readouterr().out
    assert there == here.replace(str(tmp_path / "set"), f"{place}/set")
    for rule, name in DAMAGES[damage]:
        assert f"{place}/set/{name}: " in there
        assert rule in there
    assert there.count(f"\n{place}/set") == len(DAMAGES[damage])


def test_train_and_val_and_what_makers_of_folders_leave(
    place: str, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "val"):
        upload(good / "set", f"{place}/parts/{part}")
    bucket, prefix = open_bucket(place, PROFILE)
    for folder in ("", "train/", "train/videos/"):
        bucket.put(f"{prefix}/parts/{folder}", b"")
    # The same items are in both, which is no fault of either.
    assert main(["verify", f"{place}/parts", *BY_PROFILE]) == 0
    printed = capsys.readouterr().out
    assert re.search(r" 6 +│ 576 +│ 0.01 ", printed)


def test_a_whole_bucket(
    good: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = new_place("gs", tmp_path, request).removesuffix("/out")
    opened, _ = open_bucket(bucket)
    for path in sorted((good / "set").rglob("*.*")):
        opened.put(path.relative_to(good / "set").as_posix(), path)
    opened.put("notes.md", b"mine")
    assert main(["verify", bucket]) == 1
    printed = capsys.readouterr().out
    assert f"{bucket}: 1 faults\n" in printed
    assert f"{bucket}/notes.md: does not belong" in printed


def test_not_all_is_kept_on_this_computer(place: str, tmp_path: Path, good: Path) -> None:
    cache = tmp_path / "cache"
    largest = max(path.stat().st_size for path in (good / "set" / "videos").iterdir())
    allowed = largest * 3 // 2
    whole = sum(path.stat().st_size for path in (good / "set").rglob("*.*"))
    assert whole > 2 * allowed
    flags = ("--cache-path", str(cache), "--cache-gb", str(allowed / 1e9))
    assert main(["verify", f"{place}/set", *BY_PROFILE, *flags]) == 0
    kept = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert kept < whole  # more than was allowed, where several were in use at once
    assert FileCache(str(cache)).max_bytes > allowed  # of which there would be room for all


def test_what_a_bucket_does_not_give_is_not_said_to_be_damaged(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket, _ = open_bucket(place, PROFILE)
    head = type(bucket).head

    def without(self: Bucket, key: str) -> object:
        return None if "/b." in key else head(self, key)

    monkeypatch.setattr(type(bucket), "head", without)
    assert main(["verify", f"{place}/set", *BY_PROFILE]) == 1
    printed = capsys.readouterr().out
    assert "3 faults" in printed
    assert "unchecked" in printed
    for name in ("videos/b.mp4", "metas/b.txt", "t5_xxl/b.pickle"):
        assert f"{place}/set/{name}: [Errno 2] there is no such object" in printed


@pytest.mark.parametrize(
    ("dataset", "flags", "words"),
    [
        ("{}/nothing", BY_PROFILE, ["{}/nothing: no such folder"]),
        ("{}/set", ("--quarantine", "bad", *BY_PROFILE), ["--quarantine", "{}/set is in an object store", "--repair"]),
        ("s3://no-such-bucket/set", BY_PROFILE, ["s3://no-such-bucket: there is no such bucket"]),
        ("{}/set", ("--input-s3-profile-name", "nobody"), ["(nobody) could not be found", "--input-s3-profile-name"]),
        ("https://host/set", (), ["DATASET is 'https://host/set': give s3://BUCKET/PREFIX"]),
    ],
)
def test_mistakes_are_told_in_one_line(
    dataset: str,
    flags: tuple[str, ...],
    words: list[str],
    good: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = new_place("s3", tmp_path, request)
    upload(good, place)
    assert main(["verify", dataset.replace("{}", place), *flags]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for word in words:
        assert word.replace("{}", place) in said
