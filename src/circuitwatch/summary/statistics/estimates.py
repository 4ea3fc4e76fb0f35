"""The estimate of a curve that has emerged, its interval, and what a reader should know of it.

Where the smooth curve passes the level is the estimate. The logistic curve beside it sharpens the
interval only where it agrees with the smooth one and what it leaves doesn't look like a trend.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from circuitwatch.summary.statistics.crossings import (
    CLEAR,
    Array,
    held_crossing,
    passed,
    since,
)
from circuitwatch.summary.statistics.curve import Curve
from circuitwatch.summary.statistics.emergence_points import (
    EmergencePoints,
    Noise,
    central_interval,
    half_way,
    rise_widths,
    sample_fitted,
)
from circuitwatch.summary.statistics.logistic import (
    RISE,
    LogisticFit,
    crossing,
    curve,
    hat_matrix,
)
from circuitwatch.summary.statistics.smoothing import Smooth, autocorrelation
from circuitwatch.summary.statistics.status import Emergence, Seen, noted, overshoot
from circuitwatch.units import format_tokens

LIKE_A_TREND = 0.2
"""With a larger autocorrelation, what a logistic curve leaves may be a trend that it misses."""
LAST_DECADE = float(np.log(10))
"""Log tokens before the last checkpoint over which it is asked whether a curve still rises."""
GOES_ON = 0.1
"""A curve goes on rising if another decade of tokens would add more than this share of its rise."""


@dataclass(frozen=True)
class Found:
    """A curve that has emerged, and what its estimate is made of.

    alike: how alike the residuals of its logistic curve are (`alike_about`); none where it has too
    few checkpoints to be fitted.
    """

    asked: Curve
    seen: Seen
    smooth: Smooth
    samples: EmergencePoints
    noise: Noise
    start: int
    alike: float | None

    def with_estimate(self, emergence: Emergence) -> tuple[Emergence, EmergencePoints]:
        """Add the estimate and its interval; and the samples that these rest on."""
        x, samples = self.seen.x, self.samples
        smooth = since(self.seen.smooth, self.start)
        assert emergence.level is not None and emergence.lower is not None
        level = np.array([emergence.level])
        place = held_crossing(smooth[None], level)
        left, right = (float(end[0]) for end in passed(x, smooth[None], level, place))
        estimate = self._straight(int(place[0]), emergence.level)
        low, high = central_interval(samples.left, samples.right)
        low, high = min(low, left), max(high, right)
        kind: Literal["smooth", "fit", "both", "checkpoints"] = "smooth"
        fitted = self._fitted()
        near = (high - low) / 2
        if fitted is not None and low - near <= fitted <= high + near and self._suits(fitted):
            agrees = low <= fitted <= high and self._agrees_at_ends(emergence)
            assert self.alike is not None
            if agrees and self.alike <= LIKE_A_TREND and emergence.shape == "rise":
                points = sample_fitted(
                    *(x, self.seen.y, self.asked.fit, self.asked.threshold, self.alike, self.noise)
                )
                kind, estimate = "fit", fitted
                low, high = central_interval(points, points)
                samples = replace(samples, left=points, right=points)
            elif np.isfinite(near):
                kind, low, high = "both", min(low, fitted - near), max(high, fitted + near)
        if not self.noise.n:
            kind, low, high = "checkpoints", float(x[place[0] - 1]), float(x[place[0]])
        low, high = min(low, estimate), max(high, estimate)
        emergence = replace(
            self._shaped(emergence, int(place[0])),
            tokens=float(np.exp(estimate)),
            fitted=None if fitted is None else float(np.exp(fitted)),
            interval=kind,
            low=float(self.seen.t[0]) if low <= x[0] else float(np.exp(low)),
            high=None if high > x[-1] + 1e-9 else float(np.exp(high)),
        )
        return noted(emergence, *self._notes(emergence)), samples

    def _straight(self, place: int, level: float) -> float:
        """Where the smooth curve passes a level, by a straight line between checkpoints."""
        x, smooth = self.seen.x, self.seen.smooth
        part = (level - smooth[place - 1]) / (smooth[place] - smooth[place - 1])
        return float(x[place - 1] + (x[place] - x[place - 1]) * part)

    def _fitted(self) -> float | None:
        """Where the logistic curve passes the level; none where not among the checkpoints."""
        if self.alike is None:
            return None
        x, fit = self.seen.x, self.asked.fit
        level = self.asked.threshold
        if level is None:
            level = float(half_way(fit.parameters, x))
        at = float(crossing(fit.parameters, level))
        return at if x[0] <= at <= x[-1] else None

    def _suits(self, fitted: float) -> bool:
        """Whether the logistic curve suits the values around its crossing; a rise that it puts
        between two checkpoints was not seen.
        """
        x, fit = self.seen.x, self.asked.fit
        if not self.noise.n or _hidden(fit, x):
            return False
        index = int(np.searchsorted(x, fitted))
        near = slice(max(index - 2, 0), index + 2)
        sizes = np.maximum(self.smooth.noise, fit.scale)
        # Two of the four nearest checkpoints, so not an odd one.
        missed = np.abs(curve(fit.parameters, x[near]) - self.seen.y[near]) / sizes[near]
        return float(np.sort(missed)[-2]) <= CLEAR

    def _agrees_at_ends(self, emergence: Emergence) -> bool:
        """Whether the logistic curve agrees with the smooth one at the two ends, where these make
        the level.
        """
        if self.asked.threshold is not None:
            return True
        ends = curve(self.asked.fit.parameters, self.seen.x[[0, -1]])
        levels = np.array([emergence.lower, emergence.upper], dtype=float)
        errors = self.seen.samples[:, [0, -1]].std(axis=0)
        return bool((np.abs(ends - levels) <= CLEAR * np.maximum(errors, 1e-12)).all())

    def _shaped(self, emergence: Emergence, place: int) -> Emergence:
        """With how long the rise takes, from its lower to its upper level."""
        assert emergence.lower is not None and emergence.upper is not None
        lower, upper = emergence.lower, emergence.upper
        smooth, x = self.seen.smooth, self.seen.x
        if upper <= lower:
            return emergence
        half = held_crossing(since(smooth, self.start), (lower + upper) / 2)
        low, high = np.array([lower]), np.array([upper])
        width = float(rise_widths(x, smooth[None], low, high, np.array([int(half)]))[0])
        late = np.flatnonzero(smooth[place:] >= lower + 0.9 * (upper - lower)) + place
        return replace(
            emergence,
            width=width if np.isfinite(width) else None,
            risen=float(self.seen.t[late[0]]) if late.size else None,
        )

    def _notes(self, emergence: Emergence) -> list[str]:
        assert emergence.crossing is not None and emergence.lower is not None
        assert emergence.crossing_low is not None and emergence.crossing_high is not None
        assert emergence.tokens is not None
        half = emergence.rule == "half rise"
        low, high = emergence.crossing_low * (1 - 1e-9), emergence.crossing_high * (1 + 1e-9)
        beside = not low <= emergence.tokens <= high
        return [
            "still rising at the end, so this is half of the rise so far"
            if half and self._still_rises(emergence)
            else "",
            f"dips first, so the level before the rise is its lowest value {emergence.lower:.3g}"
            if half and emergence.lower != self.seen.smooth[0]
            else "",
            overshoot(self.seen, emergence.lower) if half else "",
            f"the unsmoothed values cross at {format_tokens(emergence.crossing)} tokens"
            if beside
            else "",
        ]

    def _still_rises(self, emergence: Emergence) -> bool:
        """Whether the curve goes on rising at the end: its slope, over the last decade of tokens or
        since 90 % of the rise if that is later, excludes 0 and would add more than a tenth of the
        rise in another decade. With too few checkpoints since, nobody knows that it has ended.
        """
        x = self.seen.x
        begin = x[-1] - LAST_DECADE
        if emergence.risen is not None:
            begin = max(begin, float(np.log(max(emergence.risen, 1.0))))
        late = x >= begin - 1e-9
        if late.sum() < 3 or not self.noise.n:
            return bool(late.sum() < 3)
        weights = np.where(late, x - x[late].mean(), 0.0)
        weights /= float(weights @ x)
        slope = float(self.seen.smooth @ weights)
        rise = (emergence.upper or 0.0) - (emergence.lower or 0.0)
        clear = slope > 2 * float((self.seen.samples @ weights).std())
        return clear and slope * LAST_DECADE > GOES_ON * rise


def _hidden(fit: LogisticFit, x: Array) -> bool:
    """Whether fewer than two checkpoints see anything of a fitted rise from 10 % to 90 %."""
    return int((np.abs(x - fit.middle) <= RISE * fit.width).sum()) < 2


def alike_about(fit: LogisticFit, x: Array, y: Array, smooth: Smooth) -> float:
    """Autocorrelation of what a logistic curve leaves."""
    rest = y - curve(fit.parameters, x)
    return autocorrelation(rest, hat_matrix(fit, x), smooth.noise)
