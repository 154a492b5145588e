"""Memory does not grow with the number of videos: 2,000 tiny ones in the main job, against a tenth of them.

Driver and children are watched. Within a run memory rises where a stage loads its libraries, so runs are compared.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from common import report, timed
from matplotlib.figure import Figure
from memory import Sample, watch

from tests.support.media import make_video
from tests.support.program import FIXED_STRIDE, command, run, summary

VIDEOS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
FRAMES = 30
PLOT = Path(__file__).parent / "results" / "many_videos.svg"
FLAGS = (*FIXED_STRIDE, "--fixed-stride-min-clip-length-s", "1", "--predict2-min-frames", str(FRAMES))


def peak_mb(samples: Sequence[Sample]) -> float:
    """The most that driver and children held at once."""
    return max(sample.total_mb for sample in samples)


def plot(samples: Sequence[Sample]) -> None:
    """Draws memory over time."""
    matplotlib.rcParams["svg.hashsalt"] = "many_videos"  # the same names of parts in every plot
    seconds = [sample.seconds for sample in samples]
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    axes.plot(seconds, [sample.driver_mb for sample in samples], label="driver")
    axes.plot(seconds, [sample.children_mb for sample in samples], label="its children")
    axes.set(xlabel="seconds", ylabel="resident memory, MB", ylim=0, title=f"{VIDEOS} videos in one run")
    axes.legend()
    figure.savefig(PLOT, metadata={"Date": None})


with tempfile.TemporaryDirectory() as folder:
    source, output = Path(folder) / "in", Path(folder) / "out"
    source.mkdir()

    def watched(videos: int) -> list[Sample]:
        """Curates so many videos into a fresh folder."""
        shutil.rmtree(output, ignore_errors=True)
        for number in range(len(list(source.iterdir())), videos):
            make_video(source / f"{number:05}.mp4", frames=FRAMES, size=(160, 96), seed=number)
        samples = watch(command(source, output, *FLAGS))
        ours = summary(output)["beam_curate"]
        assert ours["num_dataset_items"] == videos, ours
        return samples

    few, many = watched(VIDEOS // 10), watched(VIDEOS)
    again = timed(lambda: run(source, output, *FLAGS))
    plot(many)
    for name, share in (("start", 0.1), ("middle", 0.5), ("end", 0.99)):
        sample = many[int(share * len(many))]
        print(f"{name}: driver {sample.driver_mb:.0f} MB, children {sample.children_mb:.0f} MB")
    note = (
        f"{VIDEOS} videos in {many[-1].seconds:.0f} s: {peak_mb(many):.0f} MB; a tenth of them: {peak_mb(few):.0f} MB"
    )
    report("many_videos_memory", peak_mb(many) / peak_mb(few), "<=1.2", note)
    print(f"the same command again, with nothing to do: {again:.2f} s")
