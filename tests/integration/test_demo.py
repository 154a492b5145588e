"""The demonstration, from nothing to a verified dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.program import dataset_stems


def test_nothing_at_all_makes_curates_and_verifies_a_sample_video(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beam_curate.run"], cwd=tmp_path, capture_output=True, text=True, timeout=590
    )
    assert done.returncode == 0, done.stdout + done.stderr
    output = tmp_path / "beam_curate_demo" / "curated"
    assert len(dataset_stems(output)) == 8
    assert "cosmos_predict2_video2world_dataset: ok" in done.stdout
    assert "beam-curate split --input-video-path YOUR_VIDEOS/" in done.stdout
