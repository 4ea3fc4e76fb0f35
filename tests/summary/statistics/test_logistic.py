"""The fits against SciPy's, and the bootstrap's noise against what went into a curve."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from circuitwatch.summary.statistics.logistic import curve, fit_logistic, refit, robust_line
from circuitwatch.summary.statistics.resampling import checkpoint_noise, prompt_shifts

X = np.linspace(0, 10, 40)


def noisy(seed: int, sigma: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return curve(
        np.array([0.1, 1.0, rng.uniform(3, 7), np.log(rng.uniform(0.3, 1))]), X
    ) + rng.normal(0, sigma, X.size)


@pytest.mark.parametrize("seed", range(8))
def test_fits_are_as_good_as_scipys(seed: int) -> None:
    """The loss of the fit, and of a refit from another curve's, is at most 0.1 % above the one
    SciPy's solver reaches from the true parameters.
    """
    y = noisy(seed)
    fit = fit_logistic(X, y)
    oracle = least_squares(
        lambda p: curve(p, X) - y,
        [0.1, 1.0, fit.middle, fit.parameters[3]],
        loss="soft_l1",
        f_scale=fit.scale,
    )
    other = refit(X, np.stack([y, noisy(seed + 100)]), fit_logistic(X, noisy(seed + 1)), steps=100)[
        0
    ]

    def loss(p: np.ndarray) -> float:
        return (
            float(
                (fit.scale**2 * 2 * (np.sqrt(1 + ((curve(p, X) - y) / fit.scale) ** 2) - 1)).sum()
            )
            / 2
        )

    assert loss(fit.parameters) <= oracle.cost * 1.001
    # The refit has the other curve's scale of the loss, so that only its place is compared.
    assert other[2] == pytest.approx(fit.middle, abs=0.1)


def test_robust_lines_are_scipys() -> None:
    rng = np.random.default_rng(0)
    y = 1 + 0.3 * X + rng.standard_t(2, X.size) * 0.1
    found, cost = robust_line(np.stack([np.ones_like(X), X], axis=1), y, 0.1)
    oracle = least_squares(lambda p: p[0] + p[1] * X - y, [0.0, 0.0], loss="soft_l1", f_scale=0.1)
    np.testing.assert_allclose(found, oracle.x, atol=1e-4)
    assert cost == pytest.approx(2 * oracle.cost, rel=1e-6)


def test_odd_checkpoints_do_not_move_the_fit() -> None:
    y = noisy(3, 0.02)
    spoiled = y.copy()
    spoiled[[30, 36]] = 0.0
    assert fit_logistic(X, spoiled).middle == pytest.approx(fit_logistic(X, y).middle, abs=0.1)


def test_the_noise_drawn_is_the_noise_put_in() -> None:
    """Standard deviation of the noise drawn at the plateaus, median over 40 curves, within 10 % of
    the truth: 0.01 before and 0.06 after the rise.
    """
    before, after = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = curve(np.array([0.0, 1.0, 5.0, np.log(0.4)]), X)
        y = truth + rng.normal(0, 1, X.size) * (0.01 + 0.05 * truth)
        drawn = checkpoint_noise(X, y, fit_logistic(X, y), 400, rng)
        before.append(np.median(drawn[:, :10].std(axis=0)))
        after.append(np.median(drawn[:, -10:].std(axis=0)))
    assert np.median(after) == pytest.approx(0.06, rel=0.1)
    assert np.median(before) == pytest.approx(0.01, rel=0.3)


def test_noise_that_prompts_explain_is_not_counted_twice() -> None:
    """With fresh noise of prompts alone, the bootstrap's variance at the plateau is that of a mean
    over prompts, within 30 %.
    """
    ratios = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        prompts = curve(np.array([0.0, 1.0, 5.0, np.log(0.4)]), X)[:, None] + rng.normal(
            0, 0.5, (X.size, 50)
        )
        y = prompts.mean(axis=1)
        noise = checkpoint_noise(
            X, y, fit_logistic(X, y), 300, rng, prompts=prompts
        ) + prompt_shifts(prompts, 300, rng)
        ratios.append(noise[:, -10:].var() / (0.25 / 50))
    assert np.median(ratios) == pytest.approx(1.0, abs=0.3)
