"""Knees against a plain search, how often noise has one, and how often their range holds the
truth.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from circuitwatch.summary.statistics.knees import DRAWS, Knee, find_knee

FIVE = np.log([7e7, 1.6e8, 4.1e8, 1.4e9, 2.8e9])
"""The sizes of the paper."""


def bent(x: np.ndarray, knee: float, noise: float, seed: int) -> np.ndarray:
    return -np.minimum(x, knee) + np.random.default_rng(seed).normal(0, noise, x.size)


def squares(z: np.ndarray, y: np.ndarray) -> float:
    design = np.stack([np.ones_like(z), z], axis=1)
    return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())


@pytest.mark.parametrize("n", [5, 9])
def test_the_knee_is_the_best_of_a_fine_grid(n: int) -> None:
    x = np.linspace(0, 10, n)
    found = find_knee(x, bent(x, 4.3, 0.05, 4))
    costs = {
        k: squares(np.minimum(x, k), bent(x, 4.3, 0.05, 4)) for k in np.linspace(x[1], x[-2], 2001)
    }
    assert found.status == "levels off"
    assert found.at == pytest.approx(min(costs, key=lambda k: costs[k]), abs=0.08)
    assert found.low < 4.3 < found.high


def test_its_p_is_the_largest_share_of_straight_lines_that_look_as_bent() -> None:
    """Against fresh noise about lines of three slopes: none looks as bent more often, and one of
    them nearly as often.
    """
    y = bent(FIVE, FIVE[2], 0.6, 3)

    def ratio(values: np.ndarray) -> float:
        places = np.linspace(FIVE[1], FIVE[-2], 101)
        best = min(squares(np.minimum(FIVE, k), values) for k in [*places, *FIVE[1:-1]])
        return squares(FIVE, values) / best

    rng = np.random.default_rng(11)
    shares = [
        np.mean([ratio(slope * FIVE + rng.normal(0, 1, 5)) >= ratio(y) for _ in range(500)])
        for slope in (0.0, 1.2 / FIVE.std(), 12 / FIVE.std())
    ]
    error = 4 * np.sqrt(0.25 / 500)
    p = find_knee(FIVE, y).p
    assert max(shares) == pytest.approx(p, abs=error) and p >= 1 / (1 + DRAWS)


@pytest.mark.parametrize("slope", [0.0, -0.3, -1.0])
def test_straight_lines_rarely_have_one(slope: float) -> None:
    """Of 400 at most 5 %, by the binomial distribution at 1 in 1000."""
    found = [
        find_knee(FIVE, slope * FIVE + np.random.default_rng(k).normal(0, 0.3, 5)).status
        for k in range(400)
    ]
    assert found.count("levels off") <= binom.isf(1e-3, 400, 0.05)
    if slope == 0.0:
        assert found.count("not determined by these sizes") > 300


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_the_range_holds_the_truth(noise: float) -> None:
    """Of 300 in 95 %, by the binomial distribution at 1 in 1000."""
    held = 0
    for k in range(300):
        found = find_knee(FIVE, bent(FIVE, 20.5, noise, k))
        held += (found.low is None or found.low <= 20.5) and (
            found.high is None or found.high >= 20.5
        )
    assert held >= binom.ppf(1e-3, 300, 0.95)


def test_exact_lines_and_too_few_sizes() -> None:
    assert find_knee(FIVE, 2 - 0.5 * FIVE).status == "no knee: a straight line fits as well"
    exact = find_knee(FIVE, -np.minimum(FIVE, FIVE[2]))
    assert exact.at == pytest.approx(FIVE[2]) and exact.status == "levels off"
    assert find_knee(FIVE[:4], FIVE[:4]) == Knee()


def test_a_range_that_the_sizes_do_not_bound_is_open() -> None:
    """The last step down may be the noise's: the change may go on beyond the largest size."""
    y = np.array([3.0, 2.1, 1.2, 0.5, 0.25])
    found = find_knee(FIVE, y + np.random.default_rng(0).normal(0, 0.2, 5))
    assert found.high is None or found.low is None
