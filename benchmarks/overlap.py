"""Cutting while a captioner works on a device of its own: the whole job against the longer of the two alone.

The device is a server that takes one request at a time and sleeps; all its sleeping together takes as long as cutting
alone does, which was measured before. So the cores and the device are both busy for all of a perfect run, and one
after the other takes twice as long. `overlap_first` is the share of the run after which the first video is finished.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from common import report, timed
from footage import make_series
from program import CLIPS_ONLY, curate, finished
from sleeping_server import SleepingServer

VIDEOS = int(sys.argv[1]) if len(sys.argv) > 1 else 12
CLIPS = 2  # of each video, a caption each
CLIP_S = 10
SPLIT = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", str(CLIP_S))
ROUNDS = 2


def main() -> None:
    """Prints the lines of the results."""
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "in", Path(name) / "out"
        source.mkdir()
        make_series(source, VIDEOS, seconds=CLIPS * CLIP_S)

        def cutting() -> float:
            return timed(lambda: curate(source, output, *SPLIT, *CLIPS_ONLY))

        def captioned(sleep_s: float) -> tuple[float, float, float]:
            """Returns the seconds of the whole, to the first finished video, and of all sleeping."""
            with SleepingServer(sleep_s).running() as server:
                asking = ("--captioning-algorithm", "openai", "--captioning-endpoint", server.url)
                start = time.time()
                curate(source, output, *SPLIT, *asking)
                whole_s = time.time() - start
            markers = finished(output)
            assert server.requests == VIDEOS * CLIPS, f"{server.requests} requests"
            assert len(markers) == VIDEOS, f"{len(markers)} videos are finished"
            return whole_s, markers[0] - start, server.requests * sleep_s

        sleep_s = cutting() / (VIDEOS * CLIPS)
        rounds = [(cutting(), captioned(sleep_s)) for _ in range(ROUNDS)]

    cutting_s = min(cutting_s for cutting_s, _ in rounds)
    whole_s, first_s, sleeping_s = min(run for _, run in rounds)
    times = f"{VIDEOS} videos, {VIDEOS * CLIPS} captions: {whole_s:.1f} s"
    alone = f"cutting alone {cutting_s:.1f} s, sleeping alone {sleeping_s:.1f} s"
    report("overlap", whole_s / max(cutting_s, sleeping_s), "<=1.25", f"{times}; {alone}")
    report("overlap_first", first_s / whole_s, "<=0.35", f"the first video is finished after {first_s:.1f} s")


if __name__ == "__main__":
    main()
