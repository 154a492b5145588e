"""Fixes implausible time stamps of frames: bad ones are replaced by interpolation between their good neighbours.

The longest chain of plausible stamps is searched for, each later than the one before; a pause costs the chain some
frames, and a clock that restarts costs more. Stamps that are not in the chain are bad.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# A step is a pause if it is longer than both of these, the second in steps around it: a screen recording that does not
# change for a moment is not a pause, nor are slide shows and time lapses. 2 s is the default minimum length of a clip.
PAUSE_S = 2.0
PAUSE_STEPS = 10
_NEIGHBOURS = 5  # steps on either side, whose median is the usual duration of a frame there
# What a pause and a restart of the clock cost, in good stamps: if fewer frames lie that far off, their stamps are bad.
_PAUSE_COST, _RESTART_COST = 8.0, 16.0
_UNEVEN_COST = 0.1  # if one of two stamps must be dropped, the one that fits an even grid stays
_MISSED_COST = 4.0  # at an even rate, a stamp after bad ones that does not continue at that rate is bad, too
_LOOK_BACK = 32  # known stamps; a longer run of bad ones becomes a stretch of its own
_PACE = 48  # good stamps near an end, from which the rate beyond it is extrapolated
_SHUFFLED = 0.1  # share of backward steps from which evenly spaced stamps are taken for decoding times, as in AVI
_LARGEST = 1 << 60  # ticks from the median stamp; sums of larger numbers could overflow


@dataclasses.dataclass(frozen=True)
class FrameTimes:
    """Times of consecutive frames.

    Attributes:
        pts: int64 [n], strictly increasing.
        steps: int64 [n], usual duration of a frame around each one: the median of the steps nearby.
        bad: Numbers of the frames whose stamps were replaced.
        stretches: Numbers of the first frames after a pause or a restart of the clock; never 0.
        restarts: Those of them at which the clock restarts.
    """

    pts: NDArray[np.int64]
    steps: NDArray[np.int64]
    bad: tuple[int, ...] = ()
    stretches: tuple[int, ...] = ()
    restarts: tuple[int, ...] = ()


def fix_timestamps(stamps: Sequence[int | None], time_base: Fraction) -> FrameTimes | None:
    """Returns times of all frames, with implausible or missing stamps replaced.

    >>> fixed = fix_timestamps([0, 40, 80, 120, 99999, 200, 240, 280], Fraction(1, 1000))
    >>> fixed.pts.tolist(), fixed.bad
    ([0, 40, 80, 120, 160, 200, 240, 280], (4,))

    Args:
        stamps: One per frame, in presentation order; None for a frame without.
        time_base: Seconds per unit of the stamps.

    Returns:
        None if most stamps are unusable.
    """
    known, values = _plausible(stamps)
    if len(known) * 2 <= len(stamps):
        return None
    if len(stamps) == 1:
        return FrameTimes(values, np.zeros(1, np.int64))
    usual = _usual_steps(values)
    if usual is None or _is_shuffled(values):
        return None
    far = _far(usual, time_base)
    steps = np.diff(values)
    if len(known) == len(stamps) and (steps > 0).all() and _ends_are_plausible(steps, far):
        return FrameTimes(values, usual, stretches=tuple((np.flatnonzero(steps > far[1:]) + 1).tolist()))
    swapped = _swapped(values, usual)
    values[[*swapped, *(swapped + 1)]] = values[[*(swapped + 1), *swapped]]
    chain, restarts = _chain(known, values, usual, far)
    if len(chain) * 2 <= len(stamps):
        return None
    times = _filled(len(stamps), known, values, chain, restarts, usual, far)
    bad = sorted({*times.bad, *known[swapped].tolist(), *known[swapped + 1].tolist()})
    return dataclasses.replace(times, bad=tuple(bad))


def _plausible(stamps: Sequence[int | None]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the numbers and stamps of the frames whose stamps are not absurdly far from the others."""
    known = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], dtype=np.int64)
    values = np.array([stamp for stamp in stamps if stamp is not None], dtype=np.int64)
    if len(known):
        near = np.abs(values.astype(np.float64) - float(np.median(values))) < _LARGEST
        known, values = known[near], values[near]
    return known, values


def _usual_steps(values: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Returns the shorter of the median steps before and after each stamp; None if no step goes forward."""
    steps = np.diff(values).astype(np.float64)
    steps[steps <= 0] = np.nan
    if np.isnan(steps).all():
        return None
    padded = np.concatenate((np.full(_NEIGHBOURS, np.nan), steps, np.full(_NEIGHBOURS, np.nan)))
    rows = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURS)
    with np.errstate(all="ignore"):
        medians = _nan_median(rows)
    # The step to stamp i is steps[i - 1]: the steps before it end at i - 2, the steps after it begin at i.
    before = np.concatenate(([np.nan], medians[: len(steps)]))
    after = medians[_NEIGHBOURS : _NEIGHBOURS + len(values)]
    usual = np.fmin(before, after)
    usual = np.where(np.isnan(usual), np.nanmedian(steps), usual)
    return np.maximum(1, np.round(usual)).astype(np.int64)


def _nan_median(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the lower median of each row, NaN left out; NaN for rows of nothing else."""
    ordered = np.sort(rows, axis=1)  # NaN comes last
    count = (~np.isnan(rows)).sum(axis=1)
    middle: NDArray[np.float64] = np.take_along_axis(ordered, np.maximum(0, (count - 1) // 2)[:, None], axis=1)[:, 0]
    return middle


def _far(usual: NDArray[np.int64], time_base: Fraction) -> NDArray[np.float64]:
    """Returns the longest step to each stamp that is not a pause."""
    far: NDArray[np.float64] = np.maximum(PAUSE_S / float(time_base), PAUSE_STEPS * usual.astype(np.float64))
    return far


def _is_shuffled(values: NDArray[np.int64]) -> bool:
    """Whether the stamps are evenly spaced but out of order: decoding times."""
    if (np.diff(values) < 0).mean() <= _SHUFFLED:
        return False
    steps = np.diff(np.sort(values))
    return bool(steps.min() > 0 and steps.max() <= 2 * max(1.0, float(np.median(steps))))


def _swapped(values: NDArray[np.int64], usual: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the positions of stamps that are evenly spaced with their neighbours once swapped with the next one."""
    if len(values) < 4:
        return np.array([], dtype=np.int64)
    a, b, c, d = values[:-3], values[1:-2], values[2:-1], values[3:]
    even = [np.abs(step - usual[1:-2]) * 4 <= usual[1:-2] for step in (c - a, b - c, d - b)]
    return np.flatnonzero(np.logical_and.reduce(even)) + 1


def _costs(count: int) -> tuple[float, float]:
    """Returns the costs of a pause and of a restart, which are lower in a short video."""
    scale = max(1.0, min(_PAUSE_COST, count / 10)) / _PAUSE_COST
    return _PAUSE_COST * scale, _RESTART_COST * scale


def _ends_are_plausible(steps: NDArray[np.int64], far: NDArray[np.float64]) -> bool:
    """Whether no pause is so close to an end that the stamps of the frames beyond it are bad instead."""
    pauses = np.flatnonzero(steps > far[1:]) + 1
    margin = _costs(len(steps) + 1)[0]
    return not len(pauses) or bool(pauses[0] > margin and len(steps) + 1 - pauses[-1] > margin)


def _chain(
    known: NDArray[np.int64], values: NDArray[np.int64], usual: NDArray[np.int64], far: NDArray[np.float64]
) -> tuple[list[int], set[int]]:
    """Returns the best chain, as positions in `known`, and those of them at which the clock restarts."""
    pause_cost, restart_cost = _costs(len(known))
    calm, steady = _calm(known, values, far), _steady(values, usual)
    score = np.zeros(len(known))
    before = np.arange(-1, len(known) - 1)
    for j in range(len(known)):
        if calm[j]:
            score[j] = score[j - 1] + 1
            continue
        low = max(0, j - _LOOK_BACK)
        steps = (values[j] - values[low:j]).astype(np.float64)
        frames = (known[j] - known[low:j]).astype(np.float64)
        expected = frames * usual[j]
        price = np.where(steps > far[j] + expected - usual[j], pause_cost, 0.0)
        price = np.where(steps < frames, restart_cost, price)  # backward, or too short for the frames between
        uneven = np.minimum(1.0, np.abs(steps - expected) / usual[j])
        price += uneven * np.where((frames > 1) & steady[j], _MISSED_COST, _UNEVEN_COST)
        gains = score[low:j] - price
        before[j] = -1
        if len(gains) and gains.max() > 0:
            best = len(gains) - 1 - int(np.argmax(gains[::-1]))
            score[j], before[j] = gains[best], low + best
        score[j] += 1
    chain = [int(np.argmax(score))]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    chain.reverse()
    chain = _with_short_takes(chain, values)
    restarts = {b for a, b in itertools.pairwise(chain) if values[b] - values[a] < known[b] - known[a]}
    return chain, restarts


def _calm(known: NDArray[np.int64], values: NDArray[np.int64], far: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns which stamps follow a full look-back of good ones: they continue the chain without a search."""
    steps = np.diff(values)
    suspect = np.concatenate(([True], (steps <= 0) | (steps > far[1:]) | (np.diff(known) > 1)))
    last_suspect = np.maximum.accumulate(np.where(suspect, np.arange(len(values)), 0))
    calm: NDArray[np.bool_] = np.arange(len(values)) - last_suspect > _LOOK_BACK
    return calm


def _steady(values: NDArray[np.int64], usual: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns around which stamps three quarters of the steps are even."""
    even = np.abs(np.diff(values, prepend=values[0]) - usual) * 4 <= usual
    near = np.convolve(even, np.ones(2 * _NEIGHBOURS + 1), "same")
    steady: NDArray[np.bool_] = near * 4 >= 3 * (2 * _NEIGHBOURS + 1)
    return steady


def _with_short_takes(chain: list[int], values: NDArray[np.int64]) -> list[int]:
    """Adds the stamps between two pauses that were left out although they are in order: a short take."""
    full = chain[:1]
    for a, b in itertools.pairwise(chain):
        if b - a > 1 and (np.diff(values[a : b + 1]) > 0).all():
            full.extend(range(a + 1, b))
        full.append(b)
    return full


def _filled(
    count: int,
    known: NDArray[np.int64],
    values: NDArray[np.int64],
    chain: list[int],
    restarts: set[int],
    usual: NDArray[np.int64],
    far: NDArray[np.float64],
) -> FrameTimes:
    """Returns the times of all frames, interpolated where the stamps are bad."""
    frames = [int(known[i]) for i in chain]
    pts = np.zeros(count, dtype=np.int64)
    usual_steps = np.interp(np.arange(count), frames, usual[chain]).round().astype(np.int64)
    stretches, clock_restarts = [], []
    first, last = frames[0], frames[-1]
    pts[: first + 1] = int(values[chain[0]]) - _extrapolated(first, known, values, chain[:_PACE])[::-1]
    offset = 0
    for i, j in itertools.pairwise(chain):
        a, b = int(known[i]), int(known[j])
        length = int(values[j]) + offset - int(pts[a])
        step = int(usual[j])
        if j in restarts:
            pts[a + 1 : b + 1] = pts[a] + step * np.arange(1, b - a + 1)
            offset = int(pts[b]) - int(values[j])
            clock_restarts.append(b)
            stretches.append(b)
        elif length > float(far[j]) + step * (b - a - 1):
            even = min(step, length // (b - a))
            pts[a + 1 : b] = pts[a] + even * np.arange(1, b - a)
            pts[b] = int(values[j]) + offset
            stretches.append(b)
        else:
            pts[a + 1 : b + 1] = [int(pts[a]) + length * k // (b - a) for k in range(1, b - a + 1)]
    pts[last:] = int(pts[last]) + _extrapolated(count - 1 - last, known, values, chain[-_PACE:])
    bad = tuple(sorted(set(range(count)) - set(frames)))
    return FrameTimes(pts, np.maximum(1, usual_steps), bad, tuple(stretches), tuple(clock_restarts))


def _extrapolated(
    count: int, known: NDArray[np.int64], values: NDArray[np.int64], chain: list[int]
) -> NDArray[np.int64]:
    """Returns 0 and `count` further times at the average rate of some good stamps."""
    steps = np.diff(values[chain]) / np.diff(known[chain]) if len(chain) > 1 else np.ones(1)
    near = steps[steps <= 2 * np.median(steps)]
    return np.round(np.arange(count + 1) * max(1.0, float(near.mean()))).astype(np.int64)
