"""Every status and its reason, on curves where it is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.statistics.logistic import LogisticFit
from circuitwatch.summary.statistics.status import (
    AICC_MARGIN,
    EQUAL,
    Emergence,
    read_crossing,
    read_half_rise,
    simpler_model,
)

T = 1e6 * 2.0 ** np.arange(12)
X = np.log(T)
SIGMA = 0.02


def blank(level: float | None) -> Emergence:
    rule = "half rise" if level is None else "threshold"
    return Emergence("never", rule, 12, T[0], T[-1], 0.0, level=0.5 if level is None else level)


def steps(*runs: tuple[float, int]) -> np.ndarray:
    """Values as (value, how often)."""
    return np.repeat([value for value, _ in runs], [count for _, count in runs])


def fit_of(lower: float = 0.0, upper: float = 1.0, **criteria: float) -> LogisticFit:
    """A curve half-way at the seventh checkpoint, far better than simpler ones by default."""
    values = {"aicc_logistic": -100.0, "aicc_constant": 0.0, "aicc_linear": 0.0, "slope": 0.1}
    parameters = np.array([lower, upper, X[6], np.log(0.2)])
    return LogisticFit(parameters, 0.05, **(values | criteria))


@pytest.mark.parametrize(
    ("values", "status", "reason", "after"),
    [
        (steps((0.1, 5), (0.9, 7)), "emerged", None, 5),
        (steps((0.9, 12)), "already", "above at the first checkpoint", None),
        (steps((0.1, 12)), "never", "below the threshold", None),
        (steps((0.1, 5), (0.9, 1), (0.1, 6)), "never", "below the threshold", None),
        (steps((0.1, 11), (0.9, 1)), "ambiguous", "last checkpoint only", 11),
        (steps((0.1, 4), (0.9, 2), (0.1, 2), (0.9, 4)), "emerged", None, 8),
        (
            steps((0.1, 3), (0.9, 2), (0.1, 2), (0.9, 1), (0.1, 2), (0.9, 1), (0.1, 1)),
            "transient",
            "rose and fell",
            3,
        ),
        (steps((0.1, 3), (0.9, 4), (0.1, 5)), "transient", "rose and fell", 3),
        (steps((0.9, 4), (0.1, 8)), "transient", "rose and fell", None),
        (steps((0.48, 3), (0.51, 4), (0.48, 5)), "ambiguous", "about the threshold", None),
        (
            steps((0.1, 5), (0.9, 1), (0.1, 1), (0.9, 1), (0.1, 1), (0.9, 1), (0.1, 1), (0.9, 1)),
            "ambiguous",
            "not steady",
            None,
        ),
    ],
)
def test_a_threshold(
    values: np.ndarray, status: str, reason: str | None, after: int | None
) -> None:
    """after: the checkpoint after the crossing, if there is one."""
    found = read_crossing(blank(0.5), T, X, values, 0.5, SIGMA)
    assert (found.status, found.reason) == (status, reason)
    if after is None:
        assert found.crossing is None and found.crossing_high is None
    else:
        assert (found.crossing_low, found.crossing_high) == (T[after - 1], T[after])
        share = (0.5 - values[after - 1]) / (values[after] - values[after - 1])
        assert found.crossing == pytest.approx(T[after - 1] * 2**share)


def test_a_fall_of_no_more_than_noise_is_none() -> None:
    """Three deviations of it are hovering about the threshold, more is a fall."""
    values = steps((0.48, 3), (0.54, 4), (0.48, 5))
    fall = 0.54 - 0.48
    hovers = read_crossing(blank(0.5), T, X, values, 0.5, fall / 2.99)
    fallen = read_crossing(blank(0.5), T, X, values, 0.5, fall / 3.01)
    assert (hovers.reason, fallen.reason) == ("about the threshold", "rose and fell")


@pytest.mark.parametrize(
    ("values", "fit", "chance", "status", "reason"),
    [
        (steps((0.0, 6), (1.0, 6)), fit_of(), None, "emerged", None),
        (
            steps((0.0, 4), (1.0, 4), (0.0, 4)),
            fit_of(),
            None,
            "transient",
            "rose and fell",
        ),
        (
            steps((0.0, 6), (1.0, 6)),
            fit_of(aicc_linear=-105.0),
            None,
            "ambiguous",
            "straight line",
        ),
        (steps((0.0, 12)), fit_of(aicc_constant=-105.0), None, "never", "constant"),
        (
            steps((0.0, 12)),
            fit_of(aicc_linear=-105.0, slope=-0.1),
            None,
            "never",
            "no rise",
        ),
        (steps((1.0, 6), (0.0, 6)), fit_of(1.0, 0.0), None, "never", "no rise"),
        (
            steps((0.3, 12)),
            fit_of(aicc_constant=-105.0),
            0.0,
            "already",
            "above at the first checkpoint",
        ),
        (steps((0.05, 12)), fit_of(aicc_constant=-105.0), 0.0, "never", "constant"),
        (steps((-2.0, 6), (-1.0, 6)), fit_of(-2.0, -1.0), 0.0, "never", "not above chance"),
        (steps((1.0, 12)), fit_of(), None, "already", "above at the first checkpoint"),
        (
            steps((0.0, 6), (1.0, 2), (0.0, 1), (1.0, 1), (0.0, 1), (1.0, 1)),
            fit_of(),
            None,
            "ambiguous",
            "not steady",
        ),
    ],
)
def test_half_a_rise(
    values: np.ndarray, fit: LogisticFit, chance: float | None, status: str, reason: str | None
) -> None:
    found = read_half_rise(blank(None), T, X, values, fit, np.empty(0), chance, SIGMA)
    assert (found.status, found.reason) == (status, reason)


def test_what_a_rise_reaches_must_clear_chance_in_nearly_all_samples() -> None:
    """In more than 97.5 % of them."""
    values = steps((0.0, 6), (1.0, 6))
    for below, reason in ((2, None), (4, "not above chance")):
        uppers = np.where(np.arange(101) < below, -0.5, 1.0)
        found = read_half_rise(blank(None), T, X, values, fit_of(), uppers, 0.0, SIGMA)
        assert found.reason == reason, below


def test_a_peak_has_its_crossing_on_the_way_up() -> None:
    values = steps((0.0, 4), (1.0, 4), (0.0, 4))
    found = read_half_rise(blank(None), T, X, values, fit_of(), np.empty(0), None, SIGMA)
    assert (found.crossing_low, found.crossing_high) == (T[3], T[4]) and found.level == 0.5


def test_a_rise_that_goes_on_is_one_so_far() -> None:
    """Nine tenths of it must be done at the last checkpoint."""
    for end, rising in ((0.89, True), (0.91, False)):
        middle = X[-1] - 0.2 * np.log(end / (1 - end))
        parameters = np.array([0.0, 1.0, middle, np.log(0.2)])
        fit = LogisticFit(parameters, 0.05, -100.0, 0.0, 0.0, 0.1)
        values = 1 / (1 + np.exp(-(X - middle) / 0.2))
        values[-2:] = 0.9  # two checkpoints above the half-way level, so that a crossing holds
        found = read_half_rise(blank(None), T, X, values, fit, np.empty(0), None, SIGMA)
        assert found.status == "emerged" and ("still rising" in found.note) == rising


def test_which_simpler_model_fits_as_well() -> None:
    """A simpler one must be worse by more than the margin, and a line better than a constant by
    more than EQUAL.
    """
    assert (AICC_MARGIN, EQUAL) == (6.0, 2.0)
    for constant, line, expected in (
        (6.1, 6.1, None),
        (6.0, 20.0, "constant"),
        (20.0, 6.0, "straight line"),
        (2.0, 0.0, "constant"),
        (2.1, 0.0, "straight line"),
    ):
        fit = fit_of(aicc_logistic=0.0, aicc_constant=constant, aicc_linear=line)
        assert simpler_model(fit) == expected
