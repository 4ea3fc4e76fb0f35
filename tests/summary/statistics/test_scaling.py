"""Trends over model sizes against published correlations, SciPy and known lines."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from circuitwatch.summary.statistics.comparisons import holm
from circuitwatch.summary.statistics.scaling import (
    Kind,
    _tobit,
    censored_line,
    correlation,
    trend,
)
from support.simulated import simulate_suite

DATA = Path(__file__).parents[4] / "shared" / "data" / "circuits_over_time.csv"
SIZES = np.array([70e6, 160e6, 410e6, 1e9, 2.8e9, 6.9e9])


def test_a_power_law_is_recovered() -> None:
    found = trend(SIZES, 3e12 * SIZES**-0.5)
    assert (
        found.status == "fitted"
        and found.slope == pytest.approx(-0.5, abs=1e-3)
        and found.spearman == pytest.approx(-1)
    )
    assert found.knee is None


def test_spearmans_p_is_exact() -> None:
    """Of the 720 orders of six values two are as extreme as a perfect one."""
    assert trend(SIZES, np.arange(1.0, 7.0)).spearman_p == pytest.approx(2 / 720)


def test_correlations_equal_scipys() -> None:
    values = np.random.default_rng(0).uniform(1, 9, 6)
    found = trend(SIZES, values, pearson_in_logs=False)
    assert found.pearson == pytest.approx(scipy.stats.pearsonr(SIZES, values).statistic)
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(SIZES, values).statistic)


def test_a_censored_size_bends_the_line_only_as_far_as_it_must() -> None:
    """A size that has not learnt by its bound: the slope lies between leaving it out and taking the
    bound for the value.
    """
    values = 1e12 * SIZES**-0.5
    values[0] *= 0.5
    censored = trend(SIZES, values, ["right-censored", *["observed"] * 5])
    wrong = trend(SIZES, values)
    assert censored.n_censored == 1 and censored.slope == pytest.approx(-0.5, abs=0.02)
    assert wrong.slope > censored.slope + 0.05


def test_where_more_scale_no_longer_helps() -> None:
    sizes = np.geomspace(1e7, 1e10, 10)
    values = np.exp(-np.minimum(np.log(sizes), np.log(3e8)) + 40) * np.exp(
        np.random.default_rng(0).normal(0, 0.02, 10)
    )
    found = trend(sizes, values)
    assert found.knee_status == "levels off" and found.knee == pytest.approx(3e8, rel=0.3)
    assert (
        trend(sizes, 1e9 * sizes**-0.5 * np.exp(np.random.default_rng(0).normal(0, 0.02, 10))).knee
        is None
    )


def test_two_sizes_say_nothing() -> None:
    found = trend(SIZES[:2], [1.0, 2.0])
    assert found.status == "too few sizes" and found.slope is None and found.pearson is None


def test_published_correlations_of_circuit_and_model_size() -> None:
    """With the right parameter counts, as opposed to the 14e9 and 28e9 that the published analysis
    took for 1.4b and 2.8b.
    """
    if not DATA.exists():
        pytest.skip("the published data are not here")
    table = pd.read_csv(DATA)
    nodes = table[table["quantity"].str.startswith("mean_circuit_nodes")]
    billions = {
        "70m": 70e6,
        "160m": 160e6,
        "410m": 410e6,
        "1b": 1e9,
        "1.4b": 1.4e9,
        "2.8b": 2.8e9,
        "6.9b": 6.9e9,
        "12b": 12e9,
    }
    expected = {
        "ioi": (0.789, 0.90),
        "greater_than": (0.941, 0.90),
        "gender_pronoun": (0.631, 0.90),
        "sva": (0.890, 1.00),
    }
    for task, (pearson, spearman) in expected.items():
        means = nodes[nodes["task"] == task].groupby("model")["value"].mean()
        params = [billions[model.removeprefix("pythia-")] for model in means.index]
        found = trend(params, means.to_numpy(), pearson_in_logs=False)
        assert found.pearson == pytest.approx(pearson, abs=0.002), task
        assert found.spearman == pytest.approx(spearman, abs=0.005), task


@pytest.mark.parametrize("n", [3, 5, 7])
def test_permutation_p_against_counting_one_by_one_and_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.normal(size=n)
    r, p = correlation(x, y)
    every = [abs(np.corrcoef(x, np.array(order))[0, 1]) for order in permutations(y)]
    assert r == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    assert p == pytest.approx(np.mean([one >= abs(r) - 1e-9 for one in every]))
    oracle = scipy.stats.permutation_test(
        (y,),
        lambda v: abs(scipy.stats.spearmanr(x, v).statistic),
        permutation_type="pairings",
        alternative="greater",
    )
    found = trend(np.exp(x), np.exp(y))
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert found.spearman_p == pytest.approx(oracle.pvalue)


def test_intervals_without_censoring_are_students() -> None:
    rng = np.random.default_rng(2)
    x, y = np.log(SIZES), rng.normal(size=6)
    _, slope, low, high = censored_line(x, y, np.array(["observed"] * 6, dtype=object))
    oracle = scipy.stats.linregress(x, y)
    margin = scipy.stats.t.ppf(0.975, 4) * oracle.stderr
    assert (slope, low, high) == pytest.approx(
        (oracle.slope, oracle.slope - margin, oracle.slope + margin), rel=1e-6
    )


def negative_log_likelihood(
    inverse_spread: float, line: np.ndarray, y: np.ndarray, kind: np.ndarray
) -> np.ndarray:
    """[point] of y around the line, both in units of the spread."""
    u = inverse_spread * y - line
    observed = 0.5 * u**2 - np.log(inverse_spread)
    return np.where(
        kind == "observed",
        observed,
        -scipy.special.log_ndtr(np.where(kind == "right-censored", -u, u)),
    )


def minimum(
    loss: Callable[[np.ndarray], float], start: list[float]
) -> scipy.optimize.OptimizeResult:
    options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 1000}
    return scipy.optimize.minimize(loss, start, method="Nelder-Mead", options=options)


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_the_censored_line_is_where_a_general_minimiser_finds_it(seed: int) -> None:
    """With Nelder–Mead, and the information by finite differences.

    At both ends of the interval the likelihood ratio is the critical value.
    """
    suite = simulate_suite(seed, last=1e10, first=2e9)
    kind = np.array(suite.kinds, dtype=object)
    z, y = np.log(suite.params / 1e9), np.log(suite.values / 4e9)

    def loss(v: np.ndarray) -> float:
        return negative_log_likelihood(v[0], v[1] + v[2] * z, y, kind).sum() if v[0] > 0 else np.inf

    def penalised(v: np.ndarray) -> float:
        if v[0] <= 0.01:
            return np.inf
        steps = 1e-3 * np.eye(3)
        information = [
            [
                (loss(v + p + q) - loss(v + p - q) - loss(v - p + q) + loss(v - p - q)) / 4e-6
                for q in steps
            ]
            for p in steps
        ]
        return loss(v) - 0.5 * np.linalg.slogdet(np.array(information))[1] - 0.5 * np.log(v[0])

    def ratio_and_critical(slope: float) -> tuple[float, float]:
        at_slope = minimum(lambda v: loss(np.array([v[0], v[1], v[0] * slope])), [4.0, 0.0])
        inverse_spread, line = at_slope.x[0], at_slope.x[1] + at_slope.x[0] * slope * z
        down, here, up = (
            negative_log_likelihood(inverse_spread, line + d, y, kind).sum()
            for d in (-1e-3, 0.0, 1e-3)
        )
        points = (down - 2 * here + up) / 1e-6
        student = scipy.stats.t.ppf(0.975, points - 2)
        return at_slope.fun - likeliest.fun, points / 2 * np.log(1 + student**2 / (points - 2))

    likeliest = minimum(loss, [4.0, 0.0, -2.0])
    oracle = minimum(penalised, list(likeliest.x))
    intercept, slope, low, high = censored_line(z, y, kind)
    assert (intercept, slope) == pytest.approx(tuple(oracle.x[1:] / oracle.x[0]), abs=3e-4)
    assert low is not None and high is not None and low < slope < high
    for end in (low, high):
        ratio, critical = ratio_and_critical(end)
        assert ratio == pytest.approx(critical, rel=1e-3)


def test_slopes_are_unbiased_with_sizes_censored_at_both_ends() -> None:
    """500 suites of twelve sizes, against least squares on the emergence points of all sizes, which
    takes away the chance that both share.

    The mean difference has a Monte-Carlo error of 0.003; three of these are allowed. Maximum
    likelihood is off by more, and the same suites show it.
    """
    penalised, likeliest = [], []
    for seed in range(900_000, 900_500):
        suite = simulate_suite(seed, last=1e10, first=2e9, n_sizes=12)
        kind = np.array(suite.kinds, dtype=object)
        assert (kind == "observed").sum() >= 3
        x, y = np.log(suite.params / 1e9), np.log(suite.values / 4e9)
        complete = np.polyfit(x, np.log(suite.points), 1)[0]
        penalised.append(censored_line(x, y, kind)[1] - complete)
        scaled = _tobit(np.stack([np.ones_like(x), x], axis=1), y, kind, 1e-6)[1]
        likeliest.append(scaled[2] / scaled[0] - complete)
    error = np.std(penalised) / np.sqrt(len(penalised))
    assert error < 0.0035
    assert abs(np.mean(penalised)) < 3 * error < abs(np.mean(likeliest))


@pytest.mark.parametrize(
    ("moved", "kinds"),
    [
        ([-0.5, 0, 0, 0, 0, 0], ["right-censored", *["observed"] * 5]),
        ([-1, -1, -1, 0, 0, 0], [*["right-censored"] * 3, *["observed"] * 3]),
        ([-0.3, 0, 0, 0, 0.2, 0.3], ["right-censored", *["observed"] * 3, *["left-censored"] * 2]),
    ],
)
def test_points_on_a_line_and_bounds_that_agree_with_it(
    moved: list[float], kinds: list[Kind]
) -> None:
    """However many sizes are censored, and however few are not, the line is that of the points, and
    the interval next to nothing.
    """
    found = trend(SIZES, 1e12 * SIZES**-0.5 * np.exp(moved), kinds)
    assert found.slope == pytest.approx(-0.5, abs=1e-5)
    assert (found.slope_low, found.slope_high) == pytest.approx((-0.5, -0.5), abs=1e-3)


def test_the_estimate_lies_in_its_interval_whatever_is_censored() -> None:
    rng = np.random.default_rng(6)
    for _ in range(60):
        n = int(rng.integers(4, 10))
        x = rng.normal(0, rng.choice([0.1, 1, 5]), n)
        y = rng.normal() * x + rng.normal(0, rng.choice([0.01, 0.3, 2]), n)
        kind = np.array(["observed"] * n, dtype=object)
        hidden = rng.permutation(n)[: rng.integers(0, n - 2)]
        kind[hidden] = rng.choice(["right-censored", "left-censored"], hidden.size)
        _, slope, low, high = censored_line(x, y, kind)
        assert (
            np.isfinite(slope) and (low is None or low < slope) and (high is None or slope < high)
        )


def test_holm_against_the_step_down_test() -> None:
    """The adjusted p is the smallest level at which the test, done step by step, rejects."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 7):
        p = np.round(rng.uniform(0, 1, n) ** 2, 3)
        for level in np.linspace(0.0005, 0.9995, 200):
            rejected = np.zeros(n, dtype=bool)
            for step, k in enumerate(np.argsort(p, kind="stable")):
                if p[k] > level / (n - step):
                    break
                rejected[k] = True
            np.testing.assert_array_equal(holm(p) <= level, rejected)
    assert holm([0.01, np.nan, 0.04])[[0, 2]] == pytest.approx([0.02, 0.04]) and np.isnan(
        holm([np.nan])[0]
    )
