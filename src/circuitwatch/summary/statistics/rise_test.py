"""Whether a curve rises by more than a curve without any rise does whose checkpoints are alike.

Neighbouring checkpoints are not independent, and a curve that only wanders, up to a random walk,
ends above any level often enough. So a rise is tested against autoregressive noise of whatever
strength suits the curve best: y_i = c + u_i, u_i = ρ u_{i-1} + e_i, with ρ from 0 to 1 (a random
walk). The alternative adds one to three logistic steps, the first of which goes up, and chooses its
own ρ. The statistic is the ratio of likelihoods of the two, T = n log(RSS_0 / RSS_1), with the
steps from a grid of places and widths, in log tokens and in the order of the checkpoints, added
greedily (orthogonal matching pursuit; Pati et al. 1993). A rise of several parts, or with a dip or
an overshoot, needs more than one step; more steps also suit noise better, so that each number has
its own critical value.

The critical values hold for every ρ: a random walk is the worst, and it gives nearly the same ones
for 9 to 154 checkpoints and for all schedules. `benchmarks.rise_null` simulates them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from circuitwatch.summary.statistics.smoothing import whitened

Array = NDArray[np.float64]

STEPS_FROM = (5, 9, 12)
"""Checkpoints from which on one, two and three steps are tried; with fewer than five there is no
test.
"""
RHOS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Autocorrelations that are tried."""
CRITICAL = (22.5, 33.0, 44.0)
"""Likelihood ratios of one, two, three steps: in at most 2 % of random walks is any exceeded."""
FEW_POINTS = 60
"""Up to this many checkpoints, places half-way between two are tried as well."""
WIDTHS = 6
"""Widths of steps, from a jump between two checkpoints to most of the curve."""
MAIN = 0.1
"""The step that goes up explains at least this share of what all steps do: a fall is no rise."""
EXACT = 1e-12
"""A sum of squares this small beside that without a step is a perfect fit."""


def rise_beyond_chance(x: Array, values: Array) -> float:
    """How large a curve's rise is beside what wandering gives.

    Args:
        x: [checkpoint] log tokens, ascending.
        values: [checkpoint].

    Returns:
        the largest of the likelihood ratios, each over its critical value: above 1 the rise is more
        than 2 % of curves without one have, whatever their autocorrelation. 0 where nothing rises,
        and where there are too few checkpoints.
    """
    if values.size < STEPS_FROM[0] or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return 0.0
    ratios = likelihood_ratios(x, values[None])[:, 0]
    return float((ratios / np.array(CRITICAL[: ratios.size])).max().clip(0.0))


def likelihood_ratios(x: Array, values: Array) -> Array:
    """T of one, two and three steps [step, curve], for curves [curve, checkpoint] at log tokens x
    [checkpoint]; of as many steps as `STEPS_FROM` allows.
    """
    count, n = values.shape
    flat = np.full(count, np.inf)
    stepped = np.full((sum(n >= fewest for fewest in STEPS_FROM), count), np.inf)
    centred = values - values[:, :1]
    for rho, (level, steps) in zip(RHOS, _designs(_key(x)), strict=True):
        rest = whitened(centred, rho)
        if level is not None:
            rest = rest - np.outer(rest @ level, level)
        without = (rest**2).sum(axis=1)
        flat = np.minimum(flat, without)
        first = np.zeros(count)
        chosen: list[Array] = []
        for k in range(len(stepped)):
            # Gain of each candidate beyond the steps there are [curve, candidate].
            gain = rest @ steps.T
            left = 1 - sum(((one @ steps.T) ** 2 for one in chosen), np.zeros_like(gain))
            gain = np.where(left > 1e-3, gain, 0.0) / np.sqrt(np.maximum(left, 1e-3))
            best = steps[(gain if k == 0 else np.abs(gain)).argmax(axis=1)]
            for one in chosen:
                best = best - (best * one).sum(axis=1, keepdims=True) * one
            best = best / np.maximum(np.linalg.norm(best, axis=1, keepdims=True), 1e-12)
            size = (rest * best).sum(axis=1, keepdims=True)
            rest = rest - (np.maximum(size, 0.0) if k == 0 else size) * best
            chosen.append(best)
            left_over = (rest**2).sum(axis=1)
            first = without - left_over if k == 0 else first
            rises = first >= MAIN * (without - left_over)
            stepped[k] = np.where(rises, np.minimum(stepped[k], left_over), stepped[k])
    stepped = np.minimum(stepped, flat)
    return np.asarray(n * np.log(np.maximum(flat, 1e-300) / np.maximum(stepped, EXACT * flat)))


def _key(x: Array) -> bytes:
    return np.ascontiguousarray(x, dtype=float).tobytes()


@lru_cache(maxsize=8)
def _designs(key: bytes) -> tuple[tuple[Array | None, Array], ...]:
    """For each ρ: the level (none for a random walk, which has none) and all steps
    [step, checkpoint], whitened, of unit length, the steps orthogonal to the level.
    """
    x = np.frombuffer(key)
    n = x.size
    gap = float(np.median(np.diff(x)))
    in_order = _steps(np.arange(n, dtype=float), 0.2, n / 4)
    steps = np.concatenate([in_order, _steps(x, gap / 4, float(np.ptp(x)) / 5)])
    designs = []
    for rho in RHOS:
        level = whitened(np.ones(n), rho)
        own = whitened(steps, rho)
        size = float(np.linalg.norm(level))
        if size > 1e-9:
            level = level / size
            own = own - np.outer(own @ level, level)
        length = np.linalg.norm(own, axis=1, keepdims=True)
        own = np.where(length > 1e-6, own / np.maximum(length, 1e-6), 0.0)
        designs.append((level if size > 1e-9 else None, own))
    return tuple(designs)


def _steps(x: Array, narrowest: float, widest: float) -> Array:
    """Logistic steps [step, checkpoint] at many places and of some widths."""
    between = (x[1:] + x[:-1]) / 2 if x.size <= FEW_POINTS else x[:0]
    places = np.concatenate([x, between])[:, None, None]
    widths = np.geomspace(narrowest, max(widest, 2 * narrowest), WIDTHS)[:, None]
    return np.asarray(expit((x - places) / widths).reshape(-1, x.size))
