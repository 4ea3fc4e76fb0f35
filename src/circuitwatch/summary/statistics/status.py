"""What can be said of a curve's emergence, and the status that its smooth curve gives it: emerged,
already, never, transient or ambiguous. `docs/emergence.md` has the rules in one table.

Nothing here rests on the shape of the curve: a logistic fit describes it, and sharpens the estimate
where it suits (`emergence`).
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
    since,
)
from circuitwatch.summary.statistics.emergence_points import COVERAGE
from circuitwatch.summary.statistics.logistic import MIN_POINTS, LogisticFit
from circuitwatch.summary.statistics.rise_test import rise_beyond_chance
from circuitwatch.units import format_tokens

Status = Literal["emerged", "already", "never", "transient", "ambiguous"]
Reason = Literal[
    "above at the first checkpoint",
    "below the threshold",
    "no rise",
    "not above chance",
    "not steadily above chance",
    "not steady",
    "about the threshold",
    "rose and fell",
    "low bootstrap support",
    "too few checkpoints",
    "no more than wandering",
]
"""Why a curve has another status than `emerged`."""
Shape = Literal["rise", "straight line", "constant"]
"""Which of three models describes a curve: a logistic rise, or a simpler one that does about as
well.
"""
AICC_MARGIN = 6.0
"""A rise must beat the constant and the straight line by more than this: models within 4 to 7 of
the best have some support left (Burnham and Anderson 2002), and wandering curves without a rise
gain a few points by chance."""
EQUAL = 2.0
"""A straight line must beat the constant by more than this to be called growth."""
LOST = 0.45
"""A curve that loses more than this share of its rise has risen and fallen. Less than a half, so
that one that loses 60 % is found through its noise.
"""
OVERSHOT = 0.1
"""A curve that loses more than this share of its rise, but not more than LOST, overshoots."""
INDEPENDENT = 0.65
"""A rise beside that of wandering curves which 2 % of curves of independent noise exceed that grows
as a model trains, for all numbers of checkpoints.
"""
SOME_POINTS = 20
"""With fewer checkpoints, true rises of a few times their noise are hardly beyond it either …"""
HARDLY = 0.35
"""… but for most of them beyond this, as a quarter of curves without a rise are."""
MOST = 0.5
"""Share of a curve's range that is most of it."""
WANDERS = "the rise is no larger than random wandering gives (2 %)"
LAST_ONLY = "above the level at the last checkpoint only"


@dataclass(frozen=True)
class Emergence:
    """What is known about the point at which a curve rose. Token counts are missing (none) where
    the status doesn't give one.

    Attributes:
        status: `emerged`; `already` (above at the first checkpoint: left-censored there); `never`
            (not by the last one: right-censored there); `transient` (rose and fell); `ambiguous`
            (see the reason).
        rule: `half rise` or `threshold`.
        level: the value that is crossed: the threshold, or half-way between `lower` and `upper`.
        tokens: best estimate of the emergence point, see `interval`.
        low, high: 95 % interval of `tokens`; `high` is missing if it lies beyond the last
            checkpoint.
        crossing: linear interpolation in log tokens between the two checkpoints around the first
            crossing that holds, of the values as they are.
        crossing_low, crossing_high: those two checkpoints.
        fitted: where a logistic curve fitted to the values crosses the level, if it does among the
            checkpoints; a description beside the estimate unless `interval` is `fit`.
        lower, upper: of the smooth curve, the level before the rise (at the first checkpoint, or at
            its lowest one before the crossing where it dips) and that at the last checkpoint; of a
            curve that falls as a model learns those before and after the fall.
        width: natural-log tokens from 10 % to 90 % of that rise.
        risen: the token count at which 90 % of it is done.
        interval: what `tokens`, `low` and `high` rest on. `smooth`: the smooth curve, which makes
            no claim about shape, and its bootstrap. `fit`: the logistic curve, where it agrees
            with the smooth one and what it leaves doesn't look like a trend. `both`: the smooth
            curve's estimate, and its interval widened to half its width beyond the logistic's
            crossing, where they agree but it can't be told whether what the logistic leaves is
            noise. `checkpoints`: the checkpoints around
            the crossing.
        final: the value at the last checkpoint.
        bootstrap_support: share of bootstrap samples in which a crossing holds.
        n, first_tokens, last_tokens: number of checkpoints, and the tokens of the first and the
            last.
        beyond_chance: the rise beside what curves without one have by wandering: above 1 only 2 %
            of them do (`rise_test`).
        autocorrelation: of neighbouring checkpoints about the smooth curve.
        shape: which of three models describes the curve, by AICc (small-sample).
        aicc_*: Akaike's criterion of the three models; smaller is better.
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
    interval: Literal["smooth", "fit", "both", "checkpoints"] | None = None
    bootstrap_support: float | None = None
    beyond_chance: float | None = None
    autocorrelation: float | None = None
    shape: Shape | None = None
    aicc_logistic: float | None = None
    aicc_constant: float | None = None
    aicc_linear: float | None = None
    reason: Reason | None = None
    note: str = ""


@dataclass(frozen=True)
class Seen:
    """A curve as its status is read from it.

    Attributes:
        t, x: [checkpoint] tokens and log tokens.
        y: [checkpoint] values.
        smooth: [checkpoint] the curve without its noise.
        samples: [sample, checkpoint] smooth curves as they might have been; may be none.
        sigma: standard deviation of the noise, if it were independent.
        alike: how many times as large the samples' noise is, as neighbouring checkpoints are alike.
    """

    t: Array
    x: Array
    y: Array
    smooth: Array
    samples: Array
    sigma: float
    alike: float = 1.0

    def clear(self, later: int, earlier: int) -> bool:
        """Whether the smooth curve is higher at one checkpoint than at another by more than
        independent noise allows; whether it wanders is another question (`rise_test`).
        """
        if len(self.samples):
            error = float((self.samples[:, later] - self.samples[:, earlier]).std()) / self.alike
        else:
            error = self.sigma * np.sqrt(2)
        rise = float(self.smooth[later] - self.smooth[earlier])
        return rise > 0 and rise >= CLEAR * error


def not_emerged(blank: Emergence, status: Status, reason: Reason, note: str) -> Emergence:
    """The curve with a status other than `emerged`, and why."""
    return replace(blank, status=status, reason=reason, note=note)


def noted(emergence: Emergence, *notes: str) -> Emergence:
    """The same with notes added."""
    return replace(emergence, note="; ".join(filter(None, [emergence.note, *notes])))


def read_threshold(blank: Emergence, seen: Seen, level: float) -> Emergence:
    """Status and crossing of an absolute level.

    Args:
        blank: what is known of the curve already, with its level.
        seen: the curve.
        level: what is crossed.
    """
    smooth, size = seen.smooth, seen.y.size
    index = int(held_crossing(smooth, level))
    if index == 0:
        note = "at or above the threshold at the first checkpoint"
        return not_emerged(blank, "already", "above at the first checkpoint", note)
    if index < size:
        return _with_crossing(replace(blank, status="emerged"), seen, level, index)
    if _last_only(seen, level):
        return _with_crossing(replace(blank, status="emerged", note=LAST_ONLY), seen, level, size)
    above = smooth >= level
    start, length = longest_run(above)
    if bool(np.median(smooth[-TAIL:]) >= level):
        note = "above the threshold at the end, but not steadily"
        return not_emerged(blank, "ambiguous", "not steady", note)
    if length >= 2:
        fall = float(np.median(smooth[start : start + length]) - np.median(smooth[-TAIL:]))
        if fall <= CLEAR * seen.sigma:
            note = "hovers about the threshold"
            return not_emerged(blank, "ambiguous", "about the threshold", note)
        note = f"above the threshold at {length} checkpoints, then below"
        fallen = not_emerged(blank, "transient", "rose and fell", note)
        return _with_crossing(fallen, seen, level, start) if start else fallen
    single = " (a single checkpoint)" if (seen.y >= level).any() else ""
    note = f"highest value {seen.y.max():.3g}{single}"
    return not_emerged(blank, "never", "below the threshold", note)


def read_half_rise(blank: Emergence, seen: Seen, chance: float | None) -> Emergence:
    """Status and crossing of half the curve's own rise.

    Args:
        blank: what is known of the curve already, with its levels (`lower`, `upper`, `level`).
        seen: the curve.
        chance: what the upper level must clear, if there is such a level.
    """
    assert blank.level is not None and blank.lower is not None and blank.upper is not None
    smooth, size, level = seen.smooth, seen.y.size, blank.level
    low = int(np.flatnonzero(smooth == blank.lower)[0])
    start, beyond = float(np.median(smooth[:TAIL])), blank.beyond_chance or 0.0
    peak = fallen_from(seen)
    strength = 0.0 if peak is None else max(beyond, _rise_and_fall(seen, peak))
    if peak is not None and strength > INDEPENDENT:
        return _rose_and_fell(blank, seen, peak, strength)
    above = chance is not None and start - chance > CLEAR * seen.sigma
    if above and beyond <= 1 and not seen.clear(0, size - 1):
        note = "above chance at the first checkpoint, and no rise since"
        return not_emerged(blank, "already", "above at the first checkpoint", note)
    if not _rises(blank, seen, low):
        note = "no rise: the last checkpoint is no higher than the noise allows"
        return not_emerged(blank, "never", "no rise", note)
    ends = seen.samples[:, -1] if len(seen.samples) else smooth[-1:]
    if chance is not None and float(np.quantile(ends, (1 - COVERAGE) / 2)) <= chance:
        note = "what it rises to is not above chance"
        return not_emerged(blank, "never", "not above chance", note)
    index = int(held_crossing(since(smooth, low), level))
    emerged = replace(blank, status="emerged")
    if index < size:
        return _with_crossing(emerged, seen, level, index, low)
    if _last_only(seen, level):
        return _with_crossing(replace(emerged, note=LAST_ONLY), seen, level, size)
    note = "rises, but no crossing of the half-way level holds"
    return not_emerged(blank, "ambiguous", "not steady", note)


def fallen_from(seen: Seen, *, lost: float = LOST) -> int | None:
    """The highest checkpoint of a curve that clearly rose and then clearly lost more than a share
    of that rise; none where it didn't.
    """
    smooth = seen.smooth
    peak = int(np.argmax(smooth))
    lowest = int(np.argmin(smooth[: peak + 1]))
    last = smooth.size - 1
    rise, fall = smooth[peak] - smooth[lowest], smooth[peak] - smooth[-1]
    clear = seen.clear(peak, lowest) and seen.clear(peak, last)
    return peak if clear and rise > 0 and fall > lost * rise else None


def overshoot(seen: Seen, lower: float) -> str:
    """What to say of a curve that settles below its highest value; empty where it doesn't."""
    peak = fallen_from(seen, lost=OVERSHOT)
    if peak is None:
        return ""
    highest = float(seen.smooth[peak])
    index = _upwards(seen.smooth, (lower + highest) / 2, peak)
    if index is None:
        return ""
    half = float(np.exp(interpolate(seen.x, seen.smooth, (lower + highest) / 2, index)))
    return (
        f"overshoots: highest value {highest:.3g} at {format_tokens(float(seen.t[peak]))} tokens; "
        f"half of the way to that at {format_tokens(half)} tokens"
    )


def describe(fit: LogisticFit) -> Shape:
    """Which model describes a curve: the logistic rise, or the simpler one that does as well."""
    if min(fit.aicc_constant, fit.aicc_linear) > fit.aicc_logistic + AICC_MARGIN:
        return "rise"
    return "constant" if fit.aicc_constant <= fit.aicc_linear + EQUAL else "straight line"


def _rise_and_fall(seen: Seen, peak: int) -> float:
    """How large the rise to a peak and the fall from it are together, beside what wandering gives:
    their geometric mean.
    """
    lowest = int(np.argmin(seen.smooth[: peak + 1]))
    rise = rise_beyond_chance(seen.x[: peak + 1], seen.y[: peak + 1])
    return float(np.sqrt(rise * rise_beyond_chance(seen.x[lowest:], -seen.y[lowest:])))


def _rose_and_fell(blank: Emergence, seen: Seen, peak: int, strength: float) -> Emergence:
    lower = float(seen.smooth[: peak + 1].min())
    half = (lower + float(seen.smooth[peak])) / 2
    note = f"highest at {format_tokens(float(seen.t[peak]))} tokens, then fell"
    levels = replace(blank, level=half, lower=lower)
    fallen = (
        not_emerged(levels, "transient", "rose and fell", note)
        if strength > 1
        else not_emerged(levels, "ambiguous", "no more than wandering", f"{note}; {WANDERS}")
    )
    index = _upwards(seen.smooth, half, peak)
    return fallen if index is None else _with_crossing(fallen, seen, half, index)


def _upwards(smooth: Array, level: float, peak: int) -> int | None:
    """The checkpoint after which a curve stays at or above a level until its peak; none if it
    starts there.
    """
    below = np.flatnonzero(smooth[: peak + 1] < level)
    return int(below[-1]) + 1 if below.size and below[-1] < peak else None


def _rises(blank: Emergence, seen: Seen, low: int) -> bool:
    """Whether the last checkpoint is clearly above that before the rise, in a curve that rises by
    more than independent noise; or most of the way up, in one that rises by more than wandering, as
    few checkpoints leave the noise uncertain.
    """
    beyond = blank.beyond_chance or 0.0
    most = float(seen.smooth[-1] - seen.smooth[low]) > MOST * float(np.ptp(seen.smooth))
    if seen.y.size < MIN_POINTS:
        return most  # too few to be sure that there is none
    clear = seen.clear(seen.y.size - 1, low)
    if seen.y.size < SOME_POINTS:
        return clear or (beyond > HARDLY and most)
    return (clear and beyond > INDEPENDENT) or (beyond > 1 and most)


def _last_only(seen: Seen, level: float) -> bool:
    return bool(seen.y[-1] >= level > seen.y[-2])


def _with_crossing(
    emergence: Emergence, seen: Seen, level: float, index: int, start: int = 0
) -> Emergence:
    """The crossing of the values as they are, after a checkpoint, or that of the smooth curve at a
    checkpoint where theirs doesn't hold; an index of n asks for the gap before the last checkpoint.
    """
    values = seen.y
    size = values.size
    own = int(held_crossing(since(values, start + 1), level))
    if index == size:
        index = size - 1
    elif emergence.status == "emerged" and 0 < own < size:
        index = own
    if not values[index - 1] < level <= values[index]:
        values = seen.smooth
    before, after = float(seen.t[index - 1]), float(seen.t[index])
    crossing = float(np.exp(interpolate(seen.x, values, level, index)))
    return replace(
        emergence,
        # Within them also where rounding puts it beyond.
        crossing=min(max(crossing, before), after),
        crossing_low=before,
        crossing_high=after,
    )
