"""The same command again on 200 finished videos, against the first run: printed, and under 3 s."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from common import report, timed

from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, run

VIDEOS = 200

with tempfile.TemporaryDirectory() as folder:
    source, output = Path(folder) / "in", Path(folder) / "out"
    source.mkdir()
    original = make_video(source / "0000.mp4", frames=100, size=(160, 96))
    for number in range(1, VIDEOS):
        shutil.copy(original, source / f"{number:04}.mp4")
    flags = (*FIXED_STRIDE, "--keep-duplicates")
    first = timed(lambda: run(source, output, *flags))
    again = min(timed(lambda: run(source, output, *flags)) for _ in range(3))
    report("idle_rerun", again, "<=3 s", f"the first run took {first:.1f} s")
