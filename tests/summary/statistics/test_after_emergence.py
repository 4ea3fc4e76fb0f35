"""Stability on curves and sets whose steadiness is set."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from circuitwatch.summary.statistics.emergence import fit_emergence
from circuitwatch.summary.statistics.stability import Stability, set_stability, stability, turnover

TOKENS = np.geomspace(1e8, 1e12, 60)
X = np.log(TOKENS)


def curve(noise: float, drift: float = 0.0, seed: int = 0) -> np.ndarray:
    late = np.maximum(X - np.log(6e9), 0)
    return (
        2 * expit((X - np.log(3e9)) / 0.3)
        + drift * late
        + np.random.default_rng(seed).normal(0, noise, X.size)
    )


def test_spread_drift_and_falls_are_in_units_of_the_rise() -> None:
    """Spread 0.1 on a rise of 2 is 0.05 of it; a standard deviation from some 35 checkpoints is
    known to 12 % (one sigma).
    """
    found = stability(TOKENS, curve(0.1), fit_emergence(TOKENS, curve(0.1), threshold=1.0))
    assert found.status == "measured" and found.n > 20
    assert found.spread == pytest.approx(0.05, rel=0.35) and found.below == 0
    assert found.variance == pytest.approx(found.spread**2, rel=0.2)
    assert 0 < found.largest_fall < 8 * found.spread


def test_steady_growth_is_not_instability() -> None:
    values = curve(0.02, drift=0.1)
    found = stability(TOKENS, values, fit_emergence(TOKENS, values, threshold=1.0))
    assert found.spread < 0.03 and found.drift > 0.05 and found.variance > 4 * found.spread**2


def test_without_an_emergence_point_nothing_is_measured() -> None:
    flat = np.random.default_rng(0).normal(0, 1, 60)
    assert stability(TOKENS, flat, fit_emergence(TOKENS, flat)) == Stability(
        "no emergence point", 0
    )
    values = curve(0.02)[:28]
    late = fit_emergence(TOKENS[:28], values, threshold=1.0)
    assert stability(TOKENS[:28], values, late).spread is None


def test_overlap_lies_between_chance_and_the_noise_ceiling() -> None:
    found = set_stability([0.5, 0.6, 0.7], [0.8, 0.8, 0.8], [0.2, 0.2, 0.2])
    assert found.stability == pytest.approx((0.6 - 0.2) / (0.8 - 0.2))
    assert found.low <= found.stability <= found.high
    assert set_stability([0.8, 0.8], [0.8, 0.8]).stability == pytest.approx(1)
    assert set_stability([0.5, np.nan], [0.8, 0.8]).n == 1 and set_stability([np.nan]).n == 0
    assert set_stability([0.5, 0.6]).stability is None
    assert (
        set_stability([0.5, 0.5], [0.2, 0.2], [0.3, 0.3]).stability is None
    )  # a ceiling below chance
    assert (
        set_stability([1.0, 1.0], [1.0, 1.0], [1 - 1e-16, 1 - 1e-16]).stability is None
    )  # no room between them
    with pytest.raises(ValueError, match="length"):
        set_stability([0.5], [0.8, 0.8])


def test_turnover_by_hand() -> None:
    found = turnover([{"a", "b"}, {"b", "c"}, {"b", "c"}, {"b"}])
    assert (found.n, found.ever, found.always) == (3, 3, 1)
    assert found.gained == pytest.approx(1 / 3) and found.lost == pytest.approx(2 / 3)
    assert found.kept == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert turnover([]).kept is None
