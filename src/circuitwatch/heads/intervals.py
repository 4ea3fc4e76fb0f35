"""95 % intervals of role scores: a bootstrap over the units that a score averages over (sequences,
prompts, items or pieces of text).

The score is a mean over units, or a ratio of two sums over them. Units are drawn with replacement,
the same draw for every head, and the interval is between quantiles of the resampled scores (Efron
1979). With few units plain quantiles are too narrow (8 units: a nominal 95 % covers 89 % of normal
means), so they are moved outwards to Φ(±√(n/(n − 1)) · t) with t of Student's distribution with n −
1 degrees of freedom, which makes the interval of a normal mean as wide as Student's and leaves that
of many units as it is (the expanded percentile interval; Hesterberg 2015, arXiv 1411.5279). It
never leaves the range of the resampled scores, so a score in [0, 1] has an interval in [0, 1].

What is about the model at one checkpoint and other units of the same kind: sequences, prompts,
items or texts that might have been asked.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

Array = npt.NDArray[np.float64]

COVERAGE = 0.95


def expanded_percentiles(resampled: Array, n: int, *, axis: int = -1) -> tuple[Array, Array]:
    """Both ends of the interval of a mean over n ≥ 2 units, from its bootstrap resamples, which are
    along an axis.
    """
    tail = float(norm.cdf(np.sqrt(n / (n - 1)) * t.ppf((1 - COVERAGE) / 2, n - 1)))
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=axis)
    return low, high


def bootstrap_interval(
    values: npt.ArrayLike, *, n_bootstrap: int, seed: int, over: npt.ArrayLike | None = None
) -> tuple[Array, Array]:
    """Lower and upper end [...] of the interval of mean(values), or of Σ values ÷ Σ over, 0 where Σ
    over is 0.

    values and over are [..., unit]. Both ends are missing (NaN) where there are fewer than two
    units.
    """
    each = np.asarray(values, dtype=float)
    n = each.shape[-1]
    if n < 2:
        nothing = np.full(each.shape[:-1], np.nan)
        return nothing, nothing
    weights = (
        np.random.default_rng(seed)
        .multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
        .astype(float)
    )
    sums = each @ weights.T  # [..., resample]
    if over is None:
        resampled = sums / n
    else:
        totals = np.asarray(over, dtype=float) @ weights.T
        resampled = np.divide(sums, totals, out=np.zeros_like(sums), where=totals != 0)
    return expanded_percentiles(resampled, n)
