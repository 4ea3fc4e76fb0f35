"""A rise as a logistic curve in log tokens: one robust fit, many quick refits, and the simpler
models it must beat.

y = lower + (upper − lower) · σ((x − middle) / width), with x = log(tokens). The loss is soft L1
(the sum over checkpoints of scale² · 2(√(1 + (r/scale)²) − 1); Charbonnier et al. 1997), which is
quadratic for residuals below `scale` and linear above it, so that one odd checkpoint doesn't move
the curve. `middle` stays between the first and the last checkpoint; `lower` and `upper` may lie
beyond the smallest and the largest value by a quarter of their distance, since a plateau is rarely
reached in full.

Every fit, the first and the hundreds of bootstrap refits, is the same Levenberg–Marquardt step
(Marquardt 1963) on arrays [replicate, checkpoint], with the loss as weights that are renewed each
step (iteratively reweighted least squares; Holland and Welsch 1977). The tests check it against
`scipy.optimize.least_squares`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from circuitwatch.summary.statistics.information import aicc

Array = NDArray[np.float64]

MIN_POINTS = 9
"""AICc of the logistic curve (four parameters and a scale) is defined from seven checkpoints on,
but with seven or eight its penalty outweighs any rise that isn't a hundred times its noise: "no
rise" would say nothing of the curve."""
BEYOND = 0.25
"""How far the two levels may lie outside of the values seen, as a share of their range."""
STARTS = 4
"""Starting points that the first fit tries, the best of a grid."""
SMALLEST_LOSS = 1e-3
"""The loss of a checkpoint counts for at least the square of this share of its scale."""
RISE = float(np.log(9))
"""A logistic curve goes from 10 % to 90 % of its rise between this many widths before and after its
middle.
"""


@dataclass(frozen=True)
class LogisticFit:
    """A fitted rise, and how it compares with a constant and with a straight line in log tokens.

    `parameters` is [lower, upper, middle, log width]; `scale` is where the loss turns from
    quadratic to linear; `aicc_*` are Akaike's criterion with the small-sample correction, under the
    same loss and scale for all three (smaller is better); `slope` is that of the straight line, per
    unit of log tokens.
    """

    parameters: Array
    scale: float
    aicc_logistic: float
    aicc_constant: float
    aicc_linear: float
    slope: float

    @property
    def lower(self) -> float:
        """Level before the rise."""
        return float(self.parameters[0])

    @property
    def upper(self) -> float:
        """Level after the rise."""
        return float(self.parameters[1])

    @property
    def middle(self) -> float:
        """Centre of the rise, in log tokens."""
        return float(self.parameters[2])

    @property
    def width(self) -> float:
        """Width of the rise, in log tokens."""
        return float(np.exp(self.parameters[3]))


def log_tokens(tokens: ArrayLike) -> Array:
    """Natural log of token counts [checkpoint], with the untrained model (0 tokens) at half the
    first positive count.

    The logarithm of 0 has no place on the axis. Half the first count puts the untrained model one
    doubling before it, the distance that the following checkpoints of a 1, 2, 4, … schedule have,
    so it is a point on the left and has no undue leverage.
    """
    counts = np.asarray(tokens, dtype=float)
    positive = counts[counts > 0]
    if positive.size == 0:
        raise ValueError("no checkpoint has a positive number of tokens")
    return np.log(np.where(counts > 0, counts, positive.min() / 2))


def curve(parameters: Array, x: Array) -> Array:
    """The logistic curve at `x` [checkpoint], for parameters [..., 4]; returns [...,
    checkpoint].
    """
    lower, upper, middle, log_width = (parameters[..., k, None] for k in range(4))
    return lower + (upper - lower) * expit((x - middle) / np.exp(log_width))


def crossing(parameters: Array, level: ArrayLike) -> Array:
    """Log tokens at which the curve of `parameters` [..., 4] rises through `level` [...].

    +inf where the curve stays below the level, -inf where it starts above it.
    """
    lower, upper, middle, log_width = np.moveaxis(parameters, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (np.asarray(level, dtype=float) - lower) / (upper - lower)
        x = middle + np.exp(log_width) * (np.log(share) - np.log1p(-share))
    return np.where(share <= 0, -np.inf, np.where(share < 1, x, np.inf))


def fit_logistic(x: Array, y: Array) -> LogisticFit:
    """Fit the curve to values `y` at log tokens `x`, both [checkpoint], ascending in x, at least
    `MIN_POINTS` of them.

    The first guesses are the best of a grid of middles and widths, where the two levels follow from
    linear least squares, so the fit doesn't hang on a starting point. The scale of the loss is the
    robust spread of the first fit's residuals, from the rise on where that is larger: untrained
    models hardly vary, and half of the checkpoints may be of untrained models.
    """
    if x.size < MIN_POINTS:
        raise ValueError(f"a logistic fit needs at least {MIN_POINTS} checkpoints, not {x.size}")
    span = float(np.ptp(y))
    if span <= 1e-12 * float(np.abs(y).max()):
        flat = np.array([y[0], y[0], (x[0] + x[-1]) / 2, np.log(np.ptp(x) / 8)])
        return LogisticFit(flat, 1.0, 0.0, -np.inf, 0.0, 0.0)
    low, high = _bounds(x, y[None])
    margin = 1e-9 * np.array([span, span, 1.0, 1.0])
    starts = np.clip(_grid_starts(x, y), low + margin, high - margin)
    scale, parameters = 0.1 * span, starts[0]
    for _ in range(2):
        fitted, costs = _descend(x, np.broadcast_to(y, (len(starts), y.size)), starts, scale, 60)
        parameters = fitted[int(np.argmin(costs))]
        residuals = curve(parameters, x) - y
        risen = residuals[x >= parameters[2] - RISE * np.exp(parameters[3])]
        scale = max(
            robust_spread(residuals), robust_spread(risen) if risen.size >= 4 else 0.0, 1e-3 * span
        )
        starts = fitted
    ones = np.ones_like(x)
    _, constant = robust_line(ones[:, None], y, scale)
    line, linear = robust_line(np.stack([ones, x], axis=1), y, scale)
    logistic = float(_cost(curve(parameters, x) - y, scale))
    smallest = (SMALLEST_LOSS * scale) ** 2
    return LogisticFit(
        parameters=parameters,
        scale=scale,
        # Parameters of the curve, and the spread.
        aicc_logistic=aicc(logistic, x.size, 4 + 1, smallest=smallest),
        aicc_constant=aicc(constant, x.size, 1 + 1, smallest=smallest),
        aicc_linear=aicc(linear, x.size, 2 + 1, smallest=smallest),
        slope=float(line[1]),
    )


def refit(x: Array, samples: Array, fit: LogisticFit, *, steps: int = 30) -> Array:
    """Fit every row of `samples` [replicate, checkpoint], starting from `fit`; returns parameters
    [replicate, 4].

    The bounds are those of each row's values; the scale of the loss is that of `fit`.
    """
    return _descend(
        x, samples, np.broadcast_to(fit.parameters, (samples.shape[0], 4)), fit.scale, steps
    )[0]


def _descend(
    x: Array, samples: Array, start: Array, scale: float, steps: int
) -> tuple[Array, Array]:
    """Levenberg–Marquardt on all rows of `samples` [replicate, checkpoint] at once; returns
    parameters [replicate, 4] and costs.

    Each row has its own damping and stops when a step gains less than a millionth of its cost.
    """
    low, high = _bounds(x, samples)
    result = np.clip(start, low, high)
    costs = _cost(samples - curve(result, x), scale)
    row: NDArray[np.intp] = np.arange(samples.shape[0])
    p, cost, y = result.copy(), costs.copy(), samples
    damping: Array = np.full(row.size, 1e-3)
    for _ in range(steps):
        j = jacobian(p, x)
        residual = y - curve(p, x)
        weighted = j / np.sqrt(1 + (residual / scale) ** 2)[:, :, None]
        normal = weighted.swapaxes(1, 2) @ j
        gradient = (weighted.swapaxes(1, 2) @ residual[:, :, None])[:, :, 0]
        # A parameter that pushes against its bound is held there, so that the step solves for the
        # free ones alone.
        held = ((p <= low) & (gradient < 0)) | ((p >= high) & (gradient > 0))
        gradient = np.where(held, 0.0, gradient)
        normal = np.where(held[:, :, None] | held[:, None, :], 0.0, normal)
        diagonal = np.einsum("rkk->rk", normal)
        extra = damping[:, None] * diagonal + np.where(diagonal > 1e-12, 1e-12, 1.0)
        step = np.linalg.solve(normal + extra[:, :, None] * np.eye(4), gradient[:, :, None])[
            :, :, 0
        ]
        trial = np.clip(p + step, low, high)
        trial_cost = _cost(y - curve(trial, x), scale)
        better = trial_cost < cost
        done = np.where(better, cost - trial_cost <= 1e-6 * cost, damping > 1e4)
        p, cost = np.where(better[:, None], trial, p), np.where(better, trial_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-9, 1e9)
        result[row], costs[row] = p, cost
        if done.all():
            break
        if done.mean() > 0.2:
            keep = ~done
            row, y = row[keep], y[keep]
            p, cost, damping, low, high = (
                np.asarray(a[keep]) for a in (p, cost, damping, low, high)
            )
    return result, costs


def at_bound(
    parameters: Array, x: Array, samples: Array
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which fits [replicate] to `samples` [replicate, checkpoint] have their lower, and which their
    upper level at its bound, and so not determined by the values.
    """
    low, high = _bounds(x, samples)
    margin = 1e-3 * (high[:, 0] - low[:, 0])
    return parameters[:, 0] <= low[:, 0] + margin, parameters[:, 1] >= high[:, 1] - margin


def jacobian(parameters: Array, x: Array) -> Array:
    """Derivative of the curve with respect to its parameters [..., 4]; returns [..., checkpoint,
    4].
    """
    lower, upper, middle, log_width = (parameters[..., k, None] for k in range(4))
    width = np.exp(log_width)
    z = (x - middle) / width
    s = expit(z)
    slope = (upper - lower) * s * (1 - s)
    return np.stack([1 - s, s, -slope / width, -slope * z], axis=-1)


def hat_matrix(fit: LogisticFit, x: Array) -> Array:
    """How the fitted values follow the values near the fit [checkpoint, checkpoint]: J (JᵀJ)⁻¹ Jᵀ,
    by the pseudo-inverse.
    """
    j = jacobian(fit.parameters, x)
    return j @ np.linalg.pinv(j, rcond=1e-8)


def robust_spread(residuals: Array) -> float:
    """Standard deviation estimated from the median absolute residual (exact for a normal
    distribution).
    """
    return float(1.4826 * np.median(np.abs(residuals)))


def robust_line(design: Array, y: Array, scale: float) -> tuple[Array, float]:
    """Coefficients of the columns of `design` [checkpoint, column] under the soft-L1 loss, and that
    loss.
    """
    weight: NDArray[np.floating] = np.ones_like(y)
    coefficients = np.zeros(design.shape[1])
    for _ in range(50):
        root = np.sqrt(weight)
        updated = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
        residual = y - design @ updated
        weight = 1 / np.sqrt(1 + (residual / scale) ** 2)
        moved = float(np.abs(design @ (updated - coefficients)).max())
        coefficients = updated
        if moved <= 1e-6 * scale:
            break
    return coefficients, float(_cost(y - design @ coefficients, scale))


def _bounds(x: Array, y: Array) -> tuple[Array, Array]:
    """Lowest and highest parameters [..., 4] for values `y` [..., checkpoint]."""
    smallest, largest = y.min(axis=-1), y.max(axis=-1)
    smallest, largest = (
        smallest - BEYOND * (largest - smallest),
        largest + BEYOND * (largest - smallest),
    )
    first, last = np.full_like(smallest, x[0]), np.full_like(smallest, x[-1])
    narrow = np.full_like(smallest, np.log(np.diff(x).min() / 20))
    wide = np.full_like(smallest, np.log(np.ptp(x) / 4))
    return np.stack([smallest, smallest, first, narrow], axis=-1), np.stack(
        [largest, largest, last, wide], axis=-1
    )


def _grid_starts(x: Array, y: Array) -> Array:
    """The best [lower, upper, middle, log width] on a grid of middles (between checkpoints too) and
    widths [start, 4]; rises before falls.
    """
    middles = np.unique(np.concatenate([x, (x[1:] + x[:-1]) / 2]))
    widths = np.geomspace(np.diff(x).min() / 4, np.ptp(x) / 5, 8)
    middle, width = (g.ravel() for g in np.meshgrid(middles, widths, indexing="ij"))
    s = expit((x[None] - middle[:, None]) / width[:, None])
    centred = s - s.mean(axis=1, keepdims=True)
    rise = (centred @ y) / np.maximum((centred**2).sum(axis=1), 1e-12)
    lower = y.mean() - rise * s.mean(axis=1)
    cost = ((lower[:, None] + rise[:, None] * s - y) ** 2).sum(axis=1)
    # The best start of each width: neighbours on the grid would end in the same place.
    ranked = np.where(rise > 0, cost, np.inf if bool((rise > 0).any()) else cost).reshape(
        middles.size, widths.size
    )
    best = ranked.argmin(axis=0) * widths.size + np.arange(widths.size)
    best = best[np.argsort(ranked.min(axis=0))][:STARTS]
    return np.stack(
        [lower[best], lower[best] + rise[best], middle[best], np.log(width[best])], axis=1
    )


def _cost(residual: Array, scale: float) -> Array:
    """Soft-L1 loss summed over the last axis, in squared units of the values (as scipy defines it,
    times two).
    """
    return np.asarray((2 * scale**2 * (np.sqrt(1 + (residual / scale) ** 2) - 1)).sum(axis=-1))
