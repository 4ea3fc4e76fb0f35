"""Curves as they might have been: other prompts, and other fluctuations between checkpoints, in one
parametric bootstrap.

Two kinds of noise lie on a curve (see `emergence`). Which prompts are asked shifts a whole curve
together: that is resampled by drawing prompts with replacement, the same draw at every checkpoint
(Efron 1979). Checkpoints also fluctuate each by itself: that is what is left about the fit. Its
size may change with the ability itself (untrained models hardly vary), so it is a straight line in
the share of the rise, from the absolute residuals (Glejser 1969). The residuals hold some of the
prompts' noise too, so that only the variance beyond it is added:

    noise*_i = √(max(0, V_i − Q_i) · df/χ²_df) · e,
    Q_i = [(I − H) Σ_prompts (I − H)ᵀ]_ii / (1 − H_ii),

with H the hat matrix of the fit, Σ_prompts the covariance of the mean over prompts, and e standard
normal. V_i is the square of the size above, from residuals divided by 1 − H_ii (HC3; MacKinnon and
White 1985), scaled so that the sum of squared residuals has its expectation; df = tr(MV)² /
tr(MVMV) with M = I − H are the degrees of freedom of that sum (Satterthwaite 1946). Dividing by a
draw of χ²_df/df each time is what makes a percentile interval as wide as Student's t interval for a
straight line, instead of too narrow with few checkpoints (the fiducial distribution of a variance;
Fisher 1935).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.special import expit

from circuitwatch.summary.statistics.logistic import Array, LogisticFit, curve, hat_matrix

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
) -> Array:
    """Fluctuations of checkpoints [sample, checkpoint] beyond what the choice of prompts gives.

    Args:
        x: [checkpoint] log tokens.
        y: [checkpoint] values.
        fit: the fit to them.
        n: samples.
        rng: source of the random numbers.
        prompts: [checkpoint, prompt] values, where known.
        stderr: [checkpoint] standard errors of the values over prompts, where only these are known.
            What they have beyond the residuals is taken for an error that all checkpoints share
            (the prompts are the same), since independent errors would show in the residuals; and
            half of them at least, since fluctuations of checkpoints can hide it. That errs on the
            wide side.
    """
    residual, hat = y - curve(fit.parameters, x), hat_matrix(fit, x)
    if y.size >= MIN_CLIPPED:
        # An odd checkpoint pulls a robust fit no more than one at this distance does.
        residual = np.clip(residual, -FAR * fit.scale, FAR * fit.scale)
    freedom = 1 - np.clip(np.diag(hat), 0.0, 0.95)
    asked = np.zeros_like(y)
    if prompts is not None:
        scaled = (prompts - prompts.mean(axis=1, keepdims=True)) / np.sqrt(
            prompts.shape[1] * (prompts.shape[1] - 1)
        )
        asked = ((scaled - hat @ scaled) ** 2).sum(axis=1) / freedom
    size = noise_size(x, residual / freedom, fit)
    rest = np.eye(y.size) - hat
    spread = (rest**2) @ size**2
    variances = size**2 * float((residual**2).sum()) / max(float(spread.sum()), 1e-300)
    mixed = rest**2 * np.outer(variances, variances)
    # The sizes themselves cost one more.
    df = max(float(np.diag(rest) @ variances) ** 2 / max(float(mixed.sum()), 1e-300) - 1.0, 2.0)
    drawn = np.maximum(0.0, variances - asked) * (df / np.maximum(rng.chisquare(df, (n, 1)), 1e-9))
    noise: Array = np.sqrt(drawn) * rng.normal(size=(n, y.size))
    if stderr is not None:
        noise += rng.normal(size=(n, 1)) * np.sqrt(
            np.maximum(LASTING * stderr**2, stderr**2 - variances)
        )
    return noise


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
