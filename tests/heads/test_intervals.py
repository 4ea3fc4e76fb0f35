"""Intervals of role scores cover a known mean and a known ratio, also with few units, and say
nothing where there is nothing to vary.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, bootstrap

from circuitwatch.analysis import role_scalars
from circuitwatch.heads.holding import can_hold, that_can_hold
from circuitwatch.heads.intervals import bootstrap_interval

RUNS = 1000
"""Simulated heads: all in one call, which draws the same units for every one; their values are
independent, so coverage is binomial.
"""


def covered(low: np.ndarray, high: np.ndarray, truth: float) -> int:
    return int(((low <= truth) & (truth <= high)).sum())


@pytest.mark.parametrize("n", [8, 16, 64])
@pytest.mark.parametrize("kind", ["normal", "right or wrong", "beta"])
def test_intervals_of_a_mean_cover_the_truth(n: int, kind: str) -> None:
    """93 to 98 % of 1000 heads, from 8 units on; right or wrong with few units is a coarse scale,
    which the bound of 91 % makes room for. Each bound is widened by what chance does to 1000 heads
    one time in 1000."""
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(0.4, 0.1, (RUNS, n)),
        "right or wrong": (rng.random((RUNS, n)) < 0.4).astype(float),
        "beta": rng.beta(2, 3, (RUNS, n)),
    }[kind]
    low, high = bootstrap_interval(values, n_bootstrap=1000, seed=1)
    least = 0.91 if kind == "right or wrong" and n < 64 else 0.93
    assert binom.ppf(1e-3, RUNS, least) <= covered(low, high, 0.4) <= binom.isf(1e-3, RUNS, 0.98)


@pytest.mark.parametrize(("n", "least"), [(8, 0.88), (64, 0.93)])
def test_intervals_of_a_ratio_cover_the_truth(n: int, least: float) -> None:
    """Pieces of text of unequal weight, as their KLs are: log-normal sums, of which 30 % is averted
    on the average. Eight skewed pieces are few.
    """
    rng = np.random.default_rng(2)
    ablated = rng.lognormal(0, 0.7, (RUNS, n))
    averted = ablated * rng.beta(3, 7, (RUNS, n))
    low, high = bootstrap_interval(averted, over=ablated, n_bootstrap=1000, seed=1)
    assert covered(low, high, 0.3) >= binom.ppf(1e-3, RUNS, least)
    assert np.median(high - low) < 0.4 * np.sqrt(8 / n)


def test_many_units_give_the_percentile_interval() -> None:
    """Against scipy's, whose resamples are others: ends within a tenth of the width."""
    values = np.random.default_rng(3).gamma(2.0, size=500)
    low, high = bootstrap_interval(values, n_bootstrap=4000, seed=0)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert abs(low - theirs.low) < 0.1 * (high - low) and abs(high - theirs.high) < 0.1 * (
        high - low
    )


def test_constant_scores_have_no_width() -> None:
    for score in (0.0, 0.3, 1.0):
        low, high = bootstrap_interval(np.full((2, 5), score), n_bootstrap=100, seed=0)
        np.testing.assert_allclose([low, high], score, rtol=1e-12)
    weights = np.array([1.0, 5.0, 0.1])
    low, high = bootstrap_interval(0.25 * weights, over=weights, n_bootstrap=100, seed=0)
    assert (low, high) == pytest.approx((0.25, 0.25))
    nothing = bootstrap_interval(np.zeros(4), over=np.zeros(4), n_bootstrap=100, seed=0)
    assert nothing == (0.0, 0.0)


def test_one_unit_tells_nothing_of_others() -> None:
    low, high = bootstrap_interval(np.ones((2, 3, 1)), n_bootstrap=100, seed=0)
    assert low.shape == (2, 3) and np.isnan(low).all() and np.isnan(high).all()


def test_the_seed_decides() -> None:
    values = np.random.default_rng(4).random((3, 9))
    one, again, other = (
        np.stack(bootstrap_interval(values, n_bootstrap=50, seed=seed)) for seed in (0, 0, 1)
    )
    assert (one == again).all() and (one != other).any()


def test_copy_suppression_is_held_from_the_third_layer_on() -> None:
    roles = pd.DataFrame(
        [(role, layer, 0) for role in ("induction", "copy_suppression") for layer in range(4)]
    )
    roles.columns = ["role", "layer", "head"]
    able = that_can_hold(roles)
    assert able[["role", "layer"]].to_numpy().tolist() == [
        *(["induction", layer] for layer in range(4)),
        ["copy_suppression", 2],
        ["copy_suppression", 3],
    ]
    assert [can_hold("copy_suppression", layer) for layer in range(4)] == [False, False, True, True]
    assert can_hold("year_push", 0)


def test_a_record_of_two_layers_says_why_no_head_holds_copy_suppression() -> None:
    """Its scores are there; a third layer's head is the strongest, however high those of the first
    two are.
    """
    table = pd.DataFrame(
        {"role": "copy_suppression", "layer": [0, 1, 2], "head": 0, "score": [0.9, 0.8, 0.2]}
    )
    small = role_scalars(table[table["layer"] < 2], {}, n_layers=2)
    reason = (
        "scored, but heads of the first 2 layers hold no copy suppression, and this model has 2"
    )
    assert small == {"roles/copy_suppression/left_out": reason}
    assert role_scalars(table, {}, n_layers=3) == {
        "roles/copy_suppression/max": 0.2,
        "roles/copy_suppression/head": "a2.h0",
        "roles/copy_suppression/total": 0.2,
    }
