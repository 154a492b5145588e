"""The whole job against a plain loop over the same functions in as many threads, each side a fresh process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import in_turn, report
from footage import make_footage

from beam_curate.dataset import predict2
from beam_curate.elements import Failure, Video
from beam_curate.options.parse import parse
from beam_curate.plan.plan import Plan, make_plan
from beam_curate.records.recorder import publish_chunk, record_video
from beam_curate.sources.listing import list_videos
from tests.support.program import command, run, snapshot
from tests.support.selection import selected

SECONDS = (60, 45, 30, 20, 14, 10, 7, 5)  # the longest first: the best order for the loop
FLAGS = ("--splitting-algorithm", "fixed-stride", "--text-encoder", "t5_random")
# What only the program writes, at its end: the summaries.
OF_THE_PROGRAM = ("summary.json", "failures.jsonl", "v0/", "report")


def loop(source: Path, output: Path) -> None:
    """Curates each video from beginning to end, a thread a core: no cached results, no runner between."""
    plan = make_plan(parse(command(source, output, *FLAGS)[3:]))
    listing = list_videos(str(source), None, frozenset(plan.sources.extensions))
    videos = selected(listing.videos, plan.output, plan.context.fingerprint).work
    predict2.mark_random(plan.output, plan.context.validation_fraction)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda video: curate_one(plan, video), videos))


def curate_one(plan: Plan, video: Video) -> None:
    """Does all that the pipeline does to one video."""
    shots = plan.shots.attempt(video)
    assert not isinstance(shots, Failure), shots
    done = []
    for chunk in plan.chunks(shots):
        for planned in plan.stages[1:]:
            chunk = planned.attempt(chunk)
        done.append(publish_chunk(plan.context, chunk))
    record_video(plan.context, video, done, [])


def made(output: Path) -> dict[str, str]:
    """The files that both sides make, with the hashes of their content."""
    return {path: digest for path, digest in snapshot(output).items() if not path.startswith(OF_THE_PROGRAM)}


def main() -> None:
    """Times both, compares what they made, and prints the line."""
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "in", Path(name) / "out"
        source.mkdir()
        for number, seconds in enumerate(SECONDS):
            make_footage(source / f"{number}.mp4", size=(640, 360), seconds=seconds)

        def ours() -> None:
            shutil.rmtree(output, ignore_errors=True)
            run(source, output, *FLAGS)

        def theirs() -> None:
            shutil.rmtree(output, ignore_errors=True)
            subprocess.run([sys.executable, __file__, source, output], check=True)

        ours()
        by_us = made(output)
        mine, other = in_turn(ours, theirs)
        assert made(output) == by_us and by_us, "the two sides made different files"
        note = f"{len(SECONDS)} videos of 360p, {sum(SECONDS)} s of them: ours {mine:.2f} s, the loop {other:.2f} s"
        report("pipeline", mine / other, "<=1.05", note)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        loop(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
