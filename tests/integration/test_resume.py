"""Resumption: whatever happened before, the same command ends in the same output."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from beam_curate.dataset.verify.verify import verify
from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, dataset_stems, run, run_and_kill, snapshot, summary


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for outputs: paths stand in the records, so outputs to be compared lie at the same path."""
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def undisturbed(videos: Path, place: Path) -> dict[str, str]:
    run(videos, place / "out", *FIXED_STRIDE)
    taken = snapshot(place / "out")
    shutil.rmtree(place / "out")
    return taken


def test_limited_runs_equal_one_run(videos: Path, place: Path, undisturbed: dict[str, str]) -> None:
    output = place / "out"
    for expected in range(1, 5):
        run(videos, output, *FIXED_STRIDE, "--limit", "1")
        assert summary(output)["num_processed_videos"] == expected
    assert snapshot(output) == undisturbed
    shutil.rmtree(output)


def test_killed_at_random_moments_then_run_again(videos: Path, place: Path, undisturbed: dict[str, str]) -> None:
    output = place / "out"
    moments = random.Random()
    seed = moments.randrange(2**32)
    moments.seed(seed)
    for _ in range(3):
        run_and_kill(videos, output, moments.uniform(1.0, 9.0), *FIXED_STRIDE)
        for stem in dataset_stems(output):
            dataset = output / "cosmos_predict2_video2world_dataset"
            assert (dataset / "metas" / f"{stem}.txt").exists(), seed
            assert (dataset / "t5_xxl" / f"{stem}.pickle").exists(), seed
    run(videos, output, *FIXED_STRIDE)
    assert snapshot(output) == undisturbed, seed
    shutil.rmtree(output)


def test_other_options_redo_what_depends_on_them_and_withdraw_the_rest(videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(videos, output, *FIXED_STRIDE, "--limit", "1")
    clips = {path.name: path.stat().st_mtime_ns for path in (output / "clips").iterdir()}
    before = dataset_stems(output)
    assert before

    # Other windows: captions and embeddings are made again, shots and clips are not.
    run(videos, output, *FIXED_STRIDE, "--limit", "1", "--captioning-window-size", "100",
        "--captioning-remainder-threshold", "100", "--predict2-min-frames", "94")  # fmt: skip
    counts = summary(output)["beam_curate"]["counts_of_this_run"]
    assert counts["shots: cached"] == 1 and "shots: begun" not in counts
    assert counts["clips: cached"] == len(clips) and "clips: begun" not in counts
    assert counts["captions: begun"] == counts["text: begun"] == len(clips)
    assert {path.name: path.stat().st_mtime_ns for path in (output / "clips").iterdir()} == clips

    # Other clips: the former ones and their items are gone.
    run(videos, output, "--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "7", "--limit", "1")
    after = dataset_stems(output)
    assert after and not after & before
    assert not {path.name for path in (output / "clips").iterdir()} & set(clips)
    assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok

    # And back: everything is remembered, and the output is what it was.
    run(videos, output, *FIXED_STRIDE, "--limit", "1")
    assert dataset_stems(output) == before
    assert {path.name for path in (output / "clips").iterdir()} == set(clips)
    counts = summary(output)["beam_curate"]["counts_of_this_run"]
    assert not [name for name in counts if name.endswith(": to do") or name.startswith("models loaded")]


def test_a_replaced_source_is_redone_and_its_old_items_withdrawn(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_video(source / "a.mp4", frames=240, seed=1)
    make_video(source / "b.mp4", frames=120, seed=2)
    run(source, output, *FIXED_STRIDE)
    untouched = set(summary(output)["b.mp4"]["clips"])
    assert len(dataset_stems(output)) == 3

    make_video(source / "a.mp4", frames=115, seed=3)
    run(source, output, *FIXED_STRIDE)
    assert len(dataset_stems(output)) == 2
    assert set(summary(output)["b.mp4"]["clips"]) == untouched
    record = json.loads((output / "processed_videos" / "a.mp4.json").read_text())
    assert record["num_frames"] == 115
    assert len(list((output / "clips").iterdir())) == 2
    assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok


def test_a_lost_clip_is_made_again(videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(videos, output, *FIXED_STRIDE, "--limit", "1")
    taken = snapshot(output)
    shutil.rmtree(output / ".work" / "files")
    shutil.rmtree(output / ".work" / "done")
    shutil.rmtree(output / "clips")
    run(videos, output, *FIXED_STRIDE, "--limit", "1")
    assert snapshot(output) == taken


def test_duplicates_are_curated_once(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_video(source / "a.mp4", frames=120)
    shutil.copy(source / "a.mp4", source / "b.mp4")
    run(source, output, *FIXED_STRIDE)
    assert summary(output)["b.mp4"]["reason"] == "same content as a.mp4"
    assert len(dataset_stems(output)) == 1
    assert "Nothing to do" in run(source, output, *FIXED_STRIDE)
    run(source, output, *FIXED_STRIDE, "--keep-duplicates")
    assert len(dataset_stems(output)) == 2
