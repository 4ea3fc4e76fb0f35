"""Whether a rise is more than wandering: against a plain search over all steps, and how often it
errs.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from benchmarks.rise_null import autoregressive
from circuitwatch.summary.statistics.rise_test import (
    CRITICAL,
    RHOS,
    STEPS_FROM,
    WIDTHS,
    likelihood_ratios,
    rise_beyond_chance,
)

X = np.log(np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 18_000, 1000)]))


def naive_ratio(x: np.ndarray, y: np.ndarray) -> float:
    """T of one step, with each model fitted by least squares on its own."""
    n, best = y.size, {"flat": np.inf, "step": np.inf}
    index = np.arange(n)
    steps = []
    gap = np.median(np.diff(x))
    for at, narrow, wide in ((index, 0.2, n / 4), (x, gap / 4, np.ptp(x) / 5)):
        places = [*at, *((at[1:] + at[:-1]) / 2)]
        steps += [
            expit((at - place) / width)
            for place in places
            for width in np.geomspace(narrow, wide, WIDTHS)
        ]
    for rho in RHOS:

        def white(v: np.ndarray, rho: float = rho) -> np.ndarray:
            return np.append(np.sqrt(1 - rho**2) * v[0], v[1:] - rho * v[:-1])

        z, one = white(y - y[0]), white(np.ones(n))
        for step in [None, *steps]:
            columns = [one] if step is None else [one, white(step)]
            design = np.stack(columns, axis=1)
            weights, *_ = np.linalg.lstsq(design, z, rcond=1e-10)
            if step is not None and weights[1] <= 0:
                continue
            rss = float(((z - design @ weights) ** 2).sum())
            kind = "flat" if step is None else "step"
            best[kind] = min(best[kind], rss)
    return n * np.log(best["flat"] / best["step"])


@pytest.mark.parametrize("seed", range(3))
def test_one_step_is_the_best_of_all(seed: int) -> None:
    x = X[::3]
    y = expit((x - 6.0) / 0.8) + np.random.default_rng(seed).normal(0, 0.1, x.size)
    assert likelihood_ratios(x, y[None])[0, 0] == pytest.approx(naive_ratio(x, y), rel=1e-6)


def test_more_steps_fit_no_worse_and_few_checkpoints_have_fewer() -> None:
    y = np.random.default_rng(0).normal(size=(20, X.size))
    ratios = likelihood_ratios(X, y)
    assert ratios.shape == (3, 20) and (ratios >= 0).all()
    rising = np.sort(y, axis=1)
    assert (np.diff(likelihood_ratios(X, rising), axis=0) >= -1e-6).all()
    for fewest, count in zip(STEPS_FROM, (1, 2, 3), strict=True):
        assert likelihood_ratios(X[:fewest], y[:, :fewest]).shape[0] == count


@pytest.mark.parametrize("rho", [0.0, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("n", [12, 27])
def test_wandering_is_rarely_a_rise(rho: float, n: int) -> None:
    """At most 2 % of 400 curves, by the binomial distribution at 1 in 1000."""
    x = X[-n:] if n < 27 else X
    curves = autoregressive(n, rho, 400, np.random.default_rng([n, int(10 * rho)]))
    beyond = (likelihood_ratios(x, curves) > np.array(CRITICAL)[:, None]).any(axis=0)
    assert beyond.sum() <= binom.isf(1e-3, 400, 0.02)


@pytest.mark.parametrize(
    "shape", ["rise", "two stages", "overshoot", "dip", "straight line", "last checkpoint"]
)
def test_rises_of_all_shapes_are_found(shape: str) -> None:
    """Twenty times their noise, 27 checkpoints: at least 45 of 50."""
    late = X - 7.0
    trend = {
        "rise": expit(late / 0.5),
        "two stages": 0.4 * expit(late / 0.25) + 0.6 * expit((late - 1.5) / 0.25),
        "overshoot": expit(late / 0.4) * (1.5 - 0.5 * expit((late - 1.2) / 0.3)),
        "dip": expit(late / 0.5) - 0.4 * np.exp(-(((late + 3) / 0.9) ** 2)),
        "straight line": (X - X[0]) / np.ptp(X),
        "last checkpoint": np.where(X[-1] <= X, 1.0, 0.0),
    }[shape]
    found = [
        rise_beyond_chance(X, trend + np.random.default_rng(k).normal(0, 0.05, X.size)) > 1
        for k in range(50)
    ]
    assert sum(found) >= 45


def test_a_fall_and_a_constant_are_no_rise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, X.size)
    assert rise_beyond_chance(X, -expit((X - 6) / 0.5) + noise) < 1
    assert rise_beyond_chance(X, np.full(X.size, 0.7)) == 0.0
    assert rise_beyond_chance(X[:4], np.arange(4.0)) == 0.0


def test_units_do_not_matter() -> None:
    y = expit((X - 6) / 0.5) + np.random.default_rng(1).normal(0, 0.1, X.size)
    assert rise_beyond_chance(X, 1e6 * y - 5e6) == pytest.approx(rise_beyond_chance(X, y), rel=1e-4)
