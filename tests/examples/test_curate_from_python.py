"""The example runs as a user runs it, and its dataset is sound."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from beam_curate.dataset.verify.verify import verify

ROOT = Path(__file__).parents[2]


def test_the_example_curates_its_video_and_reads_the_results(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "curate_from_python.py", tmp_path],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "stages: shots, clips, captions, text, windows" in done.stdout
    assert "start_s: [[0,5]]" in done.stdout
    assert done.stdout.count("(120 frames)") == 2, "a caption per clip"
    report = verify(tmp_path / "curated" / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True)
    assert report.ok
