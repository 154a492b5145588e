"""The job that users begin with: 40 s videos of 720p with slow cuts, through the whole reference command.

With `--base PATH` against the same job of another tree, such as a git worktree of an earlier commit. And against the
least that must be done on these cores: TransNetV2 on each video, as `shots.py` runs it, and encoding each frame of the
clips once, as `cut.py` does from memory.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from common import report, timed
from cut import decoded, limit
from footage import make_series
from program import DATASET, curate

from beam_curate.elements import VideoShots
from beam_curate.shots import transnetv2
from beam_curate.shots.scenes import SceneRules
from beam_curate.shots.stage import TransNetV2Detector
from beam_curate.sources.listing import list_videos
from beam_curate.store.local import LocalStore
from beam_curate.store.stage_files import StageFiles
from beam_curate.video.decoder_pool import Limits
from tests.support.program import summary

RATE = 30
SECONDS = 40
SCENE_S = 20  # two clips a video, of two windows each: two threads encode a video without one waiting for the other
SHORTEST = 120  # frames of a clip
FLAGS = (*("--splitting-algorithm", "transnetv2", "--transnetv2-min-length-frames", str(SHORTEST)), *DATASET)


def least(source: Path, workspace: Path) -> float:
    """Returns the seconds of finding the shots of all videos, and of encoding their clips from memory."""
    rules = SceneRules(min_length_frames=SHORTEST)
    detector = TransNetV2Detector(transnetv2.reference(str(workspace)), rules, 0, Limits())
    files = StageFiles(LocalStore(workspace), "shots", "benchmark")
    videos = list_videos(str(source), None, frozenset({".mp4"})).videos
    detector.run(videos[0], files)  # loads the network and starts the child process
    shots: list[VideoShots] = []
    seconds = timed(lambda: shots.extend(detector.run(video, files) for video in videos))
    for found in shots:
        frames = decoded(Path(found.video.uri))
        seconds += timed(lambda frames=frames, found=found: limit(frames, found))
    return seconds


def made(output: Path) -> tuple[int, int]:
    """Returns the numbers of clips and of items of the dataset."""
    facts = summary(output)
    return facts["total_num_clips_transcoded"], facts["beam_curate"]["num_dataset_items"]


def main() -> None:
    """Prints the lines of the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, help="another tree of the program")
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source, output, theirs = Path(name) / "in", Path(name) / "out", Path(name) / "base"
        source.mkdir()
        make_series(source, arguments.videos, rate=RATE, seconds=SECONDS, scene_s=SCENE_S)
        ours_s = base_s = least_s = math.inf
        for _ in range(arguments.rounds):
            ours_s = min(ours_s, timed(lambda: curate(source, output, *FLAGS)))
            if arguments.base:
                base_s = min(base_s, timed(lambda: curate(source, theirs, *FLAGS, tree=arguments.base.resolve())))
                assert made(output) == made(theirs), f"{made(output)} and {made(theirs)} clips and items"
            least_s = min(least_s, least(source, Path(name) / "workspace"))
        clips, items = made(output)
    job = f"{arguments.videos} videos, {clips} clips, {items} items: {ours_s:.1f} s"
    if arguments.base:
        report("seed_job", base_s / ours_s, ">=1.7", f"{job}, the base {base_s:.1f} s")
    report("seed_job_limit", ours_s / least_s, "<=1.25", f"{job}, TransNetV2 and encoding alone {least_s:.1f} s")


if __name__ == "__main__":
    main()
