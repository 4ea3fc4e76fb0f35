"""A curve without its noise, and without a claim about its shape: local regression whose window is
chosen at each checkpoint.

At each checkpoint a straight line in log tokens is fitted to the checkpoints around it (Fan and
Gijbels 1996), h of them on each side. The window is the largest on which the curve is still a
straight line as far as its noise allows: it grows as long as the intervals of all windows so far
have a value in common (intersection of confidence intervals; Goldenshluger and Nemirovski 1997),
and then one size is taken off, so that what is left of the bias is small beside the noise. On a
steep rise the windows are the checkpoints themselves, on a plateau they are wide.

The result is linear in the values, m = S y, so that noise goes through it by a product. The windows
are chosen for noise that is independent from checkpoint to checkpoint, and its size is found
without a trend: from how far each checkpoint lies from its neighbours, see `noise_size`. How much
neighbouring checkpoints are alike is told from what is left about the smooth curve, see
`autocorrelation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]

WINDOWS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24)
"""Checkpoints on each side that a window may have."""
AGREE = 1.0
"""Windows agree while values within this many standard errors of each are in common."""
ODD = 2.5
"""Deviations count for at most this many times the noise, so that a jump or an odd checkpoint is
none.
"""
SMALLEST_OF_THREE = 0.4534
"""Mean of the smallest of the three deviations of `noise_size`, in standard deviations (normal)."""
SMALLEST = 1e-100
"""Noise of a curve that is constant."""
MEDIAN_OF = 5
WRONG = 5.0
"""A checkpoint that lies further from the running median than this many times the noise went
wrong.
"""
ALONE = 0.25
"""… if neither of its neighbours goes this share of its way."""
QUIET = 0.05
"""The noise at one end of the rise is at least this share of that at the other: a stretch without
any would make its own standardised residuals enormous.
"""
RHOS = np.append(np.arange(0.0, 0.95, 0.05), 0.95)
"""Autocorrelations that noise may be found to have."""
DRAWS = 8
"""Noise curves from which the bias of an autocorrelation is found."""


@dataclass(frozen=True)
class Smooth:
    """A smooth curve.

    Attributes:
        values: [checkpoint] the smooth curve m.
        matrix: [checkpoint, checkpoint] S, with m = S y.
        noise: [checkpoint] standard deviation of the noise of a single checkpoint, if it were
            independent.
        alike: autocorrelation of what is left about the smooth curve.
    """

    values: Array
    matrix: Array
    noise: Array
    alike: float


def smooth_curve(x: Array, y: Array) -> Smooth:
    """Smooth values [checkpoint] over log tokens x [checkpoint], ascending; at least three."""
    y = without_odd(x, y)
    windows = local_lines(x)
    noise = noise_size(x, y)
    errors = np.sqrt(np.einsum("hij,j->hi", windows**2, noise**2))
    place = np.arange(y.size)
    widest = _widest(windows @ y[:, None], errors)[:, 0]
    matrix = windows[np.maximum(widest - 1, 0), place]
    return Smooth(matrix @ y, matrix, noise, _alike(windows, errors, widest, y, noise))


def without_odd(x: Array, y: Array) -> Array:
    """Values [checkpoint] with single checkpoints that went wrong at the running median of five
    (Hampel's filter), which leaves every rise as it is. The two first and last are kept, and what
    goes part of its way with a neighbour, as a dip does.
    """
    if y.size < MEDIAN_OF + 2:
        return y
    steady = y.copy()
    half = MEDIAN_OF // 2
    around = np.lib.stride_tricks.sliding_window_view(y, MEDIAN_OF)
    steady[half:-half] = np.median(around, axis=1)
    # How far a checkpoint and its two neighbours lie from the two beyond these.
    beyond = (around[:, 0] + around[:, -1]) / 2
    own, side = around[:, half] - beyond, np.sign(around[:, half] - beyond)
    neighbours = np.maximum(side * (around[:, 1] - beyond), side * (around[:, 3] - beyond))
    alone = np.zeros(y.size, dtype=bool)
    alone[half:-half] = neighbours < ALONE * np.abs(own)
    return np.where(alone & (np.abs(y - steady) > WRONG * noise_size(x, y).max()), steady, y)


def local_lines(x: Array) -> Array:
    """Matrices [window, checkpoint, checkpoint] that give each checkpoint the value of the line
    fitted to its window, for the windows that a curve at x [checkpoint] has room for.
    """
    return _local_lines(np.ascontiguousarray(x, dtype=float).tobytes())


@lru_cache(maxsize=64)
def _local_lines(key: bytes) -> Array:
    x = np.frombuffer(key)
    apart = np.abs(np.arange(x.size)[:, None] - np.arange(x.size))
    matrices = [np.eye(x.size)]
    for h in WINDOWS[1:]:
        if 2 * h + 1 > x.size:
            break
        inside = (apart <= h).astype(float)
        count = inside.sum(axis=1, keepdims=True)
        centre = inside @ x[:, None] / count
        deviation = (x - centre) * inside  # [checkpoint, checkpoint]
        spread = (deviation**2).sum(axis=1, keepdims=True)
        matrices.append(inside / count + (x[:, None] - centre) * deviation / spread)
    return np.stack(matrices)


def off_neighbours(x: Array, values: Array) -> Array:
    """How far each checkpoint but the ends lies from the straight line through its two neighbours
    [checkpoint − 2, ...], for values [checkpoint, ...], in units that leave the standard deviation
    of independent noise as it is.
    """
    part = ((x[1:-1] - x[:-2]) / (x[2:] - x[:-2])).reshape(-1, *[1] * (values.ndim - 1))
    left = values[1:-1] - (1 - part) * values[:-2] - part * values[2:]
    return np.asarray(left / np.sqrt(1 + part**2 + (1 - part) ** 2))


def noise_size(x: Array, y: Array) -> Array:
    """Standard deviation of the noise at each checkpoint [checkpoint], if independent: a straight
    line in the share of the rise that is done, since untrained models hardly vary.

    It is taken from the smallest of three deviations of each checkpoint: from its two neighbours,
    so that a jump between two checkpoints is no noise, and from the line through them, so that a
    slope is none.
    """
    jumps = np.diff(y) / np.sqrt(2)
    three = (off_neighbours(x, y), jumps[:-1], jumps[1:])
    seen = np.abs(np.stack(three)).min(axis=0) / SMALLEST_OF_THREE
    windows = local_lines(x)
    steady = windows[min(2, len(windows) - 1)] @ y
    span = float(np.ptp(steady))
    share = (steady - steady.min()) / span if span > 0 else np.zeros_like(y)
    design = np.stack([1 - share, share], axis=1)
    # Untrained models hardly vary, so that the later half is looked at by itself too.
    typical = 1.2 * max(np.median(seen), np.median(seen[seen.size // 2 :]))
    ends = np.full(2, typical if typical > 0 else seen.max())
    for _ in range(4):
        counted = np.minimum(seen, ODD * (design[1:-1] @ ends))
        ends, _ = nnls(design[1:-1], counted)
        ends = np.maximum(ends, QUIET * ends.max())
    # Values that are exact in places have no noise there: a billionth of the rise stands for it.
    return np.asarray(design @ ends + max(1e-9 * float(np.ptp(y)), SMALLEST))


def autocorrelation(rest: Array, matrix: Array, noise: Array) -> float:
    """Autocorrelation ρ of noise, from what is left of it about a curve that follows the values.

    Args:
        rest: [checkpoint] values less the curve.
        matrix: [checkpoint, checkpoint] how the curve follows the values (S, or a hat matrix).
        noise: [checkpoint] standard deviation of the noise.

    Returns:
        the ρ for which (I − S) u, with u autoregressive noise, has the lag-one product that is
        seen, beside its sum of squares, in expectation.
    """
    scaled = rest / noise
    total = float(scaled @ scaled)
    left = (np.eye(rest.size) - matrix) * noise / noise[:, None]
    lags = np.abs(np.arange(rest.size)[:, None] - np.arange(rest.size)).ravel()
    # Σ_jk (BᵀB)_jk ρ^|j−k| is a polynomial in ρ: its coefficients are sums over diagonals.
    squares = np.bincount(lags, (left.T @ left).ravel())
    products = np.bincount(lags, (left[1:].T @ left[:-1]).ravel())
    powers = RHOS[:, None] ** np.arange(rest.size)
    expected = np.maximum.accumulate((powers @ products) / np.maximum(powers @ squares, 1e-300))
    if total <= 0 or expected[-1] <= expected[0]:
        return 0.0
    return float(np.interp(scaled[1:] @ scaled[:-1] / total, expected, RHOS))


def autoregressive(noise: Array, rho: float) -> Array:
    """Independent standard normal noise [checkpoint, sample] made autoregressive, standard
    deviation 1.
    """
    if rho == 0.0:
        return noise
    alike = noise.copy()
    for k in range(1, len(noise)):
        alike[k] = rho * alike[k - 1] + np.sqrt(1 - rho**2) * noise[k]
    return alike


def whitened(values: Array, rho: float) -> Array:
    """Innovations [..., checkpoint] of an autoregressive process; the first value counts as one of
    the stationary process, and not at all in a random walk (ρ = 1).
    """
    first = np.sqrt(1 - rho**2) * values[..., :1]
    return np.concatenate([first, values[..., 1:] - rho * values[..., :-1]], axis=-1)


def hidden_by_neighbours(rho: float) -> float:
    """How many times as large autoregressive noise is as distances from neighbours say.

    From the lines through them it would be √(3 / ((1 − ρ)(3 − ρ))), of evenly spaced checkpoints;
    the smallest of three distances is smaller still, as a simulation has it.
    """
    return float(np.sqrt(3 / ((1 - rho) * (3 - rho))) * (1 + 0.1 * rho))


def _widest(estimates: Array, errors: Array) -> NDArray[np.intp]:
    """Index of the widest window that agrees with all narrower ones [checkpoint, curve], for
    estimates [window, checkpoint, curve] with standard errors [window, checkpoint].
    """
    margin = AGREE * errors[:, :, None]
    low = np.maximum.accumulate(estimates - margin, axis=0)
    high = np.minimum.accumulate(estimates + margin, axis=0)
    agree = np.logical_and.accumulate(low <= high, axis=0)
    return np.asarray(agree.sum(axis=0) - 1)


def _alike(
    windows: Array, errors: Array, widest: NDArray[np.intp], y: Array, noise: Array
) -> float:
    """Autocorrelation about the curve of the widest windows, less what choosing them gives.

    Windows that suit the noise leave residuals that look alike. How much is found by choosing them
    anew for independent noise about the same curve.
    """
    place = np.arange(y.size)
    matrix = windows[widest, place]
    curve = matrix @ y
    found = autocorrelation(y - curve, matrix, noise)
    if found == 0.0:
        return 0.0
    drawn = curve[:, None] + noise[:, None] * _normal(y.size)
    chosen = _widest(windows @ drawn, errors)
    by_choice = 0.0
    for k in range(DRAWS):
        own = windows[chosen[:, k], place]
        by_choice += autocorrelation(drawn[:, k] - own @ drawn[:, k], own, noise) / DRAWS
    return float(np.clip((found - by_choice) / max(1 - by_choice, 1e-6), 0.0, RHOS[-1]))


@lru_cache(maxsize=64)
def _normal(n: int) -> Array:
    return np.random.default_rng(n).normal(size=(n, DRAWS))
