"""What can be said of a curve's emergence, and the status that the observed values give it:
emerged, already, never, transient or ambiguous.

Nothing here rests on where a fitted curve crosses: the fit only says whether a constant or a
straight line does about as well (AICc; Hurvich and Tsai 1989), and where half of the rise is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from circuitwatch.summary.statistics.crossings import (
    CLEAR,
    TAIL,
    Array,
    held_crossing,
    interpolate,
    longest_run,
    rise_and_fall,
)
from circuitwatch.summary.statistics.emergence_points import COVERAGE
from circuitwatch.summary.statistics.logistic import LogisticFit, curve
from circuitwatch.units import format_tokens

Status = Literal["emerged", "already", "never", "transient", "ambiguous"]
Reason = Literal[
    "above at the first checkpoint",
    "below the threshold",
    "no rise",
    "constant",
    "straight line",
    "not above chance",
    "not steadily above chance",
    "not steady",
    "last checkpoint only",
    "about the threshold",
    "rose and fell",
    "low bootstrap support",
    "too few checkpoints",
]
"""Why a curve has another status than `emerged`; `constant` and `straight line` are the simpler
models that fit as well as a rise."""

AICC_MARGIN = 6.0
"""A rise must beat the constant and the straight line by more than this: models within 4 to 7 of
the best have some support left (Burnham and Anderson 2002), and wandering curves without a rise
gain a few points by chance."""
EQUAL = 2.0
"""A straight line must beat the constant by more than this to be called growth."""


@dataclass(frozen=True)
class Emergence:
    """What is known about the point at which a curve rose. Token counts are missing (none) where
    the status doesn't give one.

    Attributes:
        status: `emerged`; `already` (above at the first checkpoint: left-censored there); `never`
            (not by the last one: right-censored there); `transient` (rose and fell); `ambiguous`
            (see the reason).
        rule: `half rise` or `threshold`.
        level: the value that is crossed: the threshold, or half-way between the fitted levels.
        tokens: best estimate of the emergence point: where the fitted curve passes the level, or
            the observed crossing where the fit can't tell (see `interval`).
        low, high: 95 % interval of `tokens`; `high` is missing if it lies beyond the last
            checkpoint.
        crossing: model-free estimate: linear interpolation in log tokens between the two
            checkpoints around the crossing.
        crossing_low, crossing_high: those two checkpoints.
        fitted: where the fitted curve crosses the level, if it does among the checkpoints.
        lower, upper: the fitted levels before and after the rise; of a curve that falls as a model
            learns those before and after the fall, in the curve's own sign.
        width, risen: the fitted width of the rise, in natural-log tokens, and the token count at
            which 90 % of it is done (it may lie beyond the last checkpoint).
        interval: what `low` and `high` rest on: `fit`, the bootstrap of the fitted curve;
            `checkpoints`, the checkpoints around the crossing, where the rise is hidden between two
            of them or the curve's shape doesn't suit the data; `both` covers the two, where the
            observed crossing lies outside of the fit's interval. `fit` covers the truth 95 times in
            100 for a curve of this shape; the other two more often.
        final: the value at the last checkpoint.
        bootstrap_support: share of bootstrap samples in which a crossing holds.
        n, first_tokens, last_tokens: number of checkpoints, and the tokens of the first and the
            last.
        aicc_*: Akaike's criterion (small-sample) of the three models; smaller is better.
        reason: why it has not emerged; none where it has.
        note: what a reader should know, in words.
    """

    status: Status
    rule: Literal["half rise", "threshold"]
    n: int
    first_tokens: float
    last_tokens: float
    final: float
    level: float | None = None
    tokens: float | None = None
    low: float | None = None
    high: float | None = None
    crossing: float | None = None
    crossing_low: float | None = None
    crossing_high: float | None = None
    fitted: float | None = None
    lower: float | None = None
    upper: float | None = None
    width: float | None = None
    risen: float | None = None
    interval: Literal["fit", "checkpoints", "both"] | None = None
    bootstrap_support: float | None = None
    aicc_logistic: float | None = None
    aicc_constant: float | None = None
    aicc_linear: float | None = None
    reason: Reason | None = None
    note: str = ""


def not_emerged(blank: Emergence, status: Status, reason: Reason, note: str) -> Emergence:
    """The curve with a status other than `emerged`, and why."""
    return replace(blank, status=status, reason=reason, note=note)


def read_crossing(
    blank: Emergence, t: Array, x: Array, y: Array, level: float, sigma: float
) -> Emergence:
    """Status and crossing of an absolute level, without a model.

    Args:
        blank: what is known of the curve already, with its level.
        t: [checkpoint] tokens.
        x: [checkpoint] log tokens.
        y: [checkpoint] values.
        level: what is crossed.
        sigma: standard deviation of the noise.
    """
    index = int(held_crossing(y, level))
    if index == 0:
        note = "at or above the threshold at the first checkpoint"
        return not_emerged(blank, "already", "above at the first checkpoint", note)
    if index < y.size:
        return _with_crossing(replace(blank, status="emerged"), t, x, y, level, index)
    above = y >= level
    start, length = longest_run(above)
    if bool(np.median(y[-TAIL:]) >= level):
        note = "above the threshold at the end, but not steadily"
        return not_emerged(blank, "ambiguous", "not steady", note)
    if bool(above[-1]):
        note = "above the threshold at the last checkpoint only"
        at_end = not_emerged(blank, "ambiguous", "last checkpoint only", note)
        return _with_crossing(at_end, t, x, y, level, y.size - 1)
    if length >= 2:
        fall = float(np.median(y[start : start + length]) - np.median(y[-TAIL:]))
        if fall <= CLEAR * sigma:
            note = "hovers about the threshold"
            return not_emerged(blank, "ambiguous", "about the threshold", note)
        note = f"above the threshold at {length} checkpoints, then below"
        fallen = not_emerged(blank, "transient", "rose and fell", note)
        return _with_crossing(fallen, t, x, y, level, start) if start else fallen
    note = f"highest value {y.max():.3g}" + (" (a single checkpoint)" if length else "")
    return not_emerged(blank, "never", "below the threshold", note)


def read_half_rise(
    blank: Emergence,
    t: Array,
    x: Array,
    y: Array,
    fit: LogisticFit,
    uppers: Array,
    chance: float | None,
    sigma: float,
) -> Emergence:
    """Status and crossing of half the curve's own rise.

    Args:
        blank: what is known of the curve already, with the half-way level of the fit.
        t: [checkpoint] tokens.
        x: [checkpoint] log tokens.
        y: [checkpoint] values.
        fit: of the curve.
        uppers: [sample] upper levels of the bootstrap's refits.
        chance: what the upper level must clear, if there is such a level.
        sigma: standard deviation of the noise.
    """
    peak_and_half = rise_and_fall(y, sigma)
    if peak_and_half is not None:
        peak, half = peak_and_half
        note = f"highest at {format_tokens(t[peak])} tokens, then fell"
        fallen = not_emerged(replace(blank, level=half), "transient", "rose and fell", note)
        up = np.flatnonzero(y[: peak + 1] < half)
        return (
            _with_crossing(fallen, t, x, y, half, int(up[-1]) + 1)
            if up.size and up[-1] < peak
            else fallen
        )
    simpler = simpler_model(fit)
    if simpler == "straight line" and fit.slope > 0:
        note = "a straight line in log tokens fits as well: no single emergence point"
        return not_emerged(blank, "ambiguous", "straight line", note)
    if simpler or fit.upper <= fit.lower:
        start = float(np.median(y[:TAIL]))
        if chance is not None and start - chance > CLEAR * sigma and fit.slope >= 0:
            note = "above chance at the first checkpoint, and no rise since"
            return not_emerged(blank, "already", "above at the first checkpoint", note)
        if simpler == "constant":
            note = "no one rise: a rising curve fits no better than a constant"
            return not_emerged(blank, "never", "constant", note)
        return not_emerged(blank, "never", "no rise", "no rise")
    reached = float(np.quantile(uppers, (1 - COVERAGE) / 2)) if uppers.size else fit.upper
    if chance is not None and reached <= chance:
        note = "what it rises to is not above chance"
        return not_emerged(blank, "never", "not above chance", note)
    assert blank.level is not None
    index = int(held_crossing(y, blank.level))
    if index == 0:
        note = "past half of its rise at the first checkpoint"
        return not_emerged(blank, "already", "above at the first checkpoint", note)
    if index == y.size:
        note = "rises, but no crossing of the half-way level holds"
        return not_emerged(blank, "ambiguous", "not steady", note)
    emerged = _with_crossing(replace(blank, status="emerged"), t, x, y, blank.level, index)
    if curve(fit.parameters, x[-1:])[0] < fit.lower + 0.9 * (fit.upper - fit.lower):
        note = "still rising at the last checkpoint: half of the rise so far"
        emerged = replace(emerged, note=note)
    return emerged


def _with_crossing(
    emergence: Emergence, t: Array, x: Array, y: Array, level: float, index: int
) -> Emergence:
    return replace(
        emergence,
        crossing=float(np.exp(interpolate(x, y, level, index))),
        crossing_low=float(t[index - 1]),
        crossing_high=float(t[index]),
    )


def simpler_model(fit: LogisticFit) -> Literal["constant", "straight line"] | None:
    """The simpler model that fits as well as the logistic curve, if one does."""
    if min(fit.aicc_constant, fit.aicc_linear) > fit.aicc_logistic + AICC_MARGIN:
        return None
    return "constant" if fit.aicc_constant <= fit.aicc_linear + EQUAL else "straight line"
