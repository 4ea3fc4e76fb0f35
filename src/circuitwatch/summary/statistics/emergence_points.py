"""Bootstrap samples of the point, in log tokens, at which a curve passes a level, and their central
interval: of the smooth curve, and of a logistic curve.

A smooth curve is known at checkpoints alone, so that in each sample its point is an interval (see
`crossings.passed`). A logistic curve is fitted anew to each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitwatch.summary.statistics.crossings import Array, held_crossing, passed
from circuitwatch.summary.statistics.logistic import LogisticFit, crossing, curve, refit
from circuitwatch.summary.statistics.resampling import (
    checkpoint_noise,
    prompt_shifts,
    smooth_noise,
)
from circuitwatch.summary.statistics.smoothing import Smooth

COVERAGE = 0.95


@dataclass(frozen=True)
class Noise:
    """What is known of a curve's noise, and how it is drawn.

    Attributes:
        prompts: [checkpoint, prompt] values per prompt, or none.
        stderr: [checkpoint] standard errors over prompts, where no more is known.
        n: samples.
        seed: of the choice of prompts.
        noise_seed: of the fluctuations between checkpoints; made from `seed` by default.
    """

    prompts: Array | None
    stderr: Array | None
    n: int
    seed: int
    noise_seed: int | None

    def shifts(self, checkpoints: int) -> Array:
        """What other prompts would add [sample, checkpoint]; the same whenever it is asked."""
        if self.prompts is None:
            return np.zeros((self.n, checkpoints))
        return prompt_shifts(self.prompts, self.n, np.random.default_rng(self.seed))

    def generator(self) -> np.random.Generator:
        """Source of the fluctuations."""
        seed = [self.seed, 1] if self.noise_seed is None else self.noise_seed
        return np.random.default_rng(seed)

    @property
    def errors(self) -> Array | None:
        """Standard errors, where they say more than the prompts."""
        return None if self.prompts is not None else self.stderr


@dataclass(frozen=True)
class EmergencePoints:
    """Bootstrap samples of a curve.

    Attributes:
        curves: smooth curves [sample, checkpoint].
        levels: the level asked for in each [sample].
        width: log tokens from 10 % to 90 % of each sample's rise [sample], for the half-rise.
        left, right: where each sample passes its level, as an interval of log tokens [sample];
            infinite where it doesn't pass.
    """

    curves: Array
    levels: Array
    width: Array
    left: Array
    right: Array


NO_SAMPLES = EmergencePoints(np.empty((0, 0)), *(np.empty(0) for _ in range(4)))


def sample_smooth(x: Array, smooth: Smooth, noise: Noise) -> Array:
    """Smooth curves as they might have been [sample, checkpoint]."""
    drawn = noise.shifts(x.size) + smooth_noise(
        x, smooth, noise.n, noise.generator(), prompts=noise.prompts, stderr=noise.errors
    )
    return np.asarray(smooth.values + drawn @ smooth.matrix.T)


def points_of(x: Array, curves: Array, levels: Array, low: Array | None) -> EmergencePoints:
    """Where smooth curves pass their levels.

    Args:
        x: [checkpoint] log tokens.
        curves: [sample, checkpoint].
        levels: [sample] the level asked for.
        low: [sample] level before the rise, for the half-rise.
    """
    places = held_crossing(curves, levels)
    left, right = passed(x, curves, levels, places)
    width = np.empty(0) if low is None else rise_widths(x, curves, low, 2 * levels - low, places)
    return EmergencePoints(curves, levels, width, left, right)


def sample_fitted(
    x: Array, y: Array, fit: LogisticFit, threshold: float | None, alike: float, noise: Noise
) -> Array:
    """Log tokens at which logistic curves pass a level [sample], each fitted to values about the
    fit as they might have been.

    Args:
        x: [checkpoint] log tokens.
        y: [checkpoint] values.
        fit: of these.
        threshold: the level; none for half-way between the curve's values at the first and the last
            checkpoint.
        alike: autocorrelation of what is left about the fit.
        noise: of the curve.
    """
    drawn = noise.shifts(x.size) + checkpoint_noise(
        *(x, y, fit, noise.n, noise.generator()),
        prompts=noise.prompts,
        stderr=noise.errors,
        alike=alike,
    )
    fitted = refit(x, curve(fit.parameters, x) + drawn, fit)
    levels = half_way(fitted, x) if threshold is None else np.full(noise.n, threshold)
    return crossing(fitted, levels)


def half_way(parameters: Array, x: Array) -> Array:
    """Half-way between the values of logistic curves [..., 4] at the first and the last
    checkpoint [...].
    """
    return np.asarray(curve(parameters, x[[0, -1]]).mean(axis=-1))


def rise_widths(
    x: Array, curves: Array, low: Array, high: Array, places: NDArray[np.intp]
) -> Array:
    """Log tokens from 10 % to 90 % of each curve's rise [curve], by straight lines between
    checkpoints; NaN where the crossing of half of it (`places`) is not among them.
    """
    n, index = x.size, np.arange(x.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (curves - low[:, None]) / (high - low)[:, None]
    after = index >= places[:, None]
    with np.errstate(invalid="ignore"):
        early = ~after & (share < 0.1)
        late = after & (share >= 0.9)
    begins = np.where(early.any(axis=1), n - 1 - early[:, ::-1].argmax(axis=1), 0)
    ends = np.where(late.any(axis=1), late.argmax(axis=1), n - 1)
    width = _at(x, share, np.minimum(ends, n - 1), 0.9) - _at(
        x, share, np.minimum(begins + 1, n - 1), 0.1
    )
    return np.where((places > 0) & (places < n), width, np.nan)


def _at(x: Array, share: Array, after: NDArray[np.intp], level: float) -> Array:
    """Log tokens [curve] at which the line to checkpoint `after` passes a level; the checkpoint's
    own where it doesn't.
    """
    row, before = np.arange(len(share)), np.maximum(after - 1, 0)
    start, end = share[row, before], share[row, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(end > start, (level - start) / (end - start), 1.0)
    return np.asarray(x[before] + (x[after] - x[before]) * np.nan_to_num(part, nan=1.0).clip(0, 1))


def central_interval(left: Array, right: Array) -> tuple[float, float]:
    """Central interval of samples that are intervals [sample] themselves; empty (inf, -inf) without
    samples.
    """
    if not left.size:
        return np.inf, -np.inf
    tail = max(int((left.size + 1) * (1 - COVERAGE) / 2 + 1e-9) - 1, 0)
    return float(np.sort(left)[tail]), float(np.sort(right)[-tail - 1])
