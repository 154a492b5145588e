"""Filters in the whole program: what is rejected, why, where it goes, and what another threshold costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.moving import make_moving
from tests.support.program import FIXED_STRIDE, cli, dataset_stems, run, summary

STILL, HALF, MOVING = "still.mp4", "half.mp4", "moving.mp4"
ENABLED = ("--motion-filter", "enable")


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
