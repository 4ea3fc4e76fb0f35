"""Every status and its reason, on curves where it is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.statistics.logistic import LogisticFit
from circuitwatch.summary.statistics.status import (
    AICC_MARGIN,
    EQUAL,
    LAST_ONLY,
    LOST,
    Emergence,
    Seen,
    describe,
    fallen_from,
    overshoot,
    read_half_rise,
    read_threshold,
)

T = 1e6 * 2.0 ** np.arange(12)
X = np.log(T)
SIGMA = 0.02
NONE = np.empty((0, 12))


def seen(values: np.ndarray, sigma: float = SIGMA, samples: np.ndarray = NONE) -> Seen:
    return Seen(T, X, values, values, samples, sigma)


def blank(level: float | None, values: np.ndarray, beyond: float = 2.0) -> Emergence:
    rule = "half rise" if level is None else "threshold"
    lower, upper = float(values[0]), float(values[-1])
    level = (lower + upper) / 2 if level is None else level
    known = {"level": level, "lower": lower, "upper": upper, "beyond_chance": beyond}
    return Emergence("never", rule, 12, T[0], T[-1], upper, **known)


def steps(*runs: tuple[float, int]) -> np.ndarray:
    """Values as (value, how often)."""
    return np.repeat([value for value, _ in runs], [count for _, count in runs])


@pytest.mark.parametrize(
    ("values", "status", "reason", "after"),
    [
        (steps((0.1, 5), (0.9, 7)), "emerged", None, 5),
        (steps((0.9, 12)), "already", "above at the first checkpoint", None),
        (steps((0.1, 12)), "never", "below the threshold", None),
        (steps((0.1, 5), (0.9, 1), (0.1, 6)), "never", "below the threshold", None),
        (steps((0.1, 11), (0.9, 1)), "emerged", None, 11),
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
            steps((0.1, 5), (0.9, 1), (0.1, 1), (0.9, 1), (0.1, 1), (0.9, 2), (0.1, 1)),
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
    found = read_threshold(blank(0.5, values), seen(values), 0.5)
    assert (found.status, found.reason) == (status, reason)
    if after is None:
        assert found.crossing is None and found.crossing_high is None
    else:
        assert (found.crossing_low, found.crossing_high) == (T[after - 1], T[after])
        share = (0.5 - values[after - 1]) / (values[after] - values[after - 1])
        assert found.crossing == pytest.approx(T[after - 1] * 2**share)
    assert (LAST_ONLY in found.note) == (after == 11)


def test_a_fall_of_no_more_than_noise_is_none() -> None:
    """Three deviations of it are hovering about the threshold, more is a fall."""
    values = steps((0.48, 3), (0.54, 4), (0.48, 5))
    fall = 0.54 - 0.48
    hovers = read_threshold(blank(0.5, values), seen(values, fall / 2.99), 0.5)
    fallen = read_threshold(blank(0.5, values), seen(values, fall / 3.01), 0.5)
    assert (hovers.reason, fallen.reason) == ("about the threshold", "rose and fell")


@pytest.mark.parametrize(
    ("values", "beyond", "chance", "status", "reason"),
    [
        (steps((0.0, 6), (1.0, 6)), 2.0, None, "emerged", None),
        (steps((0.0, 11), (1.0, 1)), 2.0, None, "emerged", None),
        (steps((0.0, 4), (1.0, 4), (0.0, 4)), 2.0, None, "transient", "rose and fell"),
        (steps((0.0, 12)), 0.0, None, "never", "no rise"),
        (steps((1.0, 6), (0.0, 6)), 2.0, None, "never", "no rise"),
        (steps((0.3, 12)), 0.0, 0.0, "already", "above at the first checkpoint"),
        (steps((0.3, 6), (0.33, 6)), 0.5, 0.0, "already", "above at the first checkpoint"),
        (steps((0.3, 6), (0.1, 6)), 0.5, 0.0, "never", "no rise"),
        (steps((0.05, 12)), 0.0, 0.0, "never", "no rise"),
        (steps((-2.0, 6), (-1.0, 6)), 2.0, 0.0, "never", "not above chance"),
        (
            steps((0.0, 6), (1.0, 2), (0.0, 1), (1.0, 1), (0.0, 1), (1.0, 1)),
            2.0,
            None,
            "emerged",
            None,
        ),
        (
            steps((0.0, 5), (1.0, 1), (0.0, 1), (1.0, 1), (0.0, 1), (1.0, 3)),
            2.0,
            None,
            "emerged",
            None,
        ),
        (
            steps((0.0, 5), (1.0, 2), (0.0, 1), (1.0, 1), (0.0, 2), (0.6, 1)),
            2.0,
            None,
            "emerged",
            None,
        ),
    ],
)
def test_half_a_rise(
    values: np.ndarray, beyond: float, chance: float | None, status: str, reason: str | None
) -> None:
    found = read_half_rise(blank(None, values, beyond), seen(values), chance)
    assert (found.status, found.reason) == (status, reason)


def test_a_rise_through_noise_that_few_checkpoints_leave_uncertain() -> None:
    """Not clearly above the noise, but beyond what wandering gives and most of the way up."""
    values = steps((0.0, 6), (1.0, 6))
    assert read_half_rise(blank(None, values, 2.0), seen(values, 1.0), None).status == "emerged"
    assert read_half_rise(blank(None, values, 0.3), seen(values, 1.0), None).reason == "no rise"


def test_what_a_rise_reaches_must_clear_chance_in_nearly_all_samples() -> None:
    """In more than 97.5 % of them."""
    values = steps((0.0, 6), (1.0, 6))
    for below, reason in ((2, None), (4, "not above chance")):
        samples = np.tile(values, (101, 1))
        samples[:below, -1] = -0.5
        found = read_half_rise(blank(None, values), seen(values, samples=samples), 0.0)
        assert found.reason == reason, below


def test_a_peak_has_its_crossing_on_the_way_up() -> None:
    values = steps((0.0, 4), (1.0, 4), (0.0, 4))
    found = read_half_rise(blank(None, values), seen(values), None)
    assert (found.crossing_low, found.crossing_high) == (T[3], T[4]) and found.level == 0.5


@pytest.mark.parametrize("lost", [0.1, 0.33, 0.44, 0.46, 0.6, 1.0])
def test_what_is_lost_of_a_rise(lost: float) -> None:
    """More than LOST of it has risen and fallen, a tenth or less is nothing, between them it
    overshoots, and half of the way to the highest value is said beside.
    """
    values = steps((0.0, 4), (1.0, 4), (1.0 - lost, 4))
    assert (fallen_from(seen(values)) is not None) == (lost > LOST)
    assert (overshoot(seen(values), 0.0) != "") == (lost > 0.1)
    if lost == 0.33:
        said = overshoot(seen(values), 0.0)
        assert "highest value 1 at 16M tokens" in said and "that at 11.3M tokens" in said
    # Through noise as large as the loss nothing is said.
    assert fallen_from(seen(values, sigma=lost)) is None and not overshoot(seen(values, lost), 0.0)


def test_which_simpler_model_fits_as_well() -> None:
    """A simpler one must be worse by more than the margin, and a line better than a constant by
    more than EQUAL.
    """
    assert (AICC_MARGIN, EQUAL) == (6.0, 2.0)
    for constant, line, expected in (
        (6.1, 6.1, "rise"),
        (6.0, 20.0, "constant"),
        (20.0, 6.0, "straight line"),
        (2.0, 0.0, "constant"),
        (2.1, 0.0, "straight line"),
    ):
        parameters = np.array([0.0, 1.0, X[6], np.log(0.2)])
        assert describe(LogisticFit(parameters, 0.05, 0.0, constant, line, 0.1)) == expected


@pytest.mark.parametrize("alike", [1.0, 2.0])
@pytest.mark.parametrize(("error", "clear"), [(0.32, True), (0.34, False)])
def test_a_rise_is_clear_from_three_errors_of_independent_noise(
    alike: float, error: float, clear: bool
) -> None:
    values = np.linspace(0, 1, 12)
    # Two samples, whose difference of the last from the first has exactly this deviation.
    samples = np.stack([values, values])
    samples[:, -1] += [-error * alike, error * alike]
    curve = Seen(T, X, values, values, samples, SIGMA, alike)
    assert curve.clear(-1, 0) is clear
    assert not curve.clear(0, -1)
