"""Filters in the whole program: what is rejected, why, where it goes, and what another threshold costs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.store.open import open_store
from tests.support.moving import make_moving
from tests.support.needed import need
from tests.support.program import FIXED_STRIDE, cli, dataset_stems, run, snapshot, summary
from tests.support.stores import PROFILE, new_place, upload
from tests.support.tiny_models import make_workspace
from tools.engines import JOB_SERVER_JAR, PRISM

STILL, HALF, MOVING = "still.mp4", "half.mp4", "moving.mp4"
ENABLED = ("--motion-filter", "enable")
RUNNERS = {
    "prism": ("--runner=PrismRunner", f"--prism_location={PRISM}"),
    "flink": ("--runner=FlinkRunner", f"--flink_job_server_jar={JOB_SERVER_JAR}", "--parallelism=2"),
}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video in which nothing moves, one whose right part stands still, and one that moves."""
    folder = tmp_path_factory.mktemp("footage")
    make_moving(folder / STILL, speed=0, frames=240, seed=1)
    make_moving(folder / HALF, part=0.4, frames=240, seed=2)
    make_moving(folder / MOVING, frames=240, seed=3)
    return folder


def metas(output: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of clips by the name of their source."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((output / "metas" / "v0").glob("*.json")):
        meta = json.loads(path.read_text())
        found.setdefault(Path(meta["source_video"]).name, []).append(meta)
    return found


def counts(output: Path) -> dict[str, int]:
    counted: dict[str, int] = summary(output)["beam_curate"]["counts_of_this_run"]
    return counted


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.mp4")}


def test_from_one_threshold_to_another(footage: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    printed = run(footage, output, *FIXED_STRIDE, *ENABLED)
    found = metas(output)
    moving, rejected = ({meta["span_uuid"] for meta in found[name]} for name in (MOVING, STILL))
    half = {meta["span_uuid"] for meta in found[HALF]}
    assert names(output / "clips") == moving and names(output / "filtered_clips") == rejected | half
    assert {stem.partition("_")[0] for stem in dataset_stems(output)} == moving
    for meta in (*found[STILL], *found[HALF]):
        assert meta["rejection"]["filter"] == "motion" and meta["windows"] == []
        assert Path(meta["clip_location"]).parent.name == "filtered_clips" and Path(meta["clip_location"]).is_file()
        assert meta["motion_score"]["per_patch_min_256"] < 0.000001
    for meta in found[MOVING]:
        assert meta["rejection"] is None and meta["windows"] and meta["motion_score"]["global_mean"] > 0.00098
    number = len(rejected) + len(half)
    assert f"{number} rejected by motion" in printed and "rejected by motion" in printed
    told = summary(output)
    assert told["total_num_clips_filtered_by_motion"] == number and told["total_num_clips_passed"] == len(moving)
    assert told["total_num_clips_transcoded"] == number + len(moving)
    assert told["beam_curate"]["clips_filtered_by"] == {"motion": number}
    cli("verify", output / "cosmos_predict2_video2world_dataset", "--allow-random-embeddings")

    # Without the threshold for patches the half that moves is enough, and only its clips are captioned.
    run(footage, output, *FIXED_STRIDE, *ENABLED, "--motion-per-patch-min-256-threshold", "0")
    assert names(output / "clips") == moving | half and names(output / "filtered_clips") == rejected
    assert {stem.partition("_")[0] for stem in dataset_stems(output)} == moving | half
    assert counts(output)["motion: cached"] == number + len(moving) and counts(output)["windows captioned"] == len(half)

    # And back: everything is there.
    run(footage, output, *FIXED_STRIDE, *ENABLED)
    assert names(output / "clips") == moving and names(output / "filtered_clips") == rejected | half
    assert {stem.partition("_")[0] for stem in dataset_stems(output)} == moving
    assert "windows captioned" not in counts(output) and "clips cut" not in counts(output)
    assert "Nothing to do" in run(footage, output, *FIXED_STRIDE, *ENABLED)

    # Without the filter nothing is rejected, and no trace of it is left.
    run(footage, output, *FIXED_STRIDE)
    assert names(output / "clips") == moving | half | rejected and not names(output / "filtered_clips")
    assert not any("scores" in meta for of_video in metas(output).values() for meta in of_video)
    cli("verify", output / "cosmos_predict2_video2world_dataset", "--allow-random-embeddings")


def test_an_empty_dataset_is_no_success(footage: Path, tmp_path: Path) -> None:
    flags = (*FIXED_STRIDE, *ENABLED, "--motion-global-mean-threshold", "1")
    printed = run(footage, tmp_path / "out", *flags, expect=1)
    assert "the dataset is empty, since filters rejected all" in printed


def test_score_only_rejects_nothing(footage: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(footage, output, *FIXED_STRIDE, "--motion-filter", "score-only")
    assert not names(output / "filtered_clips")
    assert all(meta["motion_score"] and meta["rejection"] is None for of in metas(output).values() for meta in of)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--motion-global-mean-threshold", "-1"), "--motion-global-mean-threshold"),
        (("--motion-decode-target-fps", "0"), "--motion-decode-target-fps"),
        (("--motion-filter", "maybe"), "--motion-filter"),
    ],
)
def test_values_that_cannot_be(flags: tuple[str, ...], message: str, footage: Path, tmp_path: Path) -> None:
    assert message in run(footage, tmp_path / "out", *flags, expect=2)


def test_several_filters_with_models(footage: Path, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    output = tmp_path / "out"
    flags = (*FIXED_STRIDE, *ENABLED, "--workspace", workspace, "--aesthetic-threshold")
    run(footage, output, *flags, "-0.9")
    found = metas(output)
    marks = [meta["aesthetic_score"] for meta in found[MOVING]]
    assert marks and all(meta["rejection"] is None for meta in found[MOVING])
    for meta in found[STILL]:  # what one filter rejects, the next does not score
        assert meta["rejection"]["filter"] == "motion" and "aesthetic_score" not in meta
    run(footage, output, *flags, str(max(marks) + 1), expect=1)
    told = summary(output)
    assert told["total_num_clips_filtered_by_aesthetic"] == len(marks)
    assert told["total_num_clips_filtered_by_motion"] == len(found[STILL]) + len(found[HALF])
    assert counts(output)["aesthetic: cached"] == len(marks) and "models loaded" not in str(counts(output))


def test_models_that_are_missing_are_told_before_the_first_video(footage: Path, tmp_path: Path) -> None:
    flags = (*FIXED_STRIDE, "--workspace", str(tmp_path / "empty"), "--aesthetic-threshold", "3.5")
    printed = run(footage, tmp_path / "out", *flags, expect=2)
    assert "--aesthetic-threshold needs openai/clip-vit-large-patch14" in printed
    assert not names(tmp_path / "out" / "clips")


@pytest.mark.parametrize("flags", RUNNERS.values(), ids=RUNNERS)
def test_all_runners_score_and_judge_alike(flags: tuple[str, ...], footage: Path, tmp_path: Path) -> None:
    need(PRISM, JOB_SERVER_JAR, "java")
    output = tmp_path / "out"
    run(footage, output, *FIXED_STRIDE, *ENABLED)
    expected = snapshot(output)
    assert any(name.startswith("filtered_clips/") for name in expected)
    shutil.rmtree(output)
    run(footage, output, *FIXED_STRIDE, *ENABLED, *flags)
    assert snapshot(output) == expected


def test_between_buckets(footage: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source, output = f"{new_place('s3', tmp_path, request)}-source", new_place("s3", tmp_path, request)
    upload(footage, source)
    flags = (*FIXED_STRIDE, "--input-s3-profile-name", PROFILE, "--output-s3-profile-name", PROFILE)
    printed = run(source, output, *flags, *ENABLED)
    store = open_store(output, PROFILE, FileCache(str(tmp_path / "cache"), 1 << 30))

    def kept_and_rejected() -> list[int]:
        return [len(store.list_files(folder)) for folder in ("clips", "filtered_clips")]

    kept, rejected = kept_and_rejected()
    assert kept and rejected and f"{rejected} rejected by motion" in printed
    run(source, output, *flags)
    assert kept_and_rejected() == [kept + rejected, 0]
    run(source, output, *flags, *ENABLED)
    assert kept_and_rejected() == [kept, rejected]
