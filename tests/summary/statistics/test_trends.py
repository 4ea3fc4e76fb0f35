"""Slopes and means of values that may be alike: against a direct search, and how often they err."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from benchmarks.rise_null import autoregressive
from circuitwatch.summary.statistics.trends import (
    RHOS,
    SLOPE,
    VALUES,
    mean_interval,
    slope_interval,
)


def cost(y: np.ndarray, x: np.ndarray, slope: float) -> float:
    """Residual sum of squares of the best level and autocorrelation at a slope."""
    found = []
    for rho in RHOS:
        white = [
            np.append(np.sqrt(1 - rho**2) * v[0], v[1:] - rho * v[:-1])
            for v in (y - slope * x, np.ones_like(x))
        ]
        level = white[0] @ white[1] / (white[1] @ white[1])
        found.append(float(((white[0] - level * white[1]) ** 2).sum()))
    return min(found)


def test_the_interval_is_where_the_ratio_of_likelihoods_is() -> None:
    x = np.log(np.geomspace(1, 100, 16))
    y = 0.3 * x + autoregressive(16, 0.5, 1, np.random.default_rng(0))[0]
    slope, low, high = slope_interval(x, y)
    critical = np.interp(16, VALUES, SLOPE)

    def excess(b: float) -> float:
        return 16 * np.log(cost(y, x, b) / cost(y, x, slope)) - critical

    assert low == pytest.approx(brentq(excess, slope - 20, slope), abs=1e-6)
    assert high == pytest.approx(brentq(excess, slope, slope + 20), abs=1e-6)
    for other in (slope - 0.01, slope + 0.01):
        assert cost(y, x, other) > cost(y, x, slope)


@pytest.mark.parametrize("rho", [0.0, 0.7, 0.9])
@pytest.mark.parametrize("n", [9, 25, 60])
def test_flat_values_that_are_alike_have_no_trend(n: int, rho: float) -> None:
    """Of 300 at most 5 % leave out 0, by the binomial distribution at 1 in 1000; and of means."""
    curves = autoregressive(n, rho, 300, np.random.default_rng([n, int(10 * rho)]))
    x = np.linspace(0, 1, n)
    slopes = [slope_interval(x, curve) for curve in curves]
    means = [mean_interval(curve) for curve in curves]
    for found in (slopes, means) if rho <= 0.7 else (slopes,):
        wrong = sum(not low <= 0 <= high for _, low, high in found)
        assert wrong <= binom.isf(1e-3, 300, 0.05)


def test_true_trends_are_seen() -> None:
    """A change by six deviations of independent noise over 25 checkpoints: in nearly all of 100."""
    x = np.linspace(0, 1, 25)
    found = [
        slope_interval(x, 6 * x + np.random.default_rng(k).normal(size=25)) for k in range(100)
    ]
    assert sum(low > 0 for _, low, _ in found) >= 90
    assert np.mean([slope for slope, _, _ in found]) == pytest.approx(6.0, abs=0.4)


def test_exact_values() -> None:
    x = np.arange(8.0)
    assert slope_interval(x, 2 * x + 1) == pytest.approx((2.0, 2.0, 2.0), abs=1e-6)
    assert slope_interval(x, np.full(8, 0.4)) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    assert mean_interval(np.full(8, 0.4)) == pytest.approx((0.4, 0.4, 0.4), abs=1e-9)
