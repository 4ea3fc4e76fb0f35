"""A jump that the metric makes, as Schaeffer et al.

(2304.15004) describe it, against one of the model's own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from circuitwatch.summary.statistics.lags import Curve
from circuitwatch.summary.statistics.metrics import compare_metrics

TOKENS = np.geomspace(1e7, 1e12, 50)
X = np.log(TOKENS)


def metrics(log_prob: np.ndarray, *, cut: float, seed: int = 0) -> tuple[Curve, Curve]:
    """A log-probability, and whether it passes a cut (as the right answer passes the runner-up),
    for 100 prompts.
    """
    rng = np.random.default_rng(seed)
    smooth = log_prob[:, None] + rng.normal(0, 0.1, 100) + rng.normal(0, 0.1, (X.size, 100))
    right = (smooth > cut).astype(float)
    return (
        Curve(TOKENS, smooth.mean(axis=1), per_prompt=pd.DataFrame(smooth)),
        Curve(TOKENS, right.mean(axis=1), per_prompt=pd.DataFrame(right)),
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_jump_made_by_the_metric_is_warned_of(seed: int) -> None:
    found = compare_metrics(*metrics(-3 + 3 * expit((X - np.log(3e9)) / 1.1), cut=-1.5, seed=seed))
    assert (
        found.finding == "only the thresholded one jumps"
        and "thresholded metric alone" in found.warning
    )
    assert found.width_continuous == pytest.approx(2 * np.log(9) * 1.1, rel=0.25)
    assert found.ratio_low < found.ratio < found.ratio_high < 0.5
    assert found.ratio == pytest.approx(found.width_thresholded / found.width_continuous)
    assert f"takes {1 / found.ratio:.1f} times as long" in found.warning


@pytest.mark.parametrize("seed", range(3))
def test_a_steady_line_beside_a_jump_is_warned_of(seed: int) -> None:
    found = compare_metrics(*metrics(-3 + 3 * (X - X[0]) / np.ptp(X), cut=-1.5, seed=seed))
    assert found.finding == "only the thresholded one jumps"
    # 80 % of the line lies between its tenth and its ninth tenth.
    assert found.width_continuous == pytest.approx(0.8 * np.ptp(X), rel=0.15)
    assert found.continuous.shape == "straight line"


@pytest.mark.parametrize("seed", range(3))
def test_a_jump_of_the_model_is_in_both(seed: int) -> None:
    """The threshold makes it shorter still, which is no reason for a warning."""
    found = compare_metrics(*metrics(-4 + 4 * expit((X - np.log(3e9)) / 0.25), cut=-2.0, seed=seed))
    assert found.finding != "only the thresholded one jumps" and found.warning == ""
    assert found.width_continuous == pytest.approx(2 * np.log(9) * 0.25, rel=0.25)


def test_where_nothing_rises_nothing_is_said() -> None:
    found = compare_metrics(*metrics(np.full(X.size, -4.0), cut=-2.0, seed=1))
    assert found.finding == "neither rises" and found.ratio is None and found.warning == ""
