"""Samples of emergence points: of a smooth curve and of a fitted one, and the widths of rises."""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.statistics.crossings import held_crossing
from circuitwatch.summary.statistics.emergence_points import (
    Noise,
    central_interval,
    half_way,
    points_of,
    rise_widths,
    sample_fitted,
    sample_smooth,
)
from circuitwatch.summary.statistics.logistic import curve, fit_logistic
from circuitwatch.summary.statistics.smoothing import smooth_curve

X = np.linspace(0, 10, 30)
NOISE = Noise(None, None, 300, 0, None)


def values(seed: int = 1, noise: float = 0.03) -> np.ndarray:
    rise = curve(np.array([0.0, 1.0, 5.0, np.log(0.6)]), X)
    return rise + np.random.default_rng(seed).normal(0, noise, X.size)


def test_smooth_samples_vary_as_the_smooth_curves_of_other_noise_do() -> None:
    """Their standard deviation at each checkpoint, beside that over 300 curves with fresh noise and
    the same windows: within a third, half of the checkpoints within a sixth, as the size of the
    noise is known from 30 checkpoints.
    """
    smooth = smooth_curve(X, values())
    sampled = sample_smooth(X, smooth, NOISE)
    assert sampled.mean(axis=0) == pytest.approx(smooth.values, abs=0.01)
    fresh = np.array([smooth.matrix @ values(seed) for seed in range(300)]).std(axis=0)
    ratio = np.abs(np.log(sampled.std(axis=0) / fresh))
    assert np.median(ratio) < np.log(1.35)


def test_both_kinds_of_samples_are_about_the_crossing() -> None:
    smooth = smooth_curve(X, values())
    points = points_of(X, sample_smooth(X, smooth, NOISE), np.full(300, 0.5), None)
    assert (points.left <= points.right).all()
    assert np.median((points.left + points.right) / 2) == pytest.approx(5.0, abs=0.1)
    assert points.width.size == 0
    y = values()
    fitted = sample_fitted(X, y, fit_logistic(X, y), 0.5, 0.0, NOISE)
    assert np.median(fitted) == pytest.approx(5.0, abs=0.1) and fitted.std() < points.left.std()
    # Noise that is alike moves the crossing by more.
    alike = sample_fitted(X, y, fit_logistic(X, y), 0.5, 0.8, NOISE)
    assert alike.std() > 1.2 * fitted.std()


def test_half_way_is_between_the_ends_that_were_seen() -> None:
    parameters = np.array([0.0, 1.0, 9.0, 0.0])
    last = 1 / (1 + np.exp(-1.0))
    assert half_way(parameters, X) == pytest.approx(last / 2, abs=1e-3)


def test_the_width_of_a_logistic_rise() -> None:
    """From 10 % to 90 % it takes 2 log 9 widths."""
    fine = np.linspace(0, 10, 2000)
    rise = curve(np.array([[0.0, 2.0, 5.0, np.log(0.6)], [0.0, 2.0, 6.0, np.log(0.3)]]), fine)
    places = held_crossing(rise, np.array([1.0, 1.0]))
    found = rise_widths(fine, rise, np.zeros(2), np.full(2, 2.0), places)
    assert found == pytest.approx(2 * np.log(9) * np.array([0.6, 0.3]), rel=0.01)
    none = rise_widths(fine, rise, np.zeros(2), np.full(2, 9.0), np.array([0, 2000]))
    assert np.isnan(none).all()


def test_prompts_shift_a_whole_curve() -> None:
    """Equal draws of prompts at every checkpoint, and the same whenever they are asked for."""
    prompts = np.random.default_rng(0).normal(0, 1, 20) + np.zeros((30, 1))
    noise = Noise(prompts, None, 50, 3, None)
    shifts = noise.shifts(30)
    assert np.ptp(shifts, axis=1).max() < 1e-12 and shifts[:, 0].std() > 0.1
    np.testing.assert_array_equal(shifts, noise.shifts(30))
    assert noise.errors is None and Noise(None, prompts[:, 0], 5, 0, None).errors is not None


def test_no_samples_have_an_empty_interval() -> None:
    assert central_interval(np.empty(0), np.empty(0)) == (np.inf, -np.inf)
