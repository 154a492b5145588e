"""Memory does not grow with the length of a video: a source of two hours, with the driver and its children watched."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

from common import report
from memory import watch

from tests.support.media import make_video
from tests.support.program import command, summary

FRAMES_PER_S = 5
FRAMES = 2 * 3600 * FRAMES_PER_S
CLIP_S = 10
# No dataset, and so no model: captions are measured, spans are of equal length.
FLAGS = (
    *("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", str(CLIP_S)),
    *("--generate-cosmos-predict-dataset", "disable"),
)

with tempfile.TemporaryDirectory() as folder:
    source, output = Path(folder) / "in", Path(folder) / "out"
    source.mkdir()
    make_video(source / "long.mp4", frames=FRAMES, rate=Fraction(FRAMES_PER_S), size=(160, 96))
    samples = watch(command(source, output, *FLAGS))
    assert summary(output)["total_num_clips_transcoded"] == FRAMES // FRAMES_PER_S // CLIP_S
    peak = max(samples, key=lambda sample: sample.total_mb)
    note = f"driver {peak.driver_mb:.0f} MB, children {peak.children_mb:.0f} MB; {samples[-1].seconds:.0f} s"
    report("long_video_memory", peak.total_mb / 1000, "<=1.5 GB", note)
