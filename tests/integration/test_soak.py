"""Long: many kills of one job, with shot detection."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from program import dataset_stems, run, run_and_kill, snapshot


@pytest.mark.soak
def test_twenty_kills_at_random_moments(videos: Path, tmp_path: Path) -> None:
    flags = ("--splitting-algorithm", "transnetv2", "--transnetv2-crop-s", "0")
    output = tmp_path / "out"
    run(videos, output, *flags)
    undisturbed = snapshot(output)
    shutil.rmtree(output)
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for kill in range(20):
        running = run_and_kill(videos, output, moments.uniform(1.0, 15.0), *flags)
        dataset = output / "cosmos_predict2_video2world_dataset"
        for stem in dataset_stems(output):
            assert (dataset / "metas" / f"{stem}.txt").exists(), (seed, kill)
            assert (dataset / "t5_xxl" / f"{stem}.pickle").exists(), (seed, kill)
        if not running or kill % 4 == 3:
            run(videos, output, *flags)
            assert snapshot(output) == undisturbed, (seed, kill)
            shutil.rmtree(output)
