"""Crossings and runs against loops over their definitions, and the bounds of a crossing between two
checkpoints against curves that are known there.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from circuitwatch.summary.statistics.crossings import (
    HOLD_SHARE,
    held_crossing,
    interpolate,
    longest_run,
    passed,
)


def test_a_crossing_that_holds_by_its_definition() -> None:
    """The first checkpoint above the level, whose next one is too, from which on nine of ten are,
    with the median of the last three above: on 400 random curves of zeros and ones, levels met
    exactly.
    """
    rng = np.random.default_rng(0)
    assert HOLD_SHARE == 0.9
    held = 0
    for k in range(400):
        n = int(rng.integers(5, 41))
        values = (np.arange(n) >= rng.integers(0, n)).astype(float)
        odd = rng.random(n) < 0.06
        values[odd] = 1 - values[odd]
        above = [value >= 1.0 for value in values]
        expected = next(
            (
                i
                for i in range(n - 1)
                if above[i]
                and above[i + 1]
                and 10 * sum(above[i:]) >= 9 * (n - i)
                and sorted(values[-3:])[1] >= 1.0
            ),
            n,
        )
        assert held_crossing(values, 1.0) == expected, k
        held += 0 < expected < n
    assert held > 200
    # Exactly nine of ten hold.
    assert held_crossing(np.array([0.0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]), 1.0) == 1


def test_the_longest_run_and_the_first_of_equal_ones() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        above = rng.random(12) < 0.5
        runs, start = [], 0
        for value, group in groupby(above.tolist()):
            length = len(list(group))
            runs.append((length if value else 0, -start))
            start += length
        length, place = max(runs)
        assert longest_run(above) == ((-place, length) if length else (0, 0))


def test_a_line_between_two_checkpoints() -> None:
    x, y = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 6.0])
    assert interpolate(x, y, 3.0, 2) == pytest.approx(1.5)


@pytest.mark.parametrize("middle", [2.2, 2.5, 2.8])
@pytest.mark.parametrize("width", [0.25, 0.6, 1.5])
@pytest.mark.parametrize("level", [0.35, 0.5, 0.65])
def test_a_logistic_curve_passes_within_the_bounds(
    middle: float, width: float, level: float
) -> None:
    """Where it passes is known; checkpoints are one apart. A quick one may be anywhere in its gap,
    of a slow one the neighbours leave little room. Where the curve turns in the next gap, that
    gap's slope is not the slope at its end: a hundredth of a gap.
    """
    x = np.arange(6.0)
    at = middle + width * np.log(level / (1 - level))
    curve = 1 / (1 + np.exp(-(x - middle) / width))
    place = held_crossing(curve[None], np.array([level]))
    (left,), (right,) = passed(x, curve[None], np.array([level]), place)
    assert left - 0.01 <= at <= right + 0.01
    if width == 1.5:
        assert right - left < 0.25
    if width == 0.25 and abs(at - 2.5) < 0.2:
        assert right - left > 0.5


@pytest.mark.parametrize("bend", [0.5, 1.0, 2.0])
def test_a_bent_curve_passes_within_the_bounds(bend: float) -> None:
    """x^bend bends downwards, is straight, and bends upwards: it lies between the straight line and
    the continuations of its neighbours.
    """
    x = np.arange(1.0, 7.0)
    level = 3.4**bend
    place = held_crossing((x**bend)[None], np.array([level]))
    (left,), (right,) = passed(x, (x**bend)[None], np.array([level]), place)
    assert left - 1e-9 <= 3.4 <= right + 1e-9 and right - left < 0.3
    straight = 3 + (level - 3**bend) / (4**bend - 3**bend)
    assert straight in (pytest.approx(left), pytest.approx(right))


def test_what_is_not_passed_or_does_not_count() -> None:
    x = np.arange(4.0)
    curves = np.array([[1.0, 1, 1, 1], [0, 0, 0, 0], [-np.inf, -np.inf, 2, 2], [0, 0, 1, 1]])
    levels = np.full(4, 0.5)
    left, right = passed(x, curves, levels, held_crossing(curves, levels))
    assert left.tolist() == [-np.inf, np.inf, 1, 1] and right.tolist() == [-np.inf, np.inf, 2, 2]
