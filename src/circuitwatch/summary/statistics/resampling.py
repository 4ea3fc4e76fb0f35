"""Curves as they might have been: other prompts, and other fluctuations between checkpoints, in one
parametric bootstrap; about a smooth curve (`smooth_noise`) and about a fitted one
(`checkpoint_noise`).

Two kinds of noise lie on a curve (see `emergence`). Which prompts are asked shifts a whole curve
together: that is resampled by drawing prompts with replacement, the same draw at every checkpoint
(Efron 1979). Checkpoints also fluctuate each by itself, and neighbouring ones alike: that is what
is left about the fit, as autoregressive noise. Its size may change with the ability itself
(untrained models hardly vary), so it is a straight line in the share of the rise, from the absolute
residuals (Glejser 1969). The residuals hold some of the prompts' noise too, so that only the
variance beyond it is added:

    noise*_i = √(max(0, V_i − Q_i) · df/χ²_df) · e,
    Q_i = [(I − H) Σ_prompts (I − H)ᵀ]_ii / (1 − H_ii),

with H the hat matrix of the fit, Σ_prompts the covariance of the mean over prompts, and e standard
normal with autocorrelation ρ. V_i is the square of the size above, from residuals divided by 1 −
H_ii (HC3; MacKinnon and White 1985), scaled so that the sum of squared residuals has its
expectation; df = tr(MV)² / tr(MVMV), with M = I − H and V the covariance of the noise, are the
degrees of freedom of that sum (Satterthwaite 1946). Dividing by a draw of χ²_df/df each time is
what makes a percentile interval as wide as Student's t interval for a straight line, instead of too
narrow with few checkpoints (the fiducial distribution of a variance; Fisher 1935).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.special import expit

from circuitwatch.summary.statistics.logistic import Array, LogisticFit, curve, hat_matrix
from circuitwatch.summary.statistics.smoothing import (
    Smooth,
    autoregressive,
    hidden_by_neighbours,
    off_neighbours,
)

MIN_CLIPPED = 20
"""From this many checkpoints on a large residual can be told from the noise."""
FAR = 3.0
"""Residuals count for at most this many scales of the fit's loss."""
LASTING = 0.5
"""Where only standard errors are known: the share of their variance that is taken to be the same at
every checkpoint, at least.
"""


def prompt_weights(n_prompts: int, n: int, rng: np.random.Generator) -> Array:
    """How often each prompt is drawn, less once, as shares [sample, prompt].

    Their variance is unbiased, and drawn from its own distribution in each sample, as that of the
    noise is.
    """
    draws = rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=n)
    free = n_prompts - 1
    size = np.sqrt(n_prompts / free * free / np.maximum(rng.chisquare(free, (n, 1)), 1e-9))
    return np.asarray((draws - 1) / n_prompts * size)


def prompt_shifts(prompts: Array, n: int, rng: np.random.Generator) -> Array:
    """What other prompts would add to the curve [sample, checkpoint], for values [checkpoint,
    prompt].
    """
    return prompt_weights(prompts.shape[1], n, rng) @ prompts.T


def checkpoint_noise(
    x: Array,
    y: Array,
    fit: LogisticFit,
    n: int,
    rng: np.random.Generator,
    *,
    prompts: Array | None = None,
    stderr: Array | None = None,
    alike: float = 0.0,
) -> Array:
    """Fluctuations of checkpoints about a fit [sample, checkpoint], beyond what the choice of
    prompts gives.

    Args:
        x: [checkpoint] log tokens.
        y: [checkpoint] values.
        fit: the fit to them.
        n: samples.
        rng: source of the random numbers.
        prompts: [checkpoint, prompt] values, where known.
        stderr: [checkpoint] standard errors of the values over prompts, where only these are known;
            see `shared_error`.
        alike: autocorrelation of neighbouring checkpoints.
    """
    residual, hat = y - curve(fit.parameters, x), hat_matrix(fit, x)
    if y.size >= MIN_CLIPPED:
        # An odd checkpoint pulls a robust fit no more than one at this distance does.
        residual = np.clip(residual, -FAR * fit.scale, FAR * fit.scale)
    freedom = 1 - np.clip(np.diag(hat), 0.0, 0.95)
    asked = np.zeros_like(y)
    if prompts is not None:
        scaled = _scaled(prompts)
        asked = ((scaled - hat @ scaled) ** 2).sum(axis=1) / freedom
    size = noise_size(x, residual / freedom, fit)
    rest = np.eye(y.size) - hat
    lags = np.abs(np.arange(y.size)[:, None] - np.arange(y.size))
    spread = rest @ (alike**lags * np.outer(size, size)) @ rest  # [checkpoint, checkpoint]
    total = max(float(np.trace(spread)), 1e-300)
    variances = size**2 * float((residual**2).sum()) / total
    # The sizes themselves cost one more.
    df = max(total**2 / max(float((spread * spread.T).sum()), 1e-300) - 1.0, 2.0)
    noise = _drawn(np.maximum(0.0, variances - asked), df, alike, n, rng)
    return noise if stderr is None else noise + shared_error(variances, stderr, n, rng)


def smooth_noise(
    x: Array,
    smooth: Smooth,
    n: int,
    rng: np.random.Generator,
    *,
    prompts: Array | None = None,
    stderr: Array | None = None,
) -> Array:
    """Fluctuations of checkpoints about a smooth curve [sample, checkpoint], as `checkpoint_noise`
    has them about a fit.

    Their size is that of the smooth curve's noise, which comes from how far checkpoints lie from
    their neighbours, so that of the prompts' noise only what such distances show is taken off.
    """
    variances = smooth.noise**2
    asked = np.zeros_like(variances)
    if prompts is not None:
        seen = (off_neighbours(x, _scaled(prompts)) ** 2).sum(axis=1)
        asked = np.concatenate([seen[:1], seen, seen[-1:]])
    # Deviations of neighbours overlap: n of them are worth about half as many.
    df = max(0.45 * (x.size - 2) - 1.0, 2.0)
    beyond = np.maximum(0.0, variances - asked) * hidden_by_neighbours(smooth.alike) ** 2
    noise = _drawn(beyond, df, smooth.alike, n, rng)
    return noise if stderr is None else noise + shared_error(variances, stderr, n, rng)


def shared_error(variances: Array, stderr: Array, n: int, rng: np.random.Generator) -> Array:
    """An error that all checkpoints share [sample, checkpoint], as the prompts are the same.

    Where only standard errors over prompts are known: what they have beyond the fluctuations of
    checkpoints, since independent errors would show in these; and half of them at least, since
    fluctuations can hide it. That errs on the wide side.

    Args:
        variances: [checkpoint] of the fluctuations.
        stderr: [checkpoint] standard errors of the values over prompts.
        n: samples.
        rng: source of the random numbers.
    """
    beyond = np.maximum(LASTING * stderr**2, stderr**2 - variances)
    return np.asarray(rng.normal(size=(n, 1)) * np.sqrt(beyond))


def _scaled(prompts: Array) -> Array:
    """Deviations of prompts from their mean [checkpoint, prompt] whose squares sum to the variance
    of that mean.
    """
    count = prompts.shape[1]
    return np.asarray(
        (prompts - prompts.mean(axis=1, keepdims=True)) / np.sqrt(count * (count - 1))
    )


def _drawn(variances: Array, df: float, alike: float, n: int, rng: np.random.Generator) -> Array:
    """Autoregressive noise [sample, checkpoint] whose variances [checkpoint] are known with df
    degrees of freedom.
    """
    size = np.sqrt(variances * (df / np.maximum(rng.chisquare(df, (n, 1)), 1e-9)))
    return np.asarray(size * autoregressive(rng.normal(size=(variances.size, n)), alike).T)


def noise_size(x: Array, residual: Array, fit: LogisticFit) -> Array:
    """Standard deviation of the noise at each checkpoint [checkpoint]: |residual| · √(π/2) as a
    line in the share of the rise, its ends not negative.
    """
    share = expit((x - fit.middle) / fit.width)
    ends, _ = nnls(np.stack([1 - share, share], axis=1), np.abs(residual) * np.sqrt(np.pi / 2))
    # A twentieth of the larger end at least: a stretch without any noise would make its own
    # standardised residuals enormous.
    ends = np.maximum(ends, 0.05 * ends.max())
    return np.asarray(ends[0] * (1 - share) + ends[1] * share)
