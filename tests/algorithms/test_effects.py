"""Intervals over prompts: their coverage in simulations, and shares and ratios on made-up
effects.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from circuitwatch.algorithms.effects import Effects, ratio_interval
from circuitwatch.heads.intervals import expanded_percentiles

SAMPLES, SHARE = 4000, 0.97


def effects_of_prompts(kind: str, n_prompts: int, rng: np.random.Generator) -> Effects:
    """Some heads and all of them, whose effects are in the ratio SHARE on average over prompts, and
    vary together from prompt to prompt.
    """
    every, noise = {
        "normal": lambda: (rng.normal(1, 0.5, n_prompts), rng.normal(0, 0.15, n_prompts)),
        "skewed": lambda: (rng.gamma(1.5, 1, n_prompts), 0.3 * (rng.gamma(1, 1, n_prompts) - 1)),
        "few kinds": lambda: (
            rng.choice([0.4, 0.8, 1.6], n_prompts),
            rng.choice([-0.1, 0, 0.1], n_prompts),
        ),
    }[kind]()
    unit = 1.5 * np.abs(every) + rng.normal(1, 0.2, n_prompts)
    return Effects("", ["some", "every"], -np.stack([SHARE * every + noise, every]), unit)


@pytest.mark.parametrize("n_prompts", [16, 64])
@pytest.mark.parametrize("kind", ["normal", "skewed", "few kinds"])
def test_the_interval_of_a_ratio_near_1_covers_it(kind: str, n_prompts: int) -> None:
    """In 92 to 98 % of 4000 samples, whose coverage has a standard error of 0.35 %.

    None is clipped.
    """
    rng, covered, above = np.random.default_rng(n_prompts), 0, 0
    for _ in range(SAMPLES):
        ratios = effects_of_prompts(kind, n_prompts, rng).ratios("every", min_effect=0.02)
        assert ratios is not None
        value, low, high = ratios["some"]
        covered += low <= SHARE <= high
        above += value > 1
    assert 0.92 <= covered / SAMPLES <= 0.98
    assert above > 0


def test_the_jackknife_is_that_of_a_mean_where_the_denominator_is_constant() -> None:
    """Then the ratio is a mean, and the interval Student's: mean ± t · s / √n."""
    values = np.random.default_rng(0).normal(-0.3, 1, (2, 9))
    low, high = ratio_interval(values, np.full(9, 2.0))
    expected = stats.t.interval(0.95, 8, values.mean(1) / 2, stats.sem(values / 2, axis=1))
    np.testing.assert_allclose([low, high], expected)


def test_the_jackknife_equals_a_loop_over_prompts_left_out() -> None:
    rng = np.random.default_rng(1)
    above, below = rng.normal(1, 1, 7), rng.gamma(3, 1, 7)
    ratios = [np.delete(above, i).mean() / np.delete(below, i).mean() for i in range(7)]
    error = np.sqrt(6 / 7 * sum((ratio - np.mean(ratios)) ** 2 for ratio in ratios))
    low, high = ratio_interval(above, below)
    assert (low + high) / 2 == pytest.approx(above.mean() / below.mean())
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 6) * error)


def test_the_interval_is_wider_than_percentiles_where_prompts_are_few() -> None:
    """The tails are Φ(−t √(n / (n − 1))), the nearer to 2.5 % the more prompts there are."""
    uniform = np.linspace(0, 1, 100_001)
    tails = [float(expanded_percentiles(uniform, n)[0]) for n in (5, 20, 100, 10_000)]
    assert tails == sorted(tails) and tails[-1] == pytest.approx(0.025, abs=1e-4)
    assert tails[0] == pytest.approx(0.00095, abs=1e-4)  # t(4) 2.776 · √1.25 = 3.104
    for n in (5, 20):
        low, high = expanded_percentiles(uniform, n)
        assert low + high == pytest.approx(1)


def test_there_is_no_ratio_of_an_effect_that_is_not_sure() -> None:
    """Nothing to be shared: too small, the wrong way, or 0 within its interval."""
    n = 20
    wide = np.random.default_rng(0).normal(-0.1, 1, n)
    for every in (np.full(n, -0.01), np.full(n, 0.5), np.zeros(n), wide):
        effects = Effects("", ["some", "every"], np.stack([every / 2, every]), np.ones(n))
        assert effects.ratios("every", min_effect=0.02) is None
    effects = Effects(
        "", ["some", "every"], np.stack([np.full(n, -0.6), np.full(n, -0.5)]), np.ones(n)
    )
    assert effects.ratios("every", min_effect=0.02) == {
        "some": pytest.approx((1.2, 1.2, 1.2)),
        "every": pytest.approx((1, 1, 1)),
    }


def test_some_of_the_effects() -> None:
    effects = Effects("logits", ["a", "b", "c"], np.arange(6.0).reshape(3, 2), np.ones(2))
    assert effects.only(["c", "a"]).senders == ["a", "c"]
    assert effects.only(["c", "a"]).mean.tolist() == effects.mean[[0, 2]].tolist()


def test_a_share_of_noise_lies_within_its_interval() -> None:
    """200 heads that do nothing, beside one that does: their sizes add up all the same, to what
    they are and not to what resamples make of them.
    """
    rng = np.random.default_rng(3)
    each = rng.normal(0, 1, (201, 32))
    each[0] -= 20
    senders = [f"a{i}.h0" for i in range(201)]
    effects = Effects("logits", senders, each, np.full(32, 20.0))
    share = effects.share(senders[1:])
    assert share is not None
    value, low, high = share
    sizes = np.abs(each.mean(1))
    assert value == pytest.approx(sizes[1:].sum() / sizes.sum())
    assert low < value < high and value > 0.5
    weights = rng.multinomial(32, np.full(32, 1 / 32), 500)
    resampled = np.abs(weights @ each.T)
    assert np.quantile(resampled[:, 1:].sum(1) / resampled.sum(1), 0.025) > value
    of_one = effects.share(senders[:1])
    assert of_one is not None and of_one[0] == pytest.approx(1 - value)
