"""The slope and the mean of values at neighbouring checkpoints, which may be alike, with intervals
that allow for it.

Values are a mean, or a line, and autoregressive noise of unknown strength (ρ from 0 to 0.95). The
interval holds every slope (or mean) b that the ratio of likelihoods doesn't reject,
n log(RSS(b) / RSS_min), with each side's own best ρ. Its critical values are not those of χ², which
are far too small for few values that are alike: they are what 95 % of curves of noise stay below at
the worst ρ up to 0.9 (`benchmarks.trends` checks that). So a flat curve has a slope that leaves
out 0 in at most 5 % of cases, whether its checkpoints are independent or not. A mean allows for a ρ
of up to 0.7 only: few values that are more alike than that say next to nothing of their mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuitwatch.summary.statistics.smoothing import whitened

Array = NDArray[np.float64]

RHOS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
"""Autocorrelations that are tried."""
VALUES = (5, 9, 16, 25, 40, 60)
SLOPE = (10.5, 9.8, 9.3, 8.2, 7.4, 6.3)
"""Critical value for a slope, at each number of `VALUES`."""
MEAN = (5.8, 5.8, 5.5, 5.1, 4.6, 4.4)
"""Critical value for a mean."""
MEAN_RHOS = RHOS[:5]
"""Autocorrelations that are tried for a mean."""
EXACT = 1e-24
"""A sum of squares this small, beside that of the values, is a perfect fit."""


def slope_interval(x: Array, y: Array) -> tuple[float, float, float]:
    """Slope of y over x, both [value], in the order of training, and its 95 % interval; at least
    three values.
    """
    steady = np.ones_like(x)
    return _interval(x - x.mean(), y, [steady], RHOS, float(np.interp(y.size, VALUES, SLOPE)))


def mean_interval(y: Array) -> tuple[float, float, float]:
    """Mean of values [value] in the order of training, and its 95 % interval; at least two."""
    return _interval(np.ones_like(y), y, [], MEAN_RHOS, float(np.interp(y.size, VALUES, MEAN)))


def _interval(
    column: Array, y: Array, others: list[Array], rhos: Sequence[float], critical: float
) -> tuple[float, float, float]:
    """Coefficient of a column [value] beside other columns, and the interval of those that the
    likelihood ratio doesn't reject.
    """
    best, slack, worst = [], [], []
    for rho in rhos:
        own, rest = whitened(column, rho), whitened(y, rho)
        for other in others:
            unit = whitened(other, rho)
            unit = unit / np.linalg.norm(unit)
            own, rest = own - (own @ unit) * unit, rest - (rest @ unit) * unit
        size = float(own @ own)
        coefficient = float(own @ rest) / size
        best.append(coefficient)
        slack.append(size)
        worst.append(float(((rest - coefficient * own) ** 2).sum()))
    costs = np.maximum(worst, EXACT * max(float(y @ y), 1e-300))
    limit = float(costs.min()) * float(np.exp(critical / y.size))
    # At each ρ the cost is a parabola in b: where it lies below the limit is an interval.
    reach = np.sqrt(np.maximum(limit - costs, 0.0) / np.array(slack))
    allowed = costs <= limit
    low = np.where(allowed, np.array(best) - reach, np.inf).min()
    high = np.where(allowed, np.array(best) + reach, -np.inf).max()
    return best[int(np.argmin(costs))], float(low), float(high)
