"""How something changes with model size: the emergence point, the size of a circuit.

The trend is a straight line between logarithms, log y = a + b · log(params) + normal noise, fitted
by likelihood with censored points as such (Tobin 1958, Olsen 1978): a model that has `never` shown
the ability by its last checkpoint is right-censored there, one that `already` had it at its first
checkpoint is left-censored. A penalty (Firth 1993) takes away the bias that maximum likelihood has
with few observed sizes. The interval is that of the likelihood ratio, with a critical value that
makes it Student's t interval when nothing is censored. Suites have few sizes, so p-values of
correlations are exact, from all permutations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import erfcx, log_ndtr, stdtrit
from scipy.stats import permutation_test, rankdata

from circuitwatch.summary.statistics.knees import KneeStatus, find_knee

Array = NDArray[np.float64]
Kind = Literal["observed", "right-censored", "left-censored"]
"""A right-censored value lies above its bound, a left-censored one below it."""
TrendStatus = Literal["fitted", "too few sizes", "too few observed sizes"]

MIN_SIZES = 3
"""A line through two points always fits: from three observed sizes on there is something to say."""
PERMUTATIONS = 40_320
"""All permutations of up to eight points; of more points, this many at random."""


@dataclass(frozen=True)
class Trend:
    """A trend over model sizes; what can't be said is missing (none), and `status` says why.

    Attributes:
        status: `fitted`, or why nothing was.
        n_sizes, n_observed, n_censored: sizes used in the fit; those with a value; those known only
            by a bound.
        slope: change of log y for a change of log params by one: -1 means that a model twice as
            large needs half as much.
        slope_low, slope_high: 95 % interval; an end is missing where the data don't bound it.
        intercept: log y at one parameter (natural logarithms).
        spearman, spearman_p: rank correlation and exact two-sided p; a censored size ranks beyond
            all the observed ones where its bound allows that, and is left out else.
        pearson, pearson_p: correlation of the observed values on the scale that the caller chose,
            and exact two-sided p.
        knee: parameters beyond which y changes no more; missing where a straight line does as well.
        knee_low, knee_high: the sizes that are compatible with one (95 %), of the observed sizes;
            an end is missing where these don't bound it: without knee_high the change may well go
            on beyond the largest, without knee_low there may be no change with size at all.
        knee_p: how often noise about a straight line looks as bent (Monte Carlo).
        knee_status: whether there is a knee, or why none can be told.
    """

    status: TrendStatus
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
    knee_low: float | None = None
    knee_high: float | None = None
    knee_p: float | None = None
    knee_status: KneeStatus = "too few sizes for a knee"


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
        kinds: [size] whether each value is observed or the bound of a censored one; all observed
            by default.
        pearson_in_logs: correlate logarithms; otherwise the numbers themselves, as the paper does
            for circuit sizes.
        seed: of the sampled permutations where there are too many to count.

    Returns:
        the trend; with fewer than three observed sizes, only the counts and a status that says so.
    """
    p, y = np.asarray(params, dtype=float), np.asarray(values, dtype=float)
    kind = np.array(kinds if kinds is not None else ["observed"] * p.size, dtype=object)
    if not p.shape == y.shape == kind.shape:
        raise ValueError(
            f"params, values and kinds differ in length: {p.size}, {y.size}, {kind.size}"
        )
    if (p <= 0).any() or (y <= 0).any():
        raise ValueError("params and values must be positive")
    seen = kind == "observed"
    n_sizes, n_observed = int(np.unique(p).size), int(np.unique(p[seen]).size)
    counts = n_sizes, n_observed, int((~seen).sum())
    if n_observed < MIN_SIZES:
        few = n_sizes < MIN_SIZES
        return Trend("too few sizes" if few else "too few observed sizes", *counts)
    x, log_y = np.log(p), np.log(y)
    intercept, slope, low, high = censored_line(x, log_y, kind)
    ranked = _rankable(y, kind)
    unbounded = np.select([kind == "right-censored", kind == "left-censored"], [np.inf, -np.inf], y)
    spearman, spearman_p = correlation(rankdata(p[ranked]), rankdata(unbounded[ranked]), seed=seed)
    pair = (x[seen], log_y[seen]) if pearson_in_logs else (p[seen], y[seen])
    pearson, pearson_p = correlation(*pair, seed=seed)
    knee = find_knee(x[seen], log_y[seen])
    return Trend(
        "fitted",
        *counts,
        slope=slope,
        slope_low=low,
        slope_high=high,
        intercept=intercept,
        spearman=spearman,
        spearman_p=spearman_p,
        pearson=pearson,
        pearson_p=pearson_p,
        knee=_exp(knee.at),
        knee_low=_exp(knee.low),
        knee_high=_exp(knee.high),
        knee_p=knee.p,
        knee_status=knee.status,
    )


def correlation(x: Array, y: Array, *, seed: int = 0) -> tuple[float | None, float | None]:
    """Pearson's r of x and y, both [point], and its two-sided permutation p (exact for few points);
    none where one is constant.
    """
    a, b = x - x.mean(), y - y.mean()
    norms = float(np.sqrt((a**2).sum() * (b**2).sum()))
    if norms <= 1e-12 * max(1.0, float(np.abs(x).max() * np.abs(y).max())):
        return None, None
    # Rounded: sums in another order give the same correlation another last digit.
    test = permutation_test(
        (b,),
        lambda permuted, axis: np.round(np.abs(permuted @ a) / norms, 9),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=PERMUTATIONS,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(a @ b) / norms, float(test.pvalue)


def censored_line(
    x: Array, y: Array, kind: NDArray[np.object_]
) -> tuple[float, float, float | None, float | None]:
    """Line y = a + b·x + normal noise with censored points; returns (a, b, low of b, high of b).

    The line is where the penalised likelihood is highest, see `_tobit`; without censored points,
    that of least squares. The interval holds the slopes that the likelihood ratio doesn't reject at
    5 %. Its critical value is that of Student's t test with as many points as the line rests on if
    that slope is true: an observed point counts as one, a censored one as its share of the
    information that it would have given. If censored points counted nothing there, intervals would
    be too wide (98 % with censored points at both ends).

    Args:
        x: [point] log parameters.
        y: [point] log values or bounds.
        kind: [point] each a `Kind`; at least three observed points with different x.
    """
    centre, unit = x.mean(), x.std()
    z = (x - centre) / unit
    design = np.stack([np.ones_like(z), z], axis=1)
    # Points exactly on a line have no finite likelihood; the floor is far below any precision of
    # the data.
    smallest_spread = 1e-6 * max(1.0, float(np.abs(y).max()))
    smallest, likeliest, _ = _tobit(design, y, kind, smallest_spread)
    scaled = _tobit(design, y, kind, smallest_spread, penalised=True)[1]
    a, b = scaled[1:] / scaled[0]

    def excess(slope: float) -> float:
        value, _, points = _tobit(design[:, :1], y - slope * z, kind, smallest_spread)
        freedom = points - 2
        return (
            value
            - smallest
            - 0.5 * points * math.log1p(float(stdtrit(freedom, 0.975)) ** 2 / freedom)
        )

    def end(direction: int) -> float | None:
        start = float(likeliest[2] / likeliest[0])
        reach = max(1 / float(likeliest[0]), 1e-9) * 4
        for _ in range(12):
            if excess(start + direction * reach) > 0:
                return float(brentq(excess, start, start + direction * reach, xtol=1e-9)) / float(
                    unit
                )
            reach *= 2.5
        return None

    return float(a - b * centre / unit), float(b / unit), end(-1), end(+1)


def _tobit(
    design: Array,
    y: Array,
    kind: NDArray[np.object_],
    smallest_spread: float,
    *,
    penalised: bool = False,
) -> tuple[float, Array, float]:
    """Fit y = design · β + normal noise with censored points: the smallest loss, [1/σ, β/σ] there,
    and how many points the line rests on.

    The loss is the negative log-likelihood. In these parameters it has a single minimum (Olsen
    1978), so Newton's method with halved steps finds it from anywhere. But maximum likelihood makes
    lines too steep: with few points, chance that makes the line steep also hides more of it. The
    bias is of order 1/n (Cox and Snell 1968). A penalty of ½ log |information| in these parameters
    (Jeffreys' prior; Firth 1993) takes most of it away. We use the observed information, as the
    expected one needs bounds for observed points too, and ½ log(1/σ) beside it: this keeps σ where
    likelihood has it when nothing is censored, so that only censored points speak. A few
    thousandths are left of a bias of up to −0.02 (`benchmarks.simulated`), as with the formula of
    Cox and Snell and known bounds.
    """
    seen, right = kind == "observed", kind == "right-censored"
    n = int(seen.sum())
    least = np.linalg.lstsq(design[seen], y[seen], rcond=None)[0]
    rest = y - design @ least
    spread = max(float(rest[seen].std()), smallest_spread)
    # Residuals in units of their spread: well-conditioned even for points on a line.
    columns = np.concatenate([rest[:, None] / spread, -design], axis=1)
    highest = spread / smallest_spread

    def parts(v: Array) -> tuple[float, Array, Array, float]:
        """Loss, gradient, information, and points that the line rests on."""
        u = columns @ v
        side = np.where(right, u, -u)
        hazard = math.sqrt(2 / math.pi) / erfcx(side / math.sqrt(2))
        first = np.where(seen, u, np.where(right, hazard, -hazard))
        second = np.where(seen, 1.0, hazard * (hazard - side))
        loss = (
            -n * np.log(v[0] / spread) + 0.5 * (u[seen] ** 2).sum() - log_ndtr(-side[~seen]).sum()
        )
        gradient, information = columns.T @ first, (columns.T * second) @ columns
        gradient[0] -= n / v[0]
        information[0, 0] += n / v[0] ** 2
        if penalised:
            third = np.where(
                seen, 0.0, np.where(right, 1, -1) * (second * (2 * hazard - side) - hazard)
            )
            inverse = np.linalg.inv(information)
            loss -= 0.5 * (np.linalg.slogdet(information)[1] + np.log(v[0]))
            gradient -= (
                0.5 * columns.T @ (third * np.einsum("ij,jk,ik->i", columns, inverse, columns))
            )
            gradient[0] += n * inverse[0, 0] / v[0] ** 3 - 0.5 / v[0]
        return float(loss), gradient, information, float(second.sum())

    v = np.zeros(columns.shape[1])
    v[0] = 1.0
    value, gradient, information, points = parts(v)
    for _ in range(100):
        free = np.ones(v.size, dtype=bool)
        free[0] = not (v[0] >= highest and gradient[0] < 0)
        step = np.zeros_like(v)
        step[free] = -np.linalg.lstsq(information[np.ix_(free, free)], gradient[free], rcond=None)[
            0
        ]
        size = 1.0 if v[0] + step[0] > 0 else -0.9 * v[0] / step[0]
        for _ in range(40):
            trial = v + size * step
            trial[0] = min(trial[0], highest)
            if (at_trial := parts(trial))[0] < value:
                break
            size /= 2
        else:
            break
        gain, v = value - at_trial[0], trial
        value, gradient, information, points = at_trial
        if gain < 1e-12 * (1 + abs(value)):
            break
    inverse_spread = v[0] / spread
    return value, np.concatenate([[inverse_spread], v[1:] + inverse_spread * least]), points


def _rankable(y: Array, kind: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Points whose place in the order is known: observed ones, and bounds beyond all of the
    observed.
    """
    seen = y[kind == "observed"]
    return (
        (kind == "observed")
        | ((kind == "right-censored") & (y >= seen.max()))
        | ((kind == "left-censored") & (y <= seen.min()))
    )


def _exp(value: float | None) -> float | None:
    return None if value is None else float(np.exp(value))
