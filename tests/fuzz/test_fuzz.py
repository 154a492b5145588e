"""Mutants of videos: whatever the bytes are, the run ends, every file has one outcome, and the dataset is clean."""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.damage import dataset_faults, error_types, results, run_over
from tests.support.program import dataset_stems, summary

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported one by one, without their folder

from mutator import make_seeds, mutant
from regressions import BROKE_SOMETHING

FLAGS = (
    *("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "1", "--limit-clips", "20"),
    *("--fixed-stride-min-clip-length-s", "0.5", "--predict2-min-frames", "4"),
    *("--decode-timeout-s", "10", "--decode-memory-mb", "768"),
)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def test_a_hundred_mutants_and_those_that_broke_something(seeds: dict[str, bytes], tmp_path: Path) -> None:
    counts = survive([*range(100), *BROKE_SOMETHING], seeds, tmp_path, limit_s=240)
    assert counts["processed"] > 20 and counts["clips"] > 20  # they are videos still, not rubbish


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_mutants(seeds: dict[str, bytes], tmp_path: Path) -> None:
    from tests.support import reliability

    counts: collections.Counter[str] = collections.Counter()
    for part in range(4):
        folder = tmp_path / str(part)
        folder.mkdir()
        counts += survive(range(1000 + part * 250, 1250 + part * 250), seeds, folder, limit_s=900)
    rows = [(name, count) for name, count in sorted(counts.items())]
    head = (
        "1,000 mutants of 8 videos (mp4, mov, mkv, webm, avi, ts, flv), in runs of 250 files: each run ended, exit "
        "status 0, one outcome for every file, no process left and a dataset without a fault.\n\n"
    )
    reliability.write_section("fuzz", head + reliability.table(("what", "how many"), rows))


def survive(numbers: Iterable[int], seeds: dict[str, bytes], folder: Path, limit_s: float) -> collections.Counter[str]:
    """Runs the program over mutants and checks what a user relies on; returns counts by outcome."""
    source, output = folder / "in", folder / "out"
    source.mkdir()
    names = []
    for number in dict.fromkeys(numbers):
        name, data = mutant(number, seeds)
        (source / name).write_bytes(data)
        names.append(name)
    run = run_over(source, output, *FLAGS, limit_s=limit_s)
    assert run.status == 0, run.printed
    assert run.children_left == []
    assert "Traceback" not in run.printed
    counted = summary(output)
    ours = counted["beam_curate"]
    outcomes = counted["num_processed_videos"] + ours["num_failed_videos"] + ours["num_skipped_videos"]
    assert counted["num_input_videos"] == outcomes == len(names)
    found = results(output, names)
    wrong = {name: result.faults for name, result in found.items() if result.faults}
    assert wrong == {}
    items = len(dataset_stems(output))
    assert items == ours["num_dataset_items"]
    if items:
        assert dataset_faults(output) == []
    assert list((output / ".work" / "tmp").iterdir()) == []
    counts = collections.Counter(result.state for result in found.values())
    counts["clips"] = counted["total_num_clips_passed"]
    return counts + error_types(found.values())
