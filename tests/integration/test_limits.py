"""What costs a video within the limits of decoding is tried again with higher ones, and only then."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, command, summary


def curate(source: Path, output: Path, *flags: str) -> str:
    done = subprocess.run(
        command(source, output, *FIXED_STRIDE, *flags), capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout + done.stderr


def test_a_higher_memory_limit_does_again_what_needs_it(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_video(source / "small.mp4", frames=60)
    make_video(source / "large.mp4", frames=3, size=(7680, 4320), options={"bf": "0"})
    curate(source, output, "--decode-memory-mb", "280")
    (failure,) = map(json.loads, (output / "failures.jsonl").read_text().splitlines())
    assert (failure["error_type"], failure["retriable"]) == ("DecoderMemoryError", False), failure
    assert "nothing to do" in curate(source, output, "--decode-memory-mb", "280").lower()
    curate(source, output, "--decode-memory-mb", "4096")
    assert (output / "failures.jsonl").read_text() == ""
    assert summary(output)["num_processed_videos"] == 2
