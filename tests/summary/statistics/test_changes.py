"""Change points against `ruptures` and against trying every cut, and on curves whose changes are
known.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ruptures
from scipy.optimize import brentq
from scipy.stats import binom

from circuitwatch.summary.statistics.changes import (
    best_cuts,
    change_points,
    difference_noise,
    stretch_costs,
)
from support import made_up
from support.simulated import TOKENS_PER_STEP

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "circuits_over_time.csv"
TOKENS = np.geomspace(1e6, 1e11, 40)
X = np.log(TOKENS)


def naive_cost(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    return float(((y - np.polyval(np.polyfit(x, y, 0 if kind == "level" else 1), x)) ** 2).sum())


@pytest.mark.parametrize("kind", ["level", "line"])
@pytest.mark.parametrize("seed", range(4))
def test_the_cut_is_the_best_of_all(kind: str, seed: int) -> None:
    """Every way to cut 11 checkpoints into stretches, by NumPy's polynomial fits."""
    rng = np.random.default_rng(seed)
    x, shortest, price = np.sort(rng.uniform(0, 5, 11)), 2 if kind == "level" else 3, 1.5
    y = rng.normal(0, 1, 11) + 2 * (x > 2.5)
    found = best_cuts(stretch_costs(x, y, kind), price, shortest)

    def total(cuts: tuple[int, ...]) -> float:
        edges = [0, *cuts, 11]
        if min(np.diff(edges)) < shortest:
            return np.inf
        pieces = sum(naive_cost(x[a:b], y[a:b], kind) for a, b in pairwise(edges))
        return pieces + price * len(cuts)

    every = [cuts for k in range(5) for cuts in combinations(range(1, 11), k)]
    assert total(tuple(found[1:])) == pytest.approx(min(map(total, every)))


@pytest.mark.parametrize("kind", ["level", "line"])
@pytest.mark.parametrize("seed", range(15))
def test_cuts_are_those_of_ruptures(kind: str, seed: int) -> None:
    """PELT, over unequal distances: its linear cost takes log tokens as a regressor."""
    rng = np.random.default_rng(seed)
    n, price, shortest = int(rng.integers(15, 60)), float(rng.uniform(3, 9)), 2 + (kind == "line")
    x = np.sort(rng.uniform(0, 5, n))
    y = rng.normal(0, 1, n) + 3 * (x > 1.5) - 4 * (x > 3.2) + 1.5 * x * (kind == "line")
    signal = y if kind == "level" else np.column_stack([y, x, np.ones(n)])
    model = {"level": "l2", "line": "linear"}[kind]
    oracle = ruptures.Pelt(model=model, min_size=shortest, jump=1).fit(signal)
    cuts = best_cuts(stretch_costs(x, y, kind), price, shortest)
    assert [*cuts[1:], n] == oracle.predict(pen=price)
    changes = change_points(np.exp(x), y, kind=kind, sigma=2.0, penalty=price / 4)
    expected = [(np.exp(x[c - 1]), np.exp(x[c])) for c in cuts[1:]]
    found = [(change.tokens_before, change.tokens_after) for change in changes]
    assert np.array(found) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("kind", ["level", "line"])
@pytest.mark.parametrize("at", [4, 13, 20, 27, 36])
def test_an_interval_holds_what_hansens_likelihood_ratio_does_not_reject(
    kind: str, at: int
) -> None:
    """Every other place of the change, by NumPy's polynomial fits, and the 95 % point of the
    distribution (1 − e^{−x/2})² that Hansen (2000) gives.
    """
    y = np.random.default_rng(at).normal(0, 1, 40) + 3.0 * (np.arange(40) >= at)
    (change,) = change_points(TOKENS, y, kind=kind, sigma=1.0, penalty=12.0)
    critical = brentq(lambda v: (1 - np.exp(-v / 2)) ** 2 - 0.95, 1, 20)
    shortest = 2 if kind == "level" else 3
    places = np.arange(shortest, 40 - shortest + 1)
    costs = np.array(
        [naive_cost(X[:c], y[:c], kind) + naive_cost(X[c:], y[c:], kind) for c in places]
    )
    kept = places[costs - costs.min() <= critical]
    assert change.tokens_after == TOKENS[places[costs.argmin()]]
    assert (change.low, change.high) == (TOKENS[kept.min() - 1], TOKENS[kept.max()])
    assert change.low <= change.tokens <= change.high


@pytest.mark.parametrize("kind", ["level", "line"])
def test_noise_has_no_changes(kind: str) -> None:
    """At most 5 % of white-noise curves, of three lengths; the bound would be missed by chance once
    in 1000.
    """
    rng = np.random.default_rng(0)
    hits = [
        bool(change_points(TOKENS[:n], rng.normal(0, 1, n), kind=kind))
        for n in (20, 30, 40)
        for _ in range(100)
    ]
    assert sum(hits) <= binom.isf(1e-3, len(hits), 0.05)


def test_a_jump_is_found_between_its_checkpoints_and_its_interval_covers() -> None:
    """Jumps of twice the noise: intervals (95 %) hold the true place in 200 curves as often as the
    binomial distribution allows.
    """
    found = covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        at = int(rng.integers(8, 32))
        changes = change_points(TOKENS, rng.normal(0, 1, 40) + 3.0 * (np.arange(40) >= at))
        if len(changes) == 1:
            found += 1
            covered += changes[0].low <= np.sqrt(TOKENS[at - 1] * TOKENS[at]) <= changes[0].high
    assert found > 150 and covered >= binom.ppf(1e-3, found, 0.95)
    exact = change_points(TOKENS, np.where(np.arange(40) >= 12, 5.0, 1.0))
    assert [(c.tokens_before, c.tokens_after, c.before, c.after) for c in exact] == [
        pytest.approx((TOKENS[11], TOKENS[12], 1, 5))
    ]


@pytest.mark.parametrize("kind", ["level", "line"])
def test_noise_is_measured_through_what_is_no_noise(kind: str) -> None:
    """Through a plateau and a jump, or a line and a kink; unequal distances in log tokens. The
    median over 200 curves is within 10 % of the truth.
    """
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = np.sort(rng.uniform(0, 40, 60))
        course = 5.0 * (x > 20) if kind == "level" else 3 * x - 2 * np.maximum(x - 20, 0)
        found.append(difference_noise(x, course + rng.normal(0, 0.3, 60), kind))
    # The larger of two medians: of all, and of the later half.
    assert np.median(found) == pytest.approx(0.3, rel=0.1)
    if kind == "line":
        # A quarter of the way: y₁ − ¾ y₀ − ¼ y₂ has a variance of 1 + 9/16 + 1/16.
        one = difference_noise(np.array([0.0, 1.0, 4.0]), np.array([0.0, 1.0, 0.0]), kind)
        assert one == pytest.approx(1.4826 / np.sqrt(26 / 16))


def test_a_kink_is_a_change_of_the_line_not_many_levels() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 40)
    (kink,) = change_points(TOKENS, np.maximum(X - X[20], 0) + noise, kind="line")
    assert kink.low <= TOKENS[20] <= kink.high
    assert kink.slope_before == pytest.approx(0, abs=0.03) and kink.slope_after == pytest.approx(
        1, abs=0.03
    )


def test_short_and_constant_curves_have_none() -> None:
    assert change_points([1.0, 2.0, 3.0], [0.0, 1.0, 5.0]) == []
    assert change_points(TOKENS, np.ones(40)) == []
    (shortest,) = change_points([1.0, 2.0, 4.0, 8.0], [0.0, 0.0, 1.0, 1.0], sigma=0.1)
    assert (shortest.tokens_before, shortest.tokens_after) == (2.0, 4.0)
    with pytest.raises(ValueError, match="rising"):
        change_points([2.0, 1.0], [0.0, 1.0])


def test_a_jump_between_far_checkpoints_is_found_there() -> None:
    curve = made_up.induction()
    changes = change_points(curve.index.to_numpy() * TOKENS_PER_STEP, curve.to_numpy())
    between = [(c.tokens_before, c.tokens_after) for c in changes]
    assert (512 * TOKENS_PER_STEP, 1000 * TOKENS_PER_STEP) in between


def test_published_induction_jumps_between_steps_512_and_1000() -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published data are not here")
    table = pd.read_csv(PUBLISHED).query("quantity == 'induction_score_max'").sort_values("step")
    for model, curve in table.groupby("model"):
        changes = change_points(curve["step"] * 2_097_152, curve["value"])
        assert any(
            c.tokens_before == 512 * 2_097_152 and c.tokens_after == 1000 * 2_097_152
            for c in changes
        ), model
