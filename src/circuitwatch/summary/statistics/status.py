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
from circuitwatch.summary.statistics.logistic import LogisticFit, curve
from circuitwatch.summary.statistics.moments import COVERAGE
from circuitwatch.units import format_tokens

Status = Literal["emerged", "already", "never", "transient", "ambiguous"]

AICC_MARGIN = 6.0
"""A rise must beat the constant and the straight line by more than this: models within 4 to 7 of
the best have some support left (Burnham and Anderson 2002), and wandering curves without a rise
gain a few points by chance."""
EQUAL = 2.0
"""A straight line must beat the constant by more than this to be called growth."""


@dataclass(frozen=True)
class Emergence:
    """What is known about the moment a curve rose. Token counts are missing (none) where the status
    doesn't give one.

    Attributes:
        status: `emerged`; `already` (above at the first checkpoint); `never` (not by the last one:
            censored there); `transient` (rose and fell); `ambiguous` (the note says why).
        rule: `half rise` or `threshold`.
        level: the value that is crossed: the threshold, or half-way between the fitted levels.
        tokens: best estimate of the moment: where the fitted curve passes the level, or the
            observed crossing where the fit can't tell (see `interval`).
        low, high: 95 % interval of `tokens`; `high` is missing if it lies beyond the last
            checkpoint.
        crossing: model-free estimate: linear interpolation in log tokens between the two
            checkpoints around the crossing.
        crossing_low, crossing_high: those two checkpoints.
        fitted: where the fitted curve crosses the level, if it does among the checkpoints.
        lower, upper: the fitted levels before and after the rise.
        width, risen: the fitted width of the rise, in natural-log tokens, and the token count at
            which 90 % of it is done (it may lie beyond the last checkpoint).
        interval: what `low` and `high` rest on: `fit`, the bootstrap of the fitted curve;
            `checkpoints`, the checkpoints around the crossing, where the rise is hidden between two
            of them or the curve's shape doesn't suit the data; `both` covers the two, where the
            observed crossing lies outside of the fit's interval. `fit` covers the truth 95 times in
            100 for a curve of this shape; the other two more often.
        final: the value at the last checkpoint.
        support: share of bootstrap samples in which a crossing holds.
        n, first_tokens, last_tokens: number of checkpoints, and the tokens of the first and the
            last.
        aicc_*: Akaike's criterion (small-sample) of the three models; smaller is better.
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
    support: float | None = None
    aicc_logistic: float | None = None
    aicc_constant: float | None = None
    aicc_linear: float | None = None
    note: str = ""


def read_crossing(
    blank: Emergence, t: Array, x: Array, y: Array, level: float, sigma: float
) -> Emergence:
    """Status and crossing of an absolute level, without a model."""
    index = int(held_crossing(y, level))
    if index == 0:
        return replace(
            blank, status="already", note="at or above the threshold at the first checkpoint"
        )
    if index < y.size:
        return _with_crossing(replace(blank, status="emerged"), t, x, y, level, index)
    above = y >= level
    ends_above = bool(np.median(y[-TAIL:]) >= level)
    start, length = longest_run(above)
    if ends_above:
        return replace(
            blank, status="ambiguous", note="above the threshold at the end, but not steadily"
        )
    if bool(above[-1]):
        known = replace(
            blank, status="ambiguous", note="above the threshold at the last checkpoint only"
        )
        return _with_crossing(known, t, x, y, level, y.size - 1)
    if length >= 2:
        fall = float(np.median(y[start : start + length]) - np.median(y[-TAIL:]))
        if fall <= CLEAR * sigma:
            return replace(blank, status="ambiguous", note="hovers about the threshold")
        known = replace(
            blank,
            status="transient",
            note=f"above the threshold at {length} checkpoints, then below",
        )
        return _with_crossing(known, t, x, y, level, start) if start else known
    return replace(
        blank, note=f"highest value {y.max():.3g}" + (" (a single checkpoint)" if length else "")
    )


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
    """Status and crossing of half the curve's own rise."""
    fallen = rise_and_fall(y, sigma)
    if fallen is not None:
        peak, half = fallen
        known = replace(
            blank,
            status="transient",
            level=half,
            note=f"highest at {format_tokens(t[peak])} tokens, then fell",
        )
        up = np.flatnonzero(y[: peak + 1] < half)
        return (
            _with_crossing(known, t, x, y, half, int(up[-1]) + 1)
            if up.size and up[-1] < peak
            else known
        )
    plainer = plainer_model(fit)
    if plainer == "straight line" and fit.slope > 0:
        return replace(
            blank,
            status="ambiguous",
            note="a straight line in log tokens fits as well: no one moment",
        )
    if plainer or fit.upper <= fit.lower:
        start = float(np.median(y[:TAIL]))
        if chance is not None and start - chance > CLEAR * sigma and fit.slope >= 0:
            return replace(
                blank,
                status="already",
                note="above chance at the first checkpoint, and no rise since",
            )
        return replace(
            blank,
            note="no one rise: a rising curve fits no better than a constant"
            if plainer == "constant"
            else "no rise",
        )
    reached = float(np.quantile(uppers, (1 - COVERAGE) / 2)) if uppers.size else fit.upper
    if chance is not None and reached <= chance:
        return replace(blank, note="what it rises to is not above chance")
    assert blank.level is not None
    index = int(held_crossing(y, blank.level))
    if index == 0:
        return replace(
            blank, status="already", note="past half of its rise at the first checkpoint"
        )
    if index == y.size:
        return replace(
            blank, status="ambiguous", note="rises, but no crossing of the half-way level holds"
        )
    known = _with_crossing(replace(blank, status="emerged"), t, x, y, blank.level, index)
    if curve(fit.parameters, x[-1:])[0] < fit.lower + 0.9 * (fit.upper - fit.lower):
        known = replace(known, note="still rising at the last checkpoint: half of the rise so far")
    return known


def _with_crossing(
    known: Emergence, t: Array, x: Array, y: Array, level: float, index: int
) -> Emergence:
    return replace(
        known,
        crossing=float(np.exp(interpolate(x, y, level, index))),
        crossing_low=float(t[index - 1]),
        crossing_high=float(t[index]),
    )


def plainer_model(fit: LogisticFit) -> str | None:
    """The name of the simpler model that fits as well as the logistic curve, if one does."""
    if min(fit.aicc_constant, fit.aicc_linear) > fit.aicc_logistic + AICC_MARGIN:
        return None
    return "constant" if fit.aicc_constant <= fit.aicc_linear + EQUAL else "straight line"
