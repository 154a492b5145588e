"""Long: many kills of one job with shot detection, of the program and of the processes that read for it."""

from __future__ import annotations

import collections
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from beam_curate.dataset.verify.verify import verify
from tests.support import reliability
from tests.support.program import children_of, command, dataset_stems, run, snapshot, start, summary, wait_for

FLAGS = ("--splitting-algorithm", "transnetv2", "--transnetv2-crop-s", "0")
STAGES = ("shots", "clips", "captions", "text", "windows", "done")
READING = ("shots", "clips")  # the stages that read sources
PROGRAM, CHILD = "the program", "a process that reads a source"


@pytest.mark.soak
def test_twenty_kills_at_random_moments(videos: Path, tmp_path: Path) -> None:
    """Four times: four kills of the program, which add up before the run that mends them; and one of a child."""
    seed = int(os.environ.get("BEAM_CURATE_SEED", random.randrange(2**32)))
    print(f"BEAM_CURATE_SEED={seed}")
    choose = random.Random(seed)
    output = tmp_path / "out"
    run(videos, output, *FLAGS)
    undisturbed, all_results = snapshot(output), results(output)

    def mend() -> None:
        run(videos, output, *FLAGS)
        assert snapshot(output) == undisturbed, seed
        assert not list((output / ".work" / "tmp").iterdir()), seed

    died: collections.Counter[tuple[str, str]] = collections.Counter()
    for _ in range(4):
        shutil.rmtree(output)
        for kills_left in (4, 3, 2, 1):
            died[PROGRAM, kill_the_program(videos, output, choose, len(all_results), kills_left)] += 1
            assert_whole(output, seed)
        mend()
        shutil.rmtree(output)
        died[CHILD, kill_a_child(videos, output, choose, sum(stage in READING for stage in all_results))] += 1
        assert_whole(output, seed)
        mend()
    rows = [(what, when, times) for (what, when), times in sorted(died.items(), key=lambda row: order(*row[0]))]
    reliability.write_section(
        "kills",
        f"{died.total()} kills (SIGKILL) at random moments of a job of {summary(output)['num_input_videos']} videos "
        "with shot detection, captions and a dataset. After each, every item that a trainer would list was whole. "
        "The run that followed, after four kills of the program in a row or one of a reading process, came to the same "
        "output, byte for byte, as a run without kills.\n\n" + reliability.table(("killed", "when", "times"), rows),
    )


def kill_the_program(videos: Path, output: Path, choose: random.Random, num_results: int, kills_left: int) -> str:
    """Kills it a little after it has stored some more results, so that no stage is too short to be met."""
    stored = len(results(output))
    wanted = choose.randint(stored, stored + (num_results - stored) // kills_left)
    process = subprocess.Popen(command(videos, output, *FLAGS), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(results(output)) < wanted and process.poll() is None:
        time.sleep(0.01)
    time.sleep(choose.uniform(0, 2))
    running = process.poll() is None
    process.kill()
    process.wait()
    return reached(output) if running else "after its end"


def kill_a_child(videos: Path, output: Path, choose: random.Random, num_results: int) -> str:
    """Kills a process that reads a source; the program goes on and says that another run may mend it."""
    wanted = choose.randrange(num_results)
    process = start(command(videos, output, *FLAGS))
    wait_for(lambda: len(results(output)) >= wanted and children_of(process.pid), process)
    time.sleep(choose.uniform(0, 1))
    when = reached(output)
    os.kill(choose.choice(children_of(process.pid)), signal.SIGKILL)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    failed = summary(output)["beam_curate"]["num_failed_videos"] + summary(output)["beam_curate"]["num_failed_clips"]
    if failed:  # an idle one costs nothing
        assert "will be tried again" in printed and "Run the same command again" in printed, printed
    return when


def results(output: Path) -> list[str]:
    """The stage of each result that is stored, in the order of the stages."""
    return [stage for stage in STAGES for _ in (output / ".work" / stage).rglob("*.*")]


def reached(output: Path) -> str:
    """The last stage that has results."""
    stored = results(output)
    return f"after first results of {stored[-1]}" if stored else "before the first result"


def order(what: str, when: str) -> tuple[str, int]:
    """Sorts by what was killed, then by how far the run was."""
    stages = [index for index, stage in enumerate(STAGES) if when.endswith(f" {stage}")]
    return what, stages[0] if stages else len(STAGES) if "end" in when else -1


def assert_whole(output: Path, seed: int) -> None:
    """Files beside a video that is not there are no item: the loader lists videos."""
    stems = dataset_stems(output)
    if stems:
        report = verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True)
        assert not [fault for fault in report.faults if fault.stem in stems], seed
