"""Fixed time stamps equal those before the damage, up to the rounding of interpolated ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from beam_curate.containers.timestamps import FrameTimes, fix_timestamps

MS, TS, AVI, MP4 = Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 24), Fraction(1, 12288)
COUNT = 240
FAR_S = 300
Stamps = list[int | None]


def even(time_base: Fraction, rate: Fraction = Fraction(24), count: int = COUNT) -> list[int]:
    return [round(i / rate / time_base) for i in range(count)]


def ticks(time_base: Fraction, seconds: float) -> int:
    return round(seconds / time_base)


BREAKS: dict[str, Callable[[list[int], int, Fraction], int | None]] = {
    "far ahead": lambda true, i, unit: true[i] + ticks(unit, FAR_S),
    "far behind": lambda true, i, unit: true[i] - ticks(unit, FAR_S),
    "equal": lambda true, i, unit: true[i - 1],
    "backward": lambda true, i, unit: true[i] - 3 * (true[1] - true[0]),
    "none": lambda true, i, unit: None,
    "near 2^63": lambda true, i, unit: 2**63 - 1 - i,
    "near -2^63": lambda true, i, unit: -(2**63) + 1 + i,
}


def fixed(stamps: Stamps, time_base: Fraction) -> FrameTimes:
    found = fix_timestamps(stamps, time_base)
    assert found is not None
    assert (np.diff(found.pts) > 0).all()
    return found


@pytest.mark.parametrize("kind", BREAKS)
@pytest.mark.parametrize("time_base", [MS, TS, AVI, MP4], ids=["ms", "90 kHz", "frames", "12288 Hz"])
@pytest.mark.parametrize(
    "frames", [(0,), (1,), (2, 3), (100,), (7, 100, 150), (*range(100, 105),), (237,), (238,), (239,)]
)
def test_isolated_bad_stamps_are_replaced(kind: str, time_base: Fraction, frames: tuple[int, ...]) -> None:
    true = even(time_base)
    stamps: Stamps = list(true)
    for frame in frames:
        stamps[frame] = BREAKS[kind](true, frame, time_base)
    if kind == "equal":  # to the last good one before
        for frame in frames:
            stamps[frame] = stamps[frame - 1] if frame else true[1]
    if kind == "backward" and 0 in frames:
        return  # a first frame that is shown for longer is plausible
    found = fixed(stamps, time_base)
    assert np.abs(found.pts - true).max() <= 1
    assert not found.stretches
    assert set(found.bad) <= {*frames, *(frame + 1 for frame in frames)} and len(found.bad) <= len(frames)


@pytest.mark.parametrize(
    "frames", [(*range(4),), (*range(235, 240),), (*range(100, 120),), (*range(0, 240, 5),), (*range(40, 140),)]
)
def test_runs_of_missing_and_far_stamps_are_replaced(frames: tuple[int, ...]) -> None:
    true = even(TS)
    for kind in ("none", "far ahead") if len(frames) < 60 else ("none",):
        stamps: Stamps = list(true)
        for frame in frames:
            stamps[frame] = BREAKS[kind](true, frame, TS)
        found = fixed(stamps, TS)
        assert np.abs(found.pts - true).max() <= 1
        assert found.bad == frames


def test_two_swapped_stamps_are_swapped_back() -> None:
    true = even(MS)
    stamps: Stamps = list(true)
    stamps[80], stamps[81] = stamps[81], stamps[80]
    found = fixed(stamps, MS)
    assert found.pts.tolist() == true
    assert found.bad == (80, 81)


@pytest.mark.parametrize("pause_s", [2.5, 10, 600, 3600, 10**6])
@pytest.mark.parametrize("at", [(12,), (120,), (228,), (60, 180), (100, 112)])
def test_pauses_are_kept(pause_s: float, at: tuple[int, ...]) -> None:
    true = [stamp + ticks(MS, pause_s) * sum(i >= frame for frame in at) for i, stamp in enumerate(even(MS))]
    found = fixed(list(true), MS)
    assert found.pts.tolist() == true
    assert (found.bad, found.stretches, found.restarts) == ((), at, ())


@pytest.mark.parametrize(
    "steps_ms",
    [
        [33] * 149 + [500] * 10,
        [1000] * 59,
        [20, 120, 30, 60, 10] * 20,
        [random.Random(1).choice((8, 16, 33, 50, 200, 1500)) for _ in range(300)],
        [33] * 100 + [1900] + [33] * 100,
        [5000] * 20,
    ],
    ids=["slower end", "time lapse", "variable", "screen recording", "one long frame", "slides"],
)
def test_variable_rates_are_kept(steps_ms: list[int]) -> None:
    true = [0, *np.cumsum(steps_ms).tolist()]
    found = fixed(list(true), MS)
    assert found.pts.tolist() == true
    assert (found.bad, found.stretches) == ((), ())
    for frame in (len(true) // 3, len(true) // 2):
        stamps: Stamps = list(true)
        stamps[frame] = true[frame - 1]
        found = fixed(stamps, MS)
        assert len(found.bad) == 1
        others = [i for i in range(len(true)) if abs(i - frame) > 1]
        assert found.pts[others].tolist() == [true[i] for i in others]
        assert found.pts[-1] == true[-1]


@pytest.mark.parametrize("start", [0, -500, 2**62, -(2**62), 2**63 - 10**6])
def test_stamps_may_start_far_from_0(start: int) -> None:
    true = [start + stamp for stamp in even(MS)]
    assert fixed(list(true), MS).pts.tolist() == true
    stamps: Stamps = list(true)
    stamps[100] = 0 if start else 10**15
    found = fixed(stamps, MS)
    assert max(abs(int(a) - b) for a, b in zip(found.pts, true, strict=True)) <= 1


def test_a_clock_that_restarts() -> None:
    true = even(TS)
    found = fixed([*true[:120], *true[:120]], TS)
    assert (found.bad, found.stretches, found.restarts) == ((), (120,), (120,))
    assert np.abs(found.pts - true).max() <= 1


def test_a_thousand_changes_of_duration_or_clock() -> None:
    lengths = [(20, 33, 42, 100)[i % 4] for i in range(1000) for _ in range(3)]
    true = [0, *np.cumsum(lengths).tolist()]
    found = fixed(list(true), MS)
    assert found.pts.tolist() == true and not found.stretches
    again = fixed([stamp for _ in range(1000) for stamp in even(MS, count=20)], MS)
    assert len(again.restarts) == 999 and not again.bad


@pytest.mark.parametrize(
    "stamps",
    [
        [0] * 240,
        [None] * 240,
        [random.Random(3).randrange(10**6) for _ in range(240)],
        [240 - i for i in range(240)],
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4],
        [1, 3, 4, 2, 6, 7, 5, 9, 10, 8, 12, 13, 11, 15, 16, 14],
        [None, None, 5],
        [None],
    ],
    ids=[
        "all equal",
        "none",
        "random",
        "all backward",
        "two per tick",
        "decoding times",
        "mostly none",
        "one of none",
    ],
)
def test_mostly_unusable_stamps_are_given_up(stamps: Stamps) -> None:
    assert fix_timestamps(stamps, MS) is None


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 30])
def test_stamps_of_short_videos(count: int) -> None:
    true = even(MS, count=count)
    assert fixed(list(true), MS).pts.tolist() == true
    if count >= 5:
        stamps: Stamps = list(true)
        stamps[count // 2] = None
        assert np.abs(fixed(stamps, MS).pts - true).max() <= 1


@pytest.mark.parametrize("seed", range(40))
def test_times_of_random_stamps_are_strictly_increasing(seed: int) -> None:
    chance = random.Random(seed)
    stamps: Stamps = list(even(chance.choice((MS, TS))))
    for _ in range(chance.randrange(1, 200)):
        stamps[chance.randrange(COUNT)] = chance.choice((None, 0, chance.randrange(-(2**63) + 1, 2**63), 5000))
    found = fix_timestamps(stamps, MS)
    assert found is None or ((np.diff(found.pts) > 0).all() and len(found.pts) == COUNT)
