"""The main job with input and output in object stores: the dataset of a local run, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.store import layout
from beam_curate.store.base import Store
from beam_curate.store.open import open_store
from tests.support.needed import need
from tests.support.program import FIXED_STRIDE, run
from tests.support.slurm_nodes import NEEDED, run_on_two_nodes
from tests.support.stores import PROFILE, new_place, upload
from tools.engines import JOB_SERVER_JAR, PRISM

PROFILES = ("--input-s3-profile-name", PROFILE, "--output-s3-profile-name", PROFILE)
TWO_TASK_MANAGERS = "FlinkRunner with two TaskManagers"
RUNNERS = {
    "DirectRunner": (),
    "PrismRunner": ("--runner=PrismRunner", f"--prism_location={PRISM}"),
    "FlinkRunner": ("--runner=FlinkRunner", f"--flink_job_server_jar={JOB_SERVER_JAR}", "--parallelism=2"),
    TWO_TASK_MANAGERS: (),
}
Items = dict[tuple[str, tuple[int, ...]], list[str]]


@pytest.fixture(scope="module")
def expected(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Items:
    """What a run from folder to folder makes of the videos."""
    output = tmp_path_factory.mktemp("local") / "out"
    run(videos, output, *FIXED_STRIDE)
    found = items(str(videos), open_store(str(output)))
    assert len(found) >= 8
    return found


def items(source: str, output: Store) -> Items:
    """Hashes of clip and dataset, and the record, by source and frames: names depend on where the sources are."""
    dataset = {key.name: hashed(output, key) for key in output.list_files(layout.DATASET, recursive=True)}
    found: Items = {}
    for key in output.list_files("metas/v0"):
        meta = json.loads(output.read(key))
        clip = meta["span_uuid"]
        of_clip = [hashed(output, layout.clip(clip))]
        of_clip += [digest for name, digest in sorted(dataset.items()) if name.startswith(f"{clip}_")]
        for where in ("span_uuid", "source_video", "clip_location"):
            del meta[where]
        of_clip.append(json.dumps(meta, sort_keys=True))
        relative = json.loads(output.read(key))["source_video"].removeprefix(source).strip("/")
        found[relative, tuple(meta["frame_span"])] = of_clip
    assert len(dataset) > 3
    return found


def hashed(output: Store, key: object) -> str:
    return hashlib.sha256(output.read(str(key))).hexdigest()


def opened(place: str, folder: Path) -> Store:
    return open_store(place, PROFILE, FileCache(str(folder / "cache-of-the-test"), 1 << 30))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test finds another's copies."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    yield


@pytest.mark.parametrize(
    ("source_kind", "output_kind", "runner"),
    [
        ("s3", "s3", "DirectRunner"),
        ("gs", "gs", "DirectRunner"),
        ("s3", "gs", "DirectRunner"),
        pytest.param("local", "s3", "DirectRunner", marks=pytest.mark.soak),
        pytest.param("gs", "local", "DirectRunner", marks=pytest.mark.soak),
        ("s3", "s3", "PrismRunner"),
        ("s3", "s3", "FlinkRunner"),
        ("s3", "s3", TWO_TASK_MANAGERS),
        pytest.param("gs", "gs", "FlinkRunner", marks=pytest.mark.soak),
    ],
)
def test_the_dataset_is_that_of_a_local_run(
    source_kind: str,
    output_kind: str,
    runner: str,
    videos: Path,
    expected: Items,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if runner != "DirectRunner":
        need(PRISM, *NEEDED)
    curate = run_on_two_nodes if runner == TWO_TASK_MANAGERS else run
    source = f"{new_place(source_kind, tmp_path, request)}-source"
    upload(videos, source)
    output = new_place(output_kind, tmp_path, request)
    arguments = (*FIXED_STRIDE, *PROFILES, *RUNNERS[runner])
    printed = curate(source, output, *arguments)
    assert "4 videos found, 0 done before, 4 to do" in printed
    store = opened(output, tmp_path)
    assert items(source, store) == expected
    for folder in (layout.TMP, layout.PUBLISHED, layout.LEASES):
        assert store.list_files(folder, recursive=True) == []
    before = {key: hashed(store, key) for key in store.list_files("", recursive=True)}
    assert "Nothing to do" in curate(source, output, *arguments)
    after = {key: hashed(store, key) for key in store.list_files("", recursive=True)}
    for of_the_run in (layout.SUMMARY, layout.FORMER_REPORT):
        before.pop(of_the_run, None), after.pop(of_the_run)
    assert after == before


def test_credentials_may_come_from_the_file_that_cosmos_curate_reads(
    videos: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = new_place("s3", tmp_path, request)
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE")
    monkeypatch.setenv("COSMOS_S3_PROFILE_PATH", str(tmp_path / "aws-credentials"))
    run(
        videos / "deeper",
        output,
        *FIXED_STRIDE,
        *PROFILES,
        "--no-generate-captions",
        "--generate-cosmos-predict-dataset=disable",
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    assert opened(output, tmp_path).list_files(layout.CLIPS)


def test_two_profiles_at_once(videos: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source, output = new_place("s3", tmp_path, request), new_place("s3", tmp_path, request)
    upload(videos / "deeper", source)
    server = request.getfixturevalue("minio_server")
    server.profile_file(tmp_path / "aws-credentials", "mine")
    flags = ("--input-s3-profile-name", PROFILE, "--output-s3-profile-name", "mine", "--no-generate-captions")
    run(source, output, *FIXED_STRIDE, *flags, "--generate-cosmos-predict-dataset=disable")
    assert opened(output, tmp_path).list_files(layout.CLIPS)
