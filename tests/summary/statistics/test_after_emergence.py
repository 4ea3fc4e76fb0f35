"""Stability on curves and sets whose steadiness is set."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from scipy.special import expit
from scipy.stats import binom

from benchmarks.rise_null import autoregressive
from circuitwatch.summary.statistics.emergence import fit_emergence
from circuitwatch.summary.statistics.stability import (
    Stability,
    set_stability,
    stability,
    turnover,
)
from circuitwatch.summary.statistics.status import Emergence

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


def naive_theil_sen(x: np.ndarray, y: np.ndarray) -> float:
    pairs = combinations(range(x.size), 2)
    return float(np.median([(y[j] - y[i]) / (x[j] - x[i]) for i, j in pairs]))


def test_each_measure_by_its_definition() -> None:
    """A made emergence between 1 and 3, seen from 4e9 tokens on; values after it are set."""
    tokens = np.array([1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 64e9])
    values = np.array([1.0, 1.1, 2.8, 3.1, 2.9, 1.9, 3.3])
    emergence = Emergence(
        "emerged", "half rise", 7, 1e9, 64e9, 3.3, level=2.0, tokens=3e9, lower=1.0, upper=3.0,
        crossing=3e9, crossing_low=2e9, crossing_high=4e9,
    )  # fmt: skip
    found = stability(tokens, values, emergence)
    late, x = values[2:], np.log(tokens[2:])
    slope = naive_theil_sen(x, late)
    about = late - slope * x
    assert (found.status, found.n) == ("measured", 5)
    assert found.spread == pytest.approx(np.sqrt(((about - about.mean()) ** 2).sum() / 3) / 2)
    assert found.variance == pytest.approx(((late - late.mean()) ** 2).sum() / 4 / 2**2)
    assert found.drift == pytest.approx(slope * np.log(10) / 2)
    assert found.largest_fall == pytest.approx((3.1 - 1.9) / 2)
    assert found.below == pytest.approx(1 / 5)
    # The end of the rise counts where it is later, and three checkpoints after it are enough.
    for risen, n in ((8e9, 4), (16e9, 3), (17e9, 2)):
        after = stability(tokens, values, replace(emergence, risen=risen))
        assert after.n == n and (after.spread is not None) == (n >= 3)
    few = stability(tokens, values, replace(emergence, risen=64e9))
    assert few == Stability("too few checkpoints after the rise", 1)
    for lower in (None, 3.0):
        unknown = replace(emergence, lower=lower)
        assert stability(tokens, values, unknown) == Stability("no fitted rise", 0)
    for none in (replace(emergence, tokens=None), replace(emergence, status="transient")):
        assert stability(tokens, values, none) == Stability("no emergence point", 0)


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


def test_the_interval_of_stability_beside_scipys_bootstrap() -> None:
    """Of the ratio of means, over pairs. The bootstrap takes pairs for independent, so that of
    independent ones ours is wider: in the median of 15 samples no more than three times.
    """
    ratios = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        jaccard = rng.uniform(0.3, 0.7, 12)
        ceiling, chance = rng.uniform(0.7, 0.95, 12), rng.uniform(0.05, 0.2, 12)
        found = set_stability(jaccard, ceiling, chance)
        oracle = scipy.stats.bootstrap(
            (jaccard, ceiling, chance),
            lambda j, top, low, axis: (
                (j.mean(axis) - low.mean(axis)) / (top.mean(axis) - low.mean(axis))
            ),
            paired=True,
            method="percentile",
            vectorized=True,
            n_resamples=999,
            rng=1,
        ).confidence_interval
        assert found.stability == pytest.approx(
            (jaccard.mean() - chance.mean()) / (ceiling.mean() - chance.mean())
        )
        assert found.low < found.stability < found.high
        ratios.append((found.high - found.low) / (oracle.high - oracle.low))
    assert 1 < np.median(ratios) < 3
    assert set_stability(jaccard[:2], ceiling[:2], chance[:2]).low is not None
    single = set_stability(jaccard[:1], ceiling[:1], chance[:1])
    assert single.stability is not None and single.low is None and single.high is None


@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_stability_of_pairs_that_are_alike(alike: float) -> None:
    """Coverage of the truth, 0.5, over 200 series of 15 pairs: 95 % by the binomial distribution at
    1 in 1000, where a bootstrap of pairs covers about half of them.
    """
    noise = autoregressive(15, alike, 200, np.random.default_rng(5))
    ones = np.ones(15)
    found = [set_stability(0.5 + 0.05 * row, ones, 0 * ones) for row in noise]
    held = sum(one.low <= 0.5 <= one.high for one in found)
    assert held >= binom.ppf(1e-3, 200, 0.95)


def test_turnover_by_hand() -> None:
    found = turnover([{"a", "b"}, {"b", "c"}, {"b", "c"}, {"b"}])
    assert (found.n, found.ever, found.always) == (3, 3, 1)
    assert found.gained == pytest.approx(1 / 3) and found.lost == pytest.approx(2 / 3)
    assert found.kept == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert turnover([]).kept is None and turnover([]).always == turnover([]).ever == 0
