"""Damaged, lying and hostile files: each ends in an outcome with a reason, and nothing broken reaches a clip."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.damage import (
    MAX_BLOCK_ERROR,
    Case,
    Result,
    check_clips,
    dataset_faults,
    grey_pictures,
    make_cases,
    make_clean,
    picture_error,
    results,
    run_over,
)
from tests.support.program import summary


def test_damage_costs_what_is_damaged_and_nothing_broken_is_made(tmp_path: Path) -> None:
    clean = make_clean(tmp_path / "clean")
    cases = [case for case in make_cases(clean) if case.fast]
    assert len(cases) >= 40
    found = curated(tmp_path, cases, clean)
    assert faults(found) == {}
    assert sum(result.made for result in found.values()) > len(cases)  # most of what is sound is used


@pytest.mark.soak
def test_all_damage(tmp_path: Path) -> None:
    from tests.support import reliability

    clean = make_clean(tmp_path / "clean")
    cases = make_cases(clean)
    found = curated(tmp_path, cases, clean)
    reliability.write_section("damage", table(cases, found))
    assert faults(found) == {}


def curated(folder: Path, cases: Iterable[Case], clean: dict[str, Path]) -> dict[str, Result]:
    """Runs the program over all cases and over the clean videos, and checks what it made."""
    source, output = folder / "in", folder / "out"
    source.mkdir()
    controls = [
        Case(f"clean {name}", "nothing", name, path.read_bytes(), least=4)
        for name, path in clean.items()
        if name != "h264-faststart.mp4"
    ]
    everything = [*cases, *controls]
    for case in everything:
        (source / case.name).write_bytes(case.data)
    run = run_over(source, output)
    assert run.status == 0, run.printed
    assert run.children_left == []
    assert summary(output)["num_input_videos"] == len(everything)
    found = results(output, [case.name for case in everything])
    for case in everything:
        result = found[case.name]
        if result.made < case.least and result.state != "skipped":
            result.faults.append(f"only {result.made} clips were made; {case.least} are sound")
    check_clips(output, everything, clean, found)
    assert dataset_faults(output) == []
    assert "Traceback" not in run.printed
    return found


def faults(found: dict[str, Result]) -> dict[str, list[str]]:
    return {name: result.faults for name, result in found.items() if result.faults}


def test_a_smeared_picture_would_not_pass(tmp_path: Path) -> None:
    """The thresholds: neighbouring frames, and a frame with one macroblock of its neighbour, are told apart."""
    for name, path in make_clean(tmp_path).items():
        pictures = grey_pictures(path).astype(float)
        for this, other in zip(pictures, pictures[3:], strict=False):
            assert picture_error(other, this)[1] > 10 * MAX_BLOCK_ERROR, name
            smeared = this.copy()
            smeared[48:64, 64:80] = other[48:64, 64:80]
            moved = abs(other[48:64, 64:80] - this[48:64, 64:80]).mean() > 2 * MAX_BLOCK_ERROR
            assert not moved or picture_error(smeared, this)[1] > MAX_BLOCK_ERROR, name


def table(cases: Iterable[Case], found: dict[str, Result]) -> str:
    """Returns what became of each case, for people."""
    from tests.support import reliability

    rows = []
    for case in cases:
        result = found[case.name]
        reasons = [f"{count} x {reason}" if count > 1 else reason for reason, count in result.reasons.items()]
        if result.unnoticed:
            reasons.append(f"{len(result.unnoticed)} clips hold damage of which FFmpeg gives no sign")
        rows.append((case.what, result.state, result.made, result.refused, "; ".join(reasons)))
    states = [row[1] for row in rows]
    head = (
        f"{len(rows)} files: {states.count('processed')} processed, {states.count('failed')} failed with a reason, "
        f"{states.count('skipped')} skipped as duplicates. Of {sum(row[2] for row in rows)} clips made, "
        f"{sum(len(result.unnoticed) for result in found.values())} hold damage of which FFmpeg's decoders "
        "give no sign as they are used here (a flipped bit can leave a valid stream).\n\n"
    )
    return head + reliability.table(("case", "outcome", "clips made", "refused", "reason"), rows)
