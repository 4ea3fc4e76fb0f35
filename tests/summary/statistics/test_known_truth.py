"""A small version of the study of `benchmarks.simulated`: intervals cover a known truth, flat
curves don't emerge, slopes are unbiased.

Tolerances follow from the numbers of runs: each bound is where a method that meets its target (95 %
covered, 2 % emerged) would fail with a probability below 1 in 1000, by the binomial distribution.
The study itself has 600 curves a condition.
"""

from __future__ import annotations

import pytest
from scipy.stats import binom

from benchmarks.simulated import CONSERVATIVE, COVERED, EMPTY, run, run_suites

RUNS, CHANCE = 100, 1e-3


@pytest.mark.parametrize(
    "condition",
    [
        "both noises, half-rise",
        "noisy checkpoints, threshold",
        "values only, threshold",
        "12 checkpoints, half-rise",
        "12 checkpoints, values only, half-rise",
        "30 % duplicates left out, half-rise",
        "two parts, values only, half-rise",
        "overshoot, values only, half-rise",
        "dip, values only, threshold",
        "AR(0.7), values only, half-rise",
    ],
)
def test_intervals_cover_the_truth(condition: str) -> None:
    got = run(COVERED[condition], RUNS, seed=50_000)
    assert got.emerged >= 0.9 * RUNS
    assert got.covered >= binom.ppf(CHANCE, got.emerged, 0.95)
    # Not by being endless: an interval is at most 2.5 times as wide as the errors of the estimates
    # make necessary.
    assert got.width < {"12": 1.3}.get(condition[:2], 0.6)


def test_where_checkpoints_hide_the_rise_the_interval_is_theirs() -> None:
    got = run(CONSERVATIVE["12 checkpoints, jump, half-rise"], 60, seed=50_000)
    assert got.covered >= binom.ppf(CHANCE, got.emerged, 0.95)
    assert got.kinds["fit"] < 0.2 * got.emerged


@pytest.mark.parametrize(
    "condition",
    [
        "flat",
        "flat, 12 checkpoints, values only",
        "wandering",
        "flat, AR(0.9)",
        "random walk",
        "random walk, 12 checkpoints",
        "rises and loses 60 %",
    ],
)
def test_what_does_not_rise_to_stay_has_not_emerged(condition: str) -> None:
    got = run(EMPTY[condition], RUNS, seed=50_000)
    assert got.statuses["emerged"] <= binom.isf(CHANCE, RUNS, 0.02)
    if condition == "rises and loses 60 %":
        assert got.statuses["transient"] >= binom.ppf(CHANCE, RUNS, 0.9)


def test_censored_points_are_not_numbers() -> None:
    late = run(EMPTY["rises after the last checkpoint, threshold"], 40, seed=50_000)
    early = run(EMPTY["there before the first, threshold"], 40, seed=50_000)
    assert late.statuses["never"] == 40 and early.statuses["already"] >= 39


def test_the_slope_is_unbiased_with_censored_sizes() -> None:
    """Within three Monte-Carlo errors of −0.5 over 100 suites, while taking the bound for a value
    is off by more than ten.
    """
    got = run_suites(100, last=8e9, seed=50_000)
    assert got.fitted >= 95 and got.censored > 1
    assert abs(got.bias) < 3 * got.error
    assert got.bias_as_seen > 10 * got.error
    assert got.coverage * got.fitted >= binom.ppf(CHANCE, got.fitted, 0.95)
