"""Samples of emergence points: which gaps hide a rise, and which ends aren't known."""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.statistics.emergence_points import (
    central_interval,
    resolved,
    sample_emergence_points,
)
from circuitwatch.summary.statistics.logistic import curve, fit_logistic


def test_a_rise_between_two_checkpoints_is_their_gap() -> None:
    """Hidden is a rise of which, from 10 % to 90 %, fewer than two checkpoints see anything: log 9
    widths before and after its middle.
    """
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 10, 12))
    hidden = 0
    for _ in range(300):
        middle, width = rng.uniform(0, 10), rng.choice([0.02, 0.1, 0.3])
        point = middle + rng.normal(0, width)
        fit = np.array([[0.0, 1.0, middle, np.log(width)]])
        (left,), (right,) = resolved(fit, np.array([point]), x)
        seen = [at for at in x if middle - np.log(9) * width <= at <= middle + np.log(9) * width]
        if len(seen) >= 2:
            assert left == right == point
            continue
        hidden += 1
        place = min(max(sum(at <= point for at in x) - 1, 0), 10)
        assert (left, right) == (x[place], x[place + 1])
    assert 50 < hidden < 250
    none = resolved(np.array([[0.0, 1.0, 5.0, -9.0]]), np.array([np.inf]), x)
    assert np.isinf(none[0][0]) and np.isinf(none[1][0])


def samples_of(middle: float, threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(0, 10, 30)
    noise = np.random.default_rng(1).normal(0, 0.01, 30)
    y = curve(np.array([0.0, 1.0, middle, 0.0]), x) + noise
    points = sample_emergence_points(x, y, fit_logistic(x, y), threshold, None, None, 100, 0, None)
    assert points.curves.shape == (100, 30) and np.median(points.curves - y) == pytest.approx(
        0, abs=0.01
    )
    return points.left, points.right


def test_half_of_a_rise_is_open_on_the_side_of_a_plateau_that_is_not_seen() -> None:
    """Both plateaus seen: no sample is open. Half of the rise before the first checkpoint: many are
    open to the left and none to the right; after the last: the other way round. A threshold needs
    no plateau.
    """
    left, right = samples_of(5.0, None)
    assert np.isfinite(left).all() and np.isfinite(right).all()
    left, right = samples_of(-0.5, None)
    assert (left == -np.inf).mean() > 0.3 and not (right == np.inf).any()
    left, right = samples_of(10.5, None)
    assert (right == np.inf).mean() > 0.3 and not (left == -np.inf).any()
    left, right = samples_of(8.0, 0.5)
    assert np.isfinite(left).all() and np.median(left) == pytest.approx(8.0, abs=0.1)


def test_no_samples_have_an_empty_interval() -> None:
    assert central_interval(np.empty(0), np.empty(0)) == (np.inf, -np.inf)
