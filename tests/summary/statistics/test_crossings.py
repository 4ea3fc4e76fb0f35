"""Crossings, runs, peaks and noise against loops over their definitions."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from circuitwatch.summary.statistics.crossings import (
    CLEAR,
    HOLD_SHARE,
    held_crossing,
    interpolate,
    longest_run,
    noise,
    plainly_crossed,
    rise_and_fall,
    smooth,
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


def test_a_running_median_keeps_the_ends() -> None:
    values = np.random.default_rng(2).normal(size=9)
    expected = [
        values[0],
        *(sorted(values[i - 1 : i + 2])[1] for i in range(1, 8)),
        values[-1],
    ]
    np.testing.assert_array_equal(smooth(values), expected)


def naive_rise_and_fall(values: np.ndarray, sigma: float) -> tuple[int, float] | None:
    """By the definition: a peak of the running median between the ends; the start is the median up
    to the last checkpoint that is no more than half-way up to it, the end that of the last three.
    """
    n = len(values)
    steady = [sorted(values[max(i - 1, 0) : i + 2])[1] for i in range(n)]
    steady[0], steady[-1] = values[0], values[-1]
    peak = max(range(1, n - 1), key=lambda i: (steady[i], -i))
    half_way = (min(steady[:peak]) + steady[peak]) / 2
    before = [i for i in range(peak) if steady[i] <= half_way]
    start = float(np.median(values[: before[-1] + 1])) if before else min(steady[:peak])
    rise, fall = steady[peak] - start, steady[peak] - float(np.median(values[-3:]))
    clear = rise > 3 * sigma and fall > 3 * sigma and fall > rise / 2
    return (peak, start + rise / 2) if clear else None


def test_a_rise_and_fall_by_its_definition() -> None:
    """On 600 bumps of all heights, lengths and depths of their fall."""
    rng = np.random.default_rng(3)
    assert CLEAR == 3.0
    found = 0
    for k in range(600):
        n, sigma = int(rng.integers(7, 30)), float(rng.choice([0.02, 0.1, 0.2]))
        at, after = rng.uniform(0, n), rng.uniform(0, n / 2)
        x = np.arange(n)
        values = (x > at) * 1.0 - rng.uniform(0, 1.2) * (x > at + after) + rng.normal(0, sigma, n)
        expected = naive_rise_and_fall(values, sigma)
        assert rise_and_fall(values, sigma) == (
            None if expected is None else (expected[0], pytest.approx(expected[1]))
        ), k
        found += expected is not None
    assert 100 < found < 500


@pytest.mark.parametrize("quiet_until", [0, 100, 140])
def test_the_noise_of_a_curve_whose_beginning_is_quiet(quiet_until: int) -> None:
    """Median over 60 curves of 300 checkpoints within 8 % of the truth: nearly half of them may be
    of untrained models that hardly vary.
    """
    found = []
    for seed in range(60):
        values = np.random.default_rng(seed).normal(0, 0.2, 300)
        values[:quiet_until] *= 0.01
        found.append(noise(values))
    assert np.median(found) == pytest.approx(0.2, rel=0.08)
    assert noise(np.zeros(9), np.array([0.1, 0.3, 0.2] * 3)) == 0.3


def test_a_crossing_no_clearer_than_noise_is_not_plain() -> None:
    """Medians one and a half deviations from the level are plain, anything less is not."""
    values = np.array([-1.0, -1, -1, 1, 1, 1])
    assert plainly_crossed(values, 0.0, 1 / 1.5) and not plainly_crossed(values, 0.0, 1 / 1.49)
    assert not plainly_crossed(values, 0.1, 1 / 1.5) and not plainly_crossed(values, -0.1, 1 / 1.5)
