"""A rise as a logistic curve in log tokens: one robust fit, many quick refits, and the plainer models it must beat.

y = lower + (upper − lower) · σ((x − middle) / width), with x = log(tokens). The loss is soft L1 (the sum over
checkpoints of scale² · 2(√(1 + (r/scale)²) − 1)), which is quadratic for residuals below `scale` and linear above it, so
that one odd checkpoint doesn't move the curve. All parameters stay inside what was seen: `lower` and `upper` between
the smallest and the largest value, `middle` between the first and the last checkpoint. Nothing is extrapolated.

One fit is done by `scipy.optimize.least_squares`; the hundreds of bootstrap refits are done together by a
Levenberg–Marquardt step on arrays [replicate, checkpoint], started from the first fit. The two are checked against each
other in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import expit

Array = NDArray[np.float64]

MIN_POINTS = 7
"""AICc of the logistic curve (four parameters and a scale) is defined from seven checkpoints on."""


@dataclass(frozen=True)
class LogisticFit:
    """A fitted rise, and how it compares with a constant and with a straight line in log tokens.

    `parameters` is [lower, upper, middle, log width]; `scale` is where the loss turns from quadratic to linear;
    `aicc_*` are Akaike's criterion with the small-sample correction, under the same loss and scale for all three
    (smaller is better); `slope` is that of the straight line, per unit of log tokens.
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
    """Natural log of token counts [checkpoint], with the untrained model (0 tokens) at half the first positive count.

    The logarithm of 0 has no place on the axis. Half the first count puts the untrained model one doubling before it, the
    distance that the following checkpoints of a 1, 2, 4, … schedule have, so it is a point on the left and has no undue leverage.
    """
    counts = np.asarray(tokens, dtype=float)
    positive = counts[counts > 0]
    if positive.size == 0:
        raise ValueError("no checkpoint has a positive number of tokens")
    return np.log(np.where(counts > 0, counts, positive.min() / 2))


def curve(parameters: Array, x: Array) -> Array:
    """The logistic curve at `x` [checkpoint], for parameters [..., 4]; returns [..., checkpoint]."""
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
    """Fit the curve to values `y` at log tokens `x`, both [checkpoint], ascending in x, at least `MIN_POINTS` of them.

    The first guess is the best of a grid of middles and widths, where the two levels follow from linear least squares, so the fit
    doesn't hang on a starting point. The scale of the loss is the robust spread of the first fit's residuals.
    """
    if x.size < MIN_POINTS:
        raise ValueError(f"a logistic fit needs at least {MIN_POINTS} checkpoints, not {x.size}")
    span = float(np.ptp(y))
    if span <= 1e-12 * max(1.0, float(np.abs(y).max())):
        flat = np.array([y[0], y[0], (x[0] + x[-1]) / 2, np.log(np.ptp(x) / 8)])
        return LogisticFit(flat, 1.0, 0.0, -np.inf, 0.0, 0.0)
    low, high = _bounds(x, y)
    start = np.clip(_grid_start(x, y), low + 1e-9, high - 1e-9)
    scale = 0.1 * span
    for _ in range(2):
        result = least_squares(
            lambda p: curve(p, x) - y,
            start,
            lambda p: jacobian(p, x),
            bounds=(low, high),
            loss="soft_l1",
            f_scale=scale,
            x_scale=np.array([span, span, 1.0, 1.0]),
        )
        start = np.clip(result.x, low + 1e-9, high - 1e-9)
        scale = max(robust_spread(curve(result.x, x) - y), 1e-3 * span)
    constant = np.array([np.median(y)])
    line = np.polynomial.Polynomial.fit(x, y, 1).convert().coef
    plain = {
        "constant": least_squares(lambda p: p[0] - y, constant, loss="soft_l1", f_scale=scale),
        "linear": least_squares(lambda p: p[0] + p[1] * x - y, line, loss="soft_l1", f_scale=scale),
    }
    cost = _cost(curve(result.x, x) - y, scale)
    return LogisticFit(
        parameters=result.x,
        scale=scale,
        aicc_logistic=_aicc(cost, x.size, 4, scale),
        aicc_constant=_aicc(2 * plain["constant"].cost, x.size, 1, scale),
        aicc_linear=_aicc(2 * plain["linear"].cost, x.size, 2, scale),
        slope=float(plain["linear"].x[1]),
    )


def refit(x: Array, samples: Array, fit: LogisticFit, *, steps: int = 30) -> Array:
    """Fit every row of `samples` [replicate, checkpoint], starting from `fit`; returns parameters [replicate, 4].

    Levenberg–Marquardt on all rows at once, with the loss as weights that are renewed each step
    (iteratively reweighted least squares) and each row's own damping; the bounds are those of that row's values.
    """
    low, high = _bounds(x, samples)
    p = np.clip(np.broadcast_to(fit.parameters, (samples.shape[0], 4)), low, high)
    damping = np.full(samples.shape[0], 1e-3)
    residual = samples - curve(p, x)
    cost = _cost(residual, fit.scale)
    for _ in range(steps):
        j = jacobian(p, x)
        weight = 1 / np.sqrt(1 + (residual / fit.scale) ** 2)
        normal = np.einsum("rnk,rn,rnl->rkl", j, weight, j)
        gradient = np.einsum("rnk,rn,rn->rk", j, weight, residual)
        # A parameter that pushes against its bound is held there, so that the step solves for the free ones alone.
        held = ((p <= low) & (gradient < 0)) | ((p >= high) & (gradient > 0))
        gradient = np.where(held, 0.0, gradient)
        normal = np.where(held[:, :, None] | held[:, None, :], 0.0, normal)
        diagonal = np.einsum("rkk->rk", normal)
        extra = damping[:, None] * diagonal + np.where(diagonal > 1e-12, 1e-12, 1.0)
        step = np.linalg.solve(normal + extra[:, :, None] * np.eye(4), gradient[:, :, None])[:, :, 0]
        trial = np.clip(p + step, low, high)
        trial_residual = samples - curve(trial, x)
        trial_cost = _cost(trial_residual, fit.scale)
        better = trial_cost < cost
        gain = np.where(better, cost - trial_cost, 0.0)
        p = np.where(better[:, None], trial, p)
        residual = np.where(better[:, None], trial_residual, residual)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-9, 1e9)
        cost = cost - gain
        if better.all() and bool((gain <= 1e-9 * cost).all()):
            break
    return p


def jacobian(parameters: Array, x: Array) -> Array:
    """Derivative of the curve with respect to its parameters [..., 4]; returns [..., checkpoint, 4]."""
    lower, upper, middle, log_width = (parameters[..., k, None] for k in range(4))
    z = (x - middle) / np.exp(log_width)
    s = expit(z)
    slope = (upper - lower) * s * (1 - s)
    return np.stack([1 - s, s, -slope / np.exp(log_width), -slope * z], axis=-1)


def leverage(fit: LogisticFit, x: Array) -> Array:
    """How much each checkpoint [checkpoint] pulls the fit towards itself, in [0, 1): the hat matrix's diagonal."""
    j = jacobian(fit.parameters, x)
    hat = np.einsum("nk,kn->n", j, np.linalg.pinv(j, rcond=1e-8))
    return np.clip(hat, 0.0, 0.95)


def robust_spread(residuals: Array) -> float:
    """Standard deviation estimated from the median absolute residual (exact for a normal distribution)."""
    return float(1.4826 * np.median(np.abs(residuals)))


def _bounds(x: Array, y: Array) -> tuple[Array, Array]:
    """Lowest and highest parameters [..., 4] for values `y` [..., checkpoint]: what was seen, and nothing beyond."""
    smallest, largest = y.min(axis=-1), y.max(axis=-1)
    first, last = np.full_like(smallest, x[0]), np.full_like(smallest, x[-1])
    narrow = np.full_like(smallest, np.log(np.diff(x).min() / 20))
    wide = np.full_like(smallest, np.log(np.ptp(x) / 4))
    return np.stack([smallest, smallest, first, narrow], axis=-1), np.stack([largest, largest, last, wide], axis=-1)


def _grid_start(x: Array, y: Array) -> Array:
    """The best [lower, upper, middle, log width] on a grid of middles (between checkpoints too) and widths."""
    middles = np.unique(np.concatenate([x, (x[1:] + x[:-1]) / 2]))
    widths = np.geomspace(np.diff(x).min() / 4, np.ptp(x) / 5, 8)
    middle, width = (g.ravel() for g in np.meshgrid(middles, widths, indexing="ij"))
    s = expit((x[None] - middle[:, None]) / width[:, None])
    centred = s - s.mean(axis=1, keepdims=True)
    rise = (centred @ y) / np.maximum((centred**2).sum(axis=1), 1e-12)
    lower = y.mean() - rise * s.mean(axis=1)
    cost = ((lower[:, None] + rise[:, None] * s - y) ** 2).sum(axis=1)
    best = int(np.argmin(np.where(rise > 0, cost, np.inf))) if bool((rise > 0).any()) else int(np.argmin(cost))
    return np.array([lower[best], lower[best] + rise[best], middle[best], np.log(width[best])])


def _cost(residual: Array, scale: float) -> Array:
    """Soft-L1 loss summed over the last axis, in squared units of the values (as scipy defines it, times two)."""
    return (2 * scale**2 * (np.sqrt(1 + (residual / scale) ** 2) - 1)).sum(axis=-1)


def _aicc(cost: float | Array, n: int, k: int, scale: float) -> float:
    """AICc with `cost` in the place of the residual sum of squares, for `k` parameters and the scale."""
    k += 1
    # A perfect fit has no finite likelihood: floor the loss at a thousandth of the scale per checkpoint.
    return float(n * np.log(max(float(cost) / n, (1e-3 * scale) ** 2)) + 2 * k + 2 * k * (k + 1) / (n - k - 1))
