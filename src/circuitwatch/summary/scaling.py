"""How something changes with model size: the moment of emergence, the size of a circuit.

The trend is a straight line between logarithms, log y = a + b · log(params) + normal noise, fitted by maximum likelihood with censored points
as such (Tobin 1958, Olsen 1978): a model that has `never` shown the ability by its last checkpoint says "later than that", one that `already` had
it at its first checkpoint says "earlier". Its interval is where the profile likelihood stays above the value that gives exactly
Student's t interval when nothing is censored. Suites have few sizes, so p-values of correlations come from all permutations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import rankdata, t

Array = NDArray[np.float64]
Kind = Literal["observed", "later", "earlier"]

MIN_SIZES = 3
"""A line through two points always fits: from three observed sizes on there is something to say."""
MIN_SIZES_KNEE = 6
"""AICc of a line with a knee (three parameters and a scale) is defined from six observed sizes on."""
MOST_PERMUTED = 8
"""Up to this many points all permutations are counted (40,320); above, a sample of 20,000."""


@dataclass(frozen=True)
class Trend:
    """A trend over model sizes; what can't be said is missing (none), and `status` says why.

    Attributes:
        status: `fitted`, or why nothing was.
        n_sizes, n_observed, n_censored: sizes used in the fit; those with a value; those known only as later or earlier.
        slope: change of log y for a change of log params by one: -1 means that a model twice as large needs half as much.
        slope_low, slope_high: 95 % interval; an end is missing where the data don't bound it.
        intercept: log y at one parameter (natural logarithms).
        spearman, spearman_p: rank correlation and exact two-sided p; a censored size ranks beyond all the observed ones where
            its bound allows that, and is left out else.
        pearson, pearson_p: correlation of the observed values on the scale that the caller chose, and exact two-sided p.
        knee: parameters beyond which y changes no more; missing where a straight line does as well.
        knee_status: `levels off`, `no knee: a straight line fits as well`, or why none was looked for.
    """

    status: str
    n_sizes: int
    n_observed: int
    n_censored: int
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    intercept: float | None = None
    spearman: float | None = None
    spearman_p: float | None = None
    pearson: float | None = None
    pearson_p: float | None = None
    knee: float | None = None
    knee_status: str = ""


def trend(
    params: ArrayLike,
    values: ArrayLike,
    kinds: list[Kind] | None = None,
    *,
    pearson_in_logs: bool = True,
    seed: int = 0,
) -> Trend:
    """Describe how `values` change with model size.

    Args:
        params: [size] parameters of each model, positive.
        values: [size] what is described, positive: the value, or for a censored size its bound.
        kinds: [size] `observed`, `later` (above its bound) or `earlier` (below it); all observed by default.
        pearson_in_logs: correlate logarithms; otherwise the numbers themselves, as the paper does for circuit sizes.
        seed: of the sampled permutations where there are too many to count.

    Returns:
        the trend; with fewer than three observed sizes, only the counts and a status that says so.
    """
    p, y = np.asarray(params, dtype=float), np.asarray(values, dtype=float)
    kind = np.array(kinds if kinds is not None else ["observed"] * p.size, dtype=object)
    if not p.shape == y.shape == kind.shape:
        raise ValueError(f"params, values and kinds differ in length: {p.size}, {y.size}, {kind.size}")
    if (p <= 0).any() or (y <= 0).any():
        raise ValueError("params and values must be positive")
    seen = kind == "observed"
    counts = {
        "n_sizes": int(np.unique(p).size),
        "n_observed": int(np.unique(p[seen]).size),
        "n_censored": int((~seen).sum()),
    }
    if counts["n_observed"] < MIN_SIZES:
        what = "sizes" if counts["n_sizes"] < MIN_SIZES else "observed sizes"
        n = counts["n_sizes"] if counts["n_sizes"] < MIN_SIZES else counts["n_observed"]
        few = f"too few {what} (n={n})"
        return Trend(few, **counts, knee_status=few)
    x, log_y = np.log(p), np.log(y)
    intercept, slope, low, high = censored_line(x, log_y, kind)
    ranked = _rankable(y, kind)
    beyond = np.where(kind == "later", np.inf, np.where(kind == "earlier", -np.inf, y))[ranked]
    spearman, spearman_p = correlation(rankdata(p[ranked]), rankdata(beyond), seed=seed)
    pair = (x[seen], log_y[seen]) if pearson_in_logs else (p[seen], y[seen])
    pearson, pearson_p = correlation(*pair, seed=seed)
    knee, knee_status = find_knee(x[seen], log_y[seen])
    return Trend(
        "fitted",
        **counts,
        slope=slope,
        slope_low=low,
        slope_high=high,
        intercept=intercept,
        spearman=spearman,
        spearman_p=spearman_p,
        pearson=pearson,
        pearson_p=pearson_p,
        knee=None if knee is None else float(np.exp(knee)),
        knee_status=knee_status,
    )


def correlation(x: Array, y: Array, *, seed: int = 0) -> tuple[float | None, float | None]:
    """Pearson's r of x and y, both [point], and its two-sided permutation p (exact for few points); none where one is constant."""
    a, b = x - x.mean(), y - y.mean()
    norms = float(np.sqrt((a**2).sum() * (b**2).sum()))
    if norms <= 1e-12 * max(1.0, float(np.abs(x).max() * np.abs(y).max())):
        return None, None
    r = float(a @ b) / norms
    if x.size <= MOST_PERMUTED:
        orders = _orders(x.size)
        at_least = np.abs(b[orders] @ a) / norms >= abs(r) - 1e-9
        return r, float(at_least.mean())
    rng = np.random.default_rng(seed)
    sampled = rng.permuted(np.tile(b, (20_000, 1)), axis=1)
    at_least = np.abs(sampled @ a) / norms >= abs(r) - 1e-9
    return r, float((at_least.sum() + 1) / (at_least.size + 1))


@lru_cache(maxsize=MOST_PERMUTED)
def _orders(n: int) -> NDArray[np.intp]:
    """All orders of n points [order, point]."""
    return np.array(list(permutations(range(n))), dtype=np.intp)


def censored_line(x: Array, y: Array, kind: NDArray[np.object_]) -> tuple[float, float, float | None, float | None]:
    """Maximum-likelihood line y = a + b·x with censored points; returns (a, b, low of b, high of b).

    Args:
        x: [point] log parameters.
        y: [point] log values or bounds.
        kind: [point] `observed`, `later` or `earlier`; at least three observed points with different x.
    """
    seen = kind == "observed"
    centre, unit = x.mean(), x.std()
    z = (x - centre) / unit
    ones = np.ones_like(z)
    # Points exactly on a line have no finite likelihood; the floor is far below any precision of the data.
    smallest_spread = 1e-6 * max(1.0, float(np.abs(y).max()))
    smallest, best = _tobit(np.stack([ones, z], axis=1), y, kind, smallest_spread)
    spread = 1 / best[0]
    a, b = best[1] * spread, best[2] * spread
    n = int(seen.sum())
    drop = 0.5 * n * np.log1p(t.ppf(0.975, n - 2) ** 2 / (n - 2))

    def excess(slope: float) -> float:
        return _tobit(ones[:, None], y - slope * z, kind, smallest_spread)[0] - smallest - drop

    def end(direction: int) -> float | None:
        reach = max(float(spread), 1e-9) * 4
        for _ in range(12):
            if excess(b + direction * reach) > 0:
                return float(brentq(excess, b, b + direction * reach, xtol=1e-9)) / float(unit)
            reach *= 2.5
        return None

    return float(a - b * centre / unit), float(b / unit), end(-1), end(+1)


def _tobit(design: Array, y: Array, kind: NDArray[np.object_], smallest_spread: float) -> tuple[float, Array]:
    """Smallest negative log-likelihood of y = design · β + normal noise with censored points, and [1/σ, β/σ] that give it.

    In these parameters the likelihood has a single maximum (Olsen 1978), so Newton's method with halved steps finds it from anywhere.
    """
    seen, later = kind == "observed", kind == "later"
    highest = 1 / smallest_spread
    columns = np.concatenate([y[:, None], -design], axis=1)

    def loss(v: Array) -> float:
        u = columns @ v
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = log_ndtr(np.where(later, -u, u))
        return float(-seen.sum() * np.log(v[0]) + 0.5 * (u[seen] ** 2).sum() - tail[~seen].sum())

    least = np.linalg.lstsq(design[seen], y[seen], rcond=None)[0]
    spread = max(float((y - design @ least)[seen].std()), smallest_spread)
    v = np.concatenate([[1.0], least]) / spread
    value = loss(v)
    for _ in range(100):
        u = columns @ v
        side = np.where(later, u, -u)
        hazard = np.exp(-0.5 * side**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-side))
        first = np.where(seen, u, np.where(later, hazard, -hazard))
        second = np.where(seen, 1.0, hazard * (hazard - side))
        gradient, curvature = columns.T @ first, (columns.T * second) @ columns
        gradient[0] -= seen.sum() / v[0]
        curvature[0, 0] += seen.sum() / v[0] ** 2
        free = np.ones(v.size, dtype=bool)
        free[0] = not (v[0] >= highest and gradient[0] < 0)
        step = np.zeros_like(v)
        step[free] = -np.linalg.lstsq(curvature[np.ix_(free, free)], gradient[free], rcond=None)[0]
        size = 1.0 if v[0] + step[0] > 0 else -0.9 * v[0] / step[0]
        for _ in range(40):
            trial = v + size * step
            trial[0] = min(trial[0], highest)
            if (trial_value := loss(trial)) < value:
                break
            size /= 2
        else:
            break
        gain, v, value = value - trial_value, trial, trial_value
        if gain < 1e-12 * (1 + abs(value)):
            break
    return value, v


def find_knee(x: Array, y: Array) -> tuple[float | None, str]:
    """Where y stops changing with x: a line up to a knee and level beyond it, against a straight line, by AICc.

    Args:
        x: [point] log parameters.
        y: [point] log values.

    Returns:
        (the knee on the x axis, or none; a status in words). The knee lies between the second and the last but one size.
    """
    sizes = np.unique(x)
    if sizes.size < MIN_SIZES_KNEE:
        return None, f"too few sizes for a knee (n={sizes.size})"
    knees = np.linspace(sizes[1], sizes[-2], 200)
    costs = [_residual_sum(np.minimum(x, knee), y) for knee in knees]
    best = int(np.argmin(costs))
    if _aicc(costs[best], x.size, 4) < _aicc(_residual_sum(x, y), x.size, 3):
        return float(knees[best]), "levels off"
    return None, "no knee: a straight line fits as well"


def _residual_sum(x: Array, y: Array) -> float:
    design = np.stack([np.ones_like(x), x], axis=1)
    return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())


def _aicc(cost: float, n: int, k: int) -> float:
    """AICc of a normal model with `k` parameters, its spread included."""
    return n * math.log(max(cost / n, 1e-12)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _rankable(y: Array, kind: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Points whose place in the order is known: observed ones, and bounds beyond all of the observed."""
    seen = y[kind == "observed"]
    return (kind == "observed") | ((kind == "later") & (y >= seen.max())) | ((kind == "earlier") & (y <= seen.min()))
