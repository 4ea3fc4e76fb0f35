"""Which of two things came first, where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binom

from circuitwatch.summary.statistics.emergence import emergence_samples
from circuitwatch.summary.statistics.emergence_points import central_interval
from circuitwatch.summary.statistics.lags import Curve, Lag, agreement, lag_between

TOKENS = np.geomspace(1e8, 1e11, 30)
X = np.log(TOKENS)


def risen(
    at: float,
    *,
    width: float = 0.3,
    seed: int = 0,
    noise: float = 0.03,
    tokens: np.ndarray = TOKENS,
) -> Curve:
    values = expit((np.log(tokens) - np.log(at)) / width) + np.random.default_rng(seed).normal(
        0, noise, tokens.size
    )
    return Curve(tokens, values, threshold=0.5)


def test_order_sign_and_size() -> None:
    lag = lag_between(risen(1e9), risen(4e9, seed=1))
    assert lag.verdict == "before" and lag.lag == pytest.approx(np.log(4), abs=0.2)
    assert lag.low is not None and lag.high is not None and lag.low <= np.log(4) <= lag.high
    back = lag_between(risen(4e9, seed=1), risen(1e9))
    assert back.verdict == "after" and back.lag == pytest.approx(-lag.lag)


def test_intervals_of_lags_cover_and_equal_points_have_no_order() -> None:
    """120 pairs, true lags 0 and 0.4: coverage of 95 % and at most 5 % wrong orders, by the
    binomial distribution at 1 in 1000.
    """
    covered = wrong = 0
    for k in range(120):
        true = 0.4 * (k % 2)
        middle = float(np.exp(np.random.default_rng(k).uniform(np.log(1e9), np.log(1e10))))
        first, second = risen(middle, seed=2 * k + 1), risen(middle * np.exp(true), seed=2 * k + 2)
        lag = lag_between(first, second, n_bootstrap=100, seed=k)
        low, high = (
            (-np.inf if lag.low is None else lag.low),
            (np.inf if lag.high is None else lag.high),
        )
        covered += low <= true <= high
        wrong += lag.verdict == "after" or (lag.verdict == "before" and true == 0)
    assert covered >= binom.ppf(1e-3, 120, 0.95)
    assert wrong <= binom.isf(1e-3, 120, 0.05)


def test_shared_prompts_make_the_lag_sharper() -> None:
    """Both curves wait for the same prompts: what delays a prompt delays both, so the paired
    interval is clearly narrower.
    """
    rng = np.random.default_rng(0)
    delay = rng.normal(0, 1.0, 40)
    first, second = (
        pd.DataFrame(expit((X[:, None] - np.log(at) - delay) / 0.3) + rng.normal(0, 0.03, (30, 40)))
        for at in (3e9, 4.5e9)
    )
    one, two = (
        Curve(TOKENS, table.mean(axis=1), 0.5, per_prompt=table) for table in (first, second)
    )
    paired = lag_between(one, two)
    apart = lag_between(one, replace(two, per_prompt=second.rename(columns=lambda k: f"other {k}")))
    assert paired.paired and not apart.paired
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)
    assert paired.verdict == "before"


def test_checkpoints_too_sparse_to_tell() -> None:
    sparse = np.geomspace(1e8, 1e11, 9)
    # Both rise between the fifth and the sixth checkpoint, however clearly one does it first.
    lag = lag_between(
        risen(3.4e9, width=0.05, noise=0.0, tokens=sparse),
        risen(6e9, width=0.05, noise=0.0, tokens=sparse),
    )
    assert lag.same_checkpoints and lag.verdict == "inconclusive" and "sparse" in lag.note
    assert lag.low is not None and lag.low < 0 < lag.high


def test_what_never_came_came_after() -> None:
    flat = Curve(TOKENS, np.random.default_rng(5).normal(0, 0.03, 30), threshold=0.5)
    lag = lag_between(risen(1e9), flat)
    assert lag.verdict == "before" and lag.lag is None and lag.high is None
    assert lag.low == pytest.approx(np.log(1e11 / lag.first.high))
    assert lag_between(flat, risen(1e9)).verdict == "after"
    assert lag_between(flat, flat).verdict == "inconclusive"
    there = Curve(TOKENS, np.full(30, 0.9), threshold=0.5)
    before, after = lag_between(there, risen(1e9)), lag_between(risen(1e9), there)
    assert (before.verdict, before.high) == ("before", None)
    assert before.low == pytest.approx(np.log(before.second.low / TOKENS[0]))
    assert (after.verdict, after.low) == ("after", None)
    assert after.high == pytest.approx(np.log(TOKENS[0] / after.first.low))


@pytest.mark.parametrize(("n", "kth"), [(199, 5), (200, 5), (79, 2), (20, 1)])
def test_intervals_are_order_statistics(n: int, kth: int) -> None:
    """The k-th smallest and largest of n samples, k = 0.025 (n + 1): of one curve, and of the
    difference of two.
    """
    samples = np.random.default_rng(n).permutation(n).astype(float)
    assert central_interval(samples, samples + 0.5) == (kth - 1, n - kth + 0.5)
    first, second = risen(1e9), risen(4e9, seed=1)
    lag = lag_between(first, second, n_bootstrap=n, seed=3)
    ours, theirs = (
        emergence_samples(curve, n_bootstrap=n, seed=seed, noise_seed=noise_seed)[1]
        for curve, seed, noise_seed in ((first, 3, 7), (second, 3 + 7919, 8))
    )
    smallest, largest = np.sort(theirs.left - ours.right), np.sort(theirs.right - ours.left)
    assert (lag.low, lag.high) == pytest.approx((smallest[kth - 1], largest[n - kth]))


def test_sizes_together() -> None:
    lags: list[Lag] = [
        lag_between(risen(1e9, seed=k), risen(4e9, seed=k + 50), n_bootstrap=50) for k in range(6)
    ]
    together = agreement(lags, ("induction", "IOI"))
    assert (together.before, together.after, together.untold) == (6, 0, 0)
    # Six of six heads or six of six tails: two of the 64 outcomes.
    assert together.p == pytest.approx(2 / 64) and together.smallest_p == pytest.approx(2 / 64)
    assert "induction before IOI at 6 of 6 sizes" in together.text
    assert agreement([]).p is None
