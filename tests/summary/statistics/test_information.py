"""AICc against the likelihood of a normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from circuitwatch.summary.statistics.information import aicc


@pytest.mark.parametrize(("n", "degree"), [(7, 0), (12, 1), (30, 3)])
def test_it_is_that_of_the_likelihood(n: int, degree: int) -> None:
    """Of polynomials with the likeliest spread: −2 log L + 2k + 2k(k + 1)/(n − k − 1), but for the
    constant n (log 2π + 1) that all models of the same values share.
    """
    rng = np.random.default_rng(n)
    x, y = np.arange(n), rng.normal(0, 2, n)
    residuals = y - np.polyval(np.polyfit(x, y, degree), x)
    spread, k = np.sqrt((residuals**2).mean()), degree + 2
    expected = -2 * norm.logpdf(residuals, scale=spread).sum() + 2 * k
    expected += 2 * k * (k + 1) / (n - k - 1) - n * (np.log(2 * np.pi) + 1)
    cost = float((residuals**2).sum())
    assert aicc(cost, n, k, smallest=1e-9) == pytest.approx(expected)
    assert aicc(0.0, n, k, smallest=cost / n) == pytest.approx(expected)
