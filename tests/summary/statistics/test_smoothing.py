"""Local regression against a plain loop, and what it finds of noise against what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.statistics.smoothing import (
    WINDOWS,
    autocorrelation,
    autoregressive,
    hidden_by_neighbours,
    local_lines,
    noise_size,
    off_neighbours,
    smooth_curve,
    whitened,
    without_odd,
)

X = np.sort(np.random.default_rng(0).uniform(0, 10, 40))


def logistic(x: np.ndarray, middle: float = 5.0, width: float = 0.4) -> np.ndarray:
    return 1 / (1 + np.exp(-(x - middle) / width))


def test_windows_are_lines_by_least_squares() -> None:
    y = np.random.default_rng(1).normal(size=X.size)
    found = local_lines(X) @ y
    for h, values in zip(WINDOWS, found, strict=False):
        for k in range(X.size):
            near = slice(max(k - h, 0), k + h + 1)
            if h == 0:
                expected = y[k]
            else:
                slope, intercept = np.polyfit(X[near], y[near], 1)
                expected = intercept + slope * X[k]
            assert values[k] == pytest.approx(expected, abs=1e-9)


def test_a_straight_line_is_kept_and_noise_is_taken_off() -> None:
    line = 3 - 0.5 * X
    assert smooth_curve(X, line).values == pytest.approx(line, abs=1e-9)
    rough = line + np.random.default_rng(2).normal(0, 0.1, X.size)
    left = smooth_curve(X, rough).values - line
    assert np.sqrt((left**2).mean()) < 0.06


def test_a_jump_is_kept() -> None:
    jump = np.where(X > 5, 1.0, 0.0) + np.random.default_rng(3).normal(0, 0.02, X.size)
    smooth = smooth_curve(X, jump).values
    at = int(np.flatnonzero(X > 5)[0])
    assert smooth[at - 1] < 0.1 and smooth[at] > 0.9


@pytest.mark.parametrize("shape", ["flat", "rise", "jump", "line"])
def test_the_size_of_the_noise_whatever_the_trend(shape: str) -> None:
    """Over 60 curves within 12 % of 0.1 in the mean."""
    trend = {"flat": 0 * X, "rise": logistic(X), "jump": 1.0 * (X > 5), "line": X / 5}[shape]
    found = [
        np.sqrt((noise_size(X, trend + np.random.default_rng(k).normal(0, 0.1, 40)) ** 2).mean())
        for k in range(60)
    ]
    assert np.mean(found) == pytest.approx(0.1, rel=0.12)


def test_noise_that_grows_with_the_rise() -> None:
    rise, found = logistic(X), []
    for k in range(60):
        noise = np.random.default_rng(k).normal(0, 1, 40) * (0.01 + 0.09 * rise)
        found.append(noise_size(X, rise + noise)[[0, -1]])
    first, last = np.mean(found, axis=0)
    assert first < 0.04 and last == pytest.approx(0.1, rel=0.15)


def test_a_constant_curve_has_no_noise() -> None:
    smooth = smooth_curve(X, np.full(40, 0.3))
    assert smooth.values == pytest.approx(np.full(40, 0.3)) and smooth.noise.max() < 1e-9
    assert smooth.alike == 0.0


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_autocorrelation_about_a_line(rho: float) -> None:
    """Over 100 curves within 0.06 of the truth in the mean; independent noise comes out a little
    above 0, as it can't come out below. The plain estimate from the residuals is too small by 0.1
    and more at 0.8.
    """
    x = np.arange(60.0)
    design = np.stack([np.ones(60), x], axis=1)
    hat = design @ np.linalg.pinv(design)
    found, plain = [], []
    for k in range(100):
        noise = autoregressive(np.random.default_rng(k).normal(size=(60, 1)), rho)[:, 0]
        rest = noise - hat @ noise
        found.append(autocorrelation(rest, hat, np.ones(60)))
        plain.append(rest[1:] @ rest[:-1] / (rest @ rest))
    assert np.mean(found) == pytest.approx(rho, abs=0.07)
    if rho == 0.8:
        assert np.mean(plain) < 0.72


def test_autoregressive_noise_is_that() -> None:
    drawn = autoregressive(np.random.default_rng(0).normal(size=(50, 4000)), 0.7)
    assert drawn.std(axis=1) == pytest.approx(np.ones(50), abs=0.05)
    assert np.mean(drawn[1:] * drawn[:-1]) == pytest.approx(0.7, abs=0.02)
    assert np.mean(drawn[3:] * drawn[:-3]) == pytest.approx(0.7**3, abs=0.02)


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_how_much_of_alike_noise_neighbours_hide(rho: float) -> None:
    """What the distances from neighbours say, times the factor, is the noise: within 12 %."""
    drawn = autoregressive(np.random.default_rng(0).normal(size=(60, 200)), rho)
    x = np.arange(60.0)
    sizes = [np.sqrt((noise_size(x, drawn[:, k]) ** 2).mean()) for k in range(200)]
    assert np.mean(sizes) * hidden_by_neighbours(rho) == pytest.approx(1.0, rel=0.12)


def test_white_noise_is_hardly_alike_and_alike_noise_is() -> None:
    """Of 40 curves each: the medians lie apart, though single curves can't be told."""
    rise = logistic(X)
    found = {}
    for rho in (0.0, 0.9):
        noise = autoregressive(np.random.default_rng(4).normal(size=(40, 40)), rho)
        found[rho] = np.median(
            [smooth_curve(X, rise + 0.05 * noise[:, k]).alike for k in range(40)]
        )
    assert found[0.0] < 0.25 and found[0.9] > found[0.0] + 0.15


def test_one_odd_checkpoint_is_set_aside_and_a_dip_is_not() -> None:
    rise = logistic(X) + np.random.default_rng(5).normal(0, 0.01, 40)
    odd = rise.copy()
    odd[30] = 0.2
    assert without_odd(X, odd)[30] == pytest.approx(rise[30], abs=0.05)
    np.testing.assert_array_equal(without_odd(X, rise), rise)
    dip = rise.copy()
    dip[29:32] -= [0.2, 0.6, 0.2]
    np.testing.assert_array_equal(without_odd(X, dip), dip)


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_whitening_undoes_autoregressive_noise(rho: float) -> None:
    own = np.random.default_rng(2).normal(size=(30, 5))
    back = whitened(autoregressive(own, rho).T, rho).T
    np.testing.assert_allclose(back, np.sqrt(1 - rho**2) * own, atol=1e-12)


def test_a_random_walks_first_value_says_nothing() -> None:
    assert whitened(np.array([5.0, 6.0, 4.0]), 1.0).tolist() == [0.0, 1.0, -2.0]


def test_distances_from_neighbours_are_none_on_a_line_and_of_the_noises_size() -> None:
    np.testing.assert_allclose(off_neighbours(X, 3 * X - 2), 0, atol=1e-9)
    # The line from (0, 0) to (4, 4) is 1 at 1. Independent noise of deviation σ leaves the point
    # less its interpolation with variance σ²(1 + (3/4)² + (1/4)²), which is divided out.
    apart = off_neighbours(np.array([0.0, 1.0, 4.0]), np.array([0.0, 3.0, 4.0]))
    assert apart.tolist() == [pytest.approx(2 / np.sqrt(1 + 0.75**2 + 0.25**2))]
    noise = np.random.default_rng(3).normal(size=(5000, X.size))
    found = np.std([off_neighbours(X, row) for row in noise], axis=0)
    np.testing.assert_allclose(found, 1, rtol=0.05)  # 5,000 draws: standard error 1 %
