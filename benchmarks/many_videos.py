"""Memory does not grow with the number of videos: 3,000 in one run, against 200.

Each has 20 clips with a caption of 1,200 letters, from a server that does not look at them: what travels between the
stages is text, so that videos of one clip would not show what is held of them. Driver and children are watched. Within
a run memory rises where a stage loads its libraries, so runs are compared.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from common import report, timed
from footage import make_footage
from matplotlib.figure import Figure
from memory import Sample, watch
from program import command, run
from sleeping_server import SleepingServer

from tests.support.program import summary

VIDEOS = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
FEW = max(1, VIDEOS // 15)
CLIPS = 20
SENTENCES = 30
RATE = 8  # frames/s, in clips of a second
PLOT = Path(__file__).parent / "results" / "many_videos.svg"
FLAGS = (
    *("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "1"),
    *("--fixed-stride-min-clip-length-s", "1", "--transcode-preset", "ultrafast"),
    "--keep-duplicates",  # copies of one file, which take no time to make
    *("--captioning-algorithm", "openai", "--captioning-endpoint"),
)


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


with tempfile.TemporaryDirectory() as folder, SleepingServer(0, SENTENCES).running() as server:
    source, output = Path(folder) / "in", Path(folder) / "out"
    source.mkdir()
    original = make_footage(Path(folder) / "original.mp4", size=(64, 48), rate=RATE, seconds=CLIPS)

    def watched(videos: int) -> list[Sample]:
        """Curates so many videos into a fresh folder."""
        shutil.rmtree(output, ignore_errors=True)
        for number in range(len(list(source.iterdir())), videos):
            shutil.copy(original, source / f"{number:05}.mp4")
        samples = watch(command(source, output, *FLAGS, server.url))
        clips = summary(output)["total_num_clips_with_caption"]
        assert clips == videos * CLIPS, clips
        return samples

    few, many = watched(FEW), watched(VIDEOS)
    again = timed(lambda: run(source, output, *FLAGS, server.url))
    plot(many)
    for name, share in (("start", 0.1), ("middle", 0.5), ("end", 0.99)):
        sample = many[int(share * len(many))]
        print(f"{name}: driver {sample.driver_mb:.0f} MB, children {sample.children_mb:.0f} MB")
    note = f"{VIDEOS} videos in {many[-1].seconds:.0f} s: {peak_mb(many):.0f} MB; {FEW}: {peak_mb(few):.0f} MB"
    report("many_videos_memory", peak_mb(many) / peak_mb(few), "<=1.1", note)
    print(f"the same command again, with nothing to do: {again:.2f} s")
