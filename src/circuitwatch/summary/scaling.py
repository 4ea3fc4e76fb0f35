"""How something changes with model size: the moment of emergence, the size of a circuit.

The trend is a straight line between logarithms, log y = a + b · log(params) + normal noise, fitted by maximum likelihood with censored points
as such (Tobin 1958): a model that has `never` shown the ability by its last checkpoint says "later than that", one that `already` had
it at its first checkpoint says "earlier". Its interval is where the profile likelihood stays above the value that gives exactly
Student's t interval when nothing is censored. Suites have few sizes, so p-values of correlations come from all permutations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize
from scipy.stats import norm, rankdata, t

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
        orders = np.array(list(permutations(range(x.size))))
        at_least = np.abs(b[orders] @ a) / norms >= abs(r) - 1e-9
        return r, float(at_least.mean())
    rng = np.random.default_rng(seed)
    sampled = rng.permuted(np.tile(b, (20_000, 1)), axis=1)
    at_least = np.abs(sampled @ a) / norms >= abs(r) - 1e-9
    return r, float((at_least.sum() + 1) / (at_least.size + 1))


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
    b = float(np.polyfit(z[seen], y[seen], 1)[0])
    # Points exactly on a line have no finite likelihood; the floor is far below any precision of the data.
    floor = np.log(1e-6 * max(1.0, float(np.abs(y).max())))

    def loss(b: float, a: float, log_s: float) -> float:
        r = (y - a - b * z) / np.exp(log_s)
        later, earlier = kind == "later", kind == "earlier"
        return float(
            seen.sum() * log_s + 0.5 * (r[seen] ** 2).sum() - norm.logsf(r[later]).sum() - norm.logcdf(r[earlier]).sum()
        )

    def profile(b: float) -> tuple[float, Array]:
        """Smallest loss for a given slope, and the [a, log s] that give it."""
        a = float((y - b * z)[seen].mean())
        s = max(float(np.log(max(np.std((y - a - b * z)[seen]), 1e-300))), floor)
        if seen.all():
            return loss(b, a, s), np.array([a, s])
        best = minimize(lambda v: loss(b, v[0], v[1]), [a, s], method="L-BFGS-B", bounds=[(None, None), (floor, None)])
        return float(best.fun), np.asarray(best.x)

    if not seen.all():
        b = float(minimize(lambda v: profile(float(v[0]))[0], [b], method="Nelder-Mead", options={"xatol": 1e-6}).x[0])
    smallest, (a, log_s) = profile(b)
    n = int(seen.sum())
    drop = 0.5 * n * np.log1p(t.ppf(0.975, n - 2) ** 2 / (n - 2))

    def end(direction: int) -> float | None:
        reach = max(float(np.exp(log_s)), 1e-9) * 4
        for _ in range(12):
            if profile(b + direction * reach)[0] - smallest > drop:
                edge = brentq(lambda v: profile(float(v))[0] - smallest - drop, b, b + direction * reach, xtol=1e-9)
                return float(edge) / float(unit)
            reach *= 2.5
        return None

    return float(a - b * centre / unit), b / float(unit), end(-1), end(+1)


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
