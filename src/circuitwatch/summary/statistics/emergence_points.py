"""Bootstrap samples of the point, in log tokens, at which a curve passes a level, and their central
interval.

Where the whole rise lies between two checkpoints its emergence point is that gap, in every sample,
and the interval is one of intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuitwatch.summary.statistics.crossings import Array
from circuitwatch.summary.statistics.logistic import (
    RISE,
    LogisticFit,
    at_bound,
    crossing,
    curve,
    refit,
)
from circuitwatch.summary.statistics.resampling import checkpoint_noise, prompt_shifts

COVERAGE = 0.95


@dataclass(frozen=True)
class EmergencePoints:
    """Bootstrap samples of a curve.

    Attributes:
        curves: curves about the values seen [sample, checkpoint].
        levels: the level asked for in each [sample].
        upper: upper level of the refitted curves [sample].
        width: their width in natural-log tokens [sample].
        left, right: where the refitted curve passes the level, as an interval of log tokens
            [sample]: a point, or the gap between checkpoints that hides the rise; infinite where it
            doesn't pass, or where a level of the half-rise is at bound.
    """

    curves: Array
    levels: Array
    upper: Array
    width: Array
    left: Array
    right: Array


NO_SAMPLES = EmergencePoints(np.empty((0, 0)), *(np.empty(0) for _ in range(5)))


def sample_emergence_points(
    x: Array,
    y: Array,
    fit: LogisticFit,
    threshold: float | None,
    prompts: Array | None,
    stderr: Array | None,
    n: int,
    seed: int,
    noise_seed: int | None,
) -> EmergencePoints:
    """Bootstrap a curve [checkpoint] about its fit, and refit each of n samples.

    Args:
        x: [checkpoint] log tokens.
        y: [checkpoint] values.
        fit: of the curve.
        threshold: the level asked for; none for half of each sample's own rise.
        prompts: [checkpoint, prompt] values per prompt, or none.
        stderr: [checkpoint] standard errors over prompts, where no more is known.
        n: samples.
        seed: of the choice of prompts.
        noise_seed: of the fluctuations between checkpoints; made from `seed` by default.
    """
    rng = np.random.default_rng(seed)
    shifts = np.zeros((n, y.size)) if prompts is None else prompt_shifts(prompts, n, rng)
    rng = np.random.default_rng([seed, 1] if noise_seed is None else noise_seed)
    noise = checkpoint_noise(
        x, y, fit, n, rng, prompts=prompts, stderr=None if prompts is not None else stderr
    )
    samples = curve(fit.parameters, x) + shifts + noise
    refitted = refit(x, samples, fit)
    levels = refitted[:, :2].mean(axis=1) if threshold is None else np.full(n, threshold)
    left = right = crossing(refitted, levels)
    middle = np.array([fit.middle])
    if np.diff(np.stack(resolved(fit.parameters[None], middle, x)), axis=0).any():
        left, right = resolved(refitted, left, x)
    if threshold is None:
        lower_at_bound, upper_at_bound = at_bound(refitted, x, samples)
        left = np.where(lower_at_bound, -np.inf, left)
        right = np.where(upper_at_bound, np.inf, right)
    return EmergencePoints(
        y + shifts + noise, levels, refitted[:, 1], np.exp(refitted[:, 3]), left, right
    )


def central_interval(left: Array, right: Array) -> tuple[float, float]:
    """Central interval of samples that are intervals [sample] themselves; empty (inf, -inf) without
    samples.
    """
    if not left.size:
        return np.inf, -np.inf
    tail = max(int((left.size + 1) * (1 - COVERAGE) / 2 + 1e-9) - 1, 0)
    return float(np.sort(left)[tail]), float(np.sort(right)[-tail - 1])


def resolved(parameters: Array, x50: Array, x: Array) -> tuple[Array, Array]:
    """Each fit's crossing [fit] as an interval of log tokens: a point, or the gap between
    checkpoints that hides the rise.
    """
    half = RISE * np.exp(parameters[:, 3, None])
    seen = (np.abs(x - parameters[:, 2, None]) <= half).sum(axis=1)
    gap = np.clip(np.searchsorted(x, x50, side="right") - 1, 0, x.size - 2)
    hidden = (seen < 2) & np.isfinite(x50)
    return np.where(hidden, x[gap], x50), np.where(hidden, x[gap + 1], x50)
