"""Change points of a curve: the checkpoints between which its level, or its course in log tokens,
changes.

The curve is cut into stretches, each with its own mean (`level`) or its own straight line in log
tokens (`line`), so that

    Σ over stretches of RSS / σ² + penalty · (number of changes)

is smallest (penalised least squares; Yao 1988), exactly, by optimal partitioning (Jackson et al.
2005), of which PELT is the pruned form (Killick et al. 2012). Curves have at most some hundred
checkpoints, where the unpruned programme takes milliseconds. The `ruptures` package finds the same
cuts, over unequal distances too (its cost `linear` takes log tokens as a regressor), and the tests
compare with it; the few lines here spare users a dependency, and their table of costs gives the
intervals as well. σ is estimated robustly from differences of neighbours, so that changes don't
count in it. A change's interval holds every place at which the cost would be larger by less than
7.35, the 95 % point of the likelihood ratio for the place of a threshold (Hansen 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitwatch.summary.statistics.logistic import Array, log_tokens
from circuitwatch.summary.statistics.smoothing import off_neighbours

Kind = Literal["level", "line"]

PLACE = 7.35
"""95 % point of the likelihood ratio for a change's place: −2 log(1 − √0.95) (Hansen 2000)."""
SHORTEST = {"level": 2, "line": 3}
"""Checkpoints of a stretch: one more than its cost can fit exactly, so that an odd checkpoint is no
stretch.
"""
STRICTNESS = 1.5
"""The penalty is this times log n for each number that a change adds: its place and the new
stretch's coefficients. BIC takes 1, which finds changes in noise too often with a σ estimated from
few checkpoints; with 1.5, white noise has one in at most 1 curve of 20 (see the tests)."""


@dataclass(frozen=True)
class Change:
    """One change of a curve.

    Attributes:
        tokens: half-way in log tokens between the two checkpoints around it.
        tokens_before, tokens_after: those two checkpoints.
        low, high: the checkpoints around all places that fit about as well (95 %).
        before, after: fitted values at those two checkpoints, each by its own stretch.
        slope_before, slope_after: of the two stretches, per unit of natural-log tokens (0 for
            `level`).
    """

    tokens: float
    tokens_before: float
    tokens_after: float
    low: float
    high: float
    before: float
    after: float
    slope_before: float
    slope_after: float


def change_points(
    tokens: ArrayLike,
    values: ArrayLike,
    *,
    kind: Kind = "level",
    sigma: float | None = None,
    penalty: float | None = None,
) -> list[Change]:
    """Changes of a curve, earliest first.

    Args:
        tokens: [checkpoint] training tokens, rising strictly.
        values: [checkpoint] the curve, in any unit.
        kind: `level` for jumps between plateaus, `line` for kinks and jumps of a curve that is
            steadily growing.
        sigma: standard deviation of the noise, in the curve's unit; estimated by `difference_noise`
            by default.
        penalty: of one change, in units of σ²; `STRICTNESS` · log n for each number added by
            default.

    Returns:
        the changes; none where the curve has fewer than two of the shortest stretches, or no noise
        and no change.
    """
    t, y = np.asarray(tokens, dtype=float), np.asarray(values, dtype=float)
    if t.ndim != 1 or t.shape != y.shape or not np.isfinite(y).all() or (np.diff(t) <= 0).any():
        raise ValueError(
            "tokens and values must be curves of equal length, tokens rising strictly, "
            "values finite"
        )
    shortest = SHORTEST[kind]
    if y.size < 2 * shortest or np.ptp(y) <= 1e-12 * np.abs(y).max():
        return []
    x = log_tokens(t)
    noise = difference_noise(x, y, kind) if sigma is None else sigma
    # Curves that are exact in places have noise 0 there; a millionth of the range is far below
    # anything to be seen in a curve.
    noise = max(noise, 1e-6 * float(np.ptp(y)))
    costs = stretch_costs(x, y, kind) / noise**2
    price = (
        STRICTNESS * (2 if kind == "level" else 3) * np.log(y.size) if penalty is None else penalty
    )
    starts = best_cuts(costs, price, shortest)
    ends = [*starts[1:], y.size]
    lines = [_line(x[a:b], y[a:b], kind) for a, b in zip(starts, ends, strict=True)]
    changes = []
    for k, cut in enumerate(starts[1:], start=1):
        first, last = starts[k - 1], ends[k]
        places = np.arange(first + shortest, last - shortest + 1)
        pair = costs[first, places] + costs[places, last]
        good = places[pair <= costs[first, cut] + costs[cut, last] + PLACE]
        (a0, b0), (a1, b1) = lines[k - 1], lines[k]
        changes.append(
            Change(
                tokens=float(np.exp((x[cut - 1] + x[cut]) / 2)),
                tokens_before=float(t[cut - 1]),
                tokens_after=float(t[cut]),
                low=float(t[good.min() - 1]),
                high=float(t[good.max()]),
                before=float(a0 + b0 * x[cut - 1]),
                after=float(a1 + b1 * x[cut]),
                slope_before=float(b0),
                slope_after=float(b1),
            )
        )
    return changes


def difference_noise(x: Array, y: Array, kind: Kind) -> float:
    """Standard deviation of the noise, from the median absolute difference of neighbours (of each
    from the line through its two, for `line`).
    """
    deviation = np.diff(y) / np.sqrt(2) if kind == "level" else off_neighbours(x, y)
    size = np.abs(deviation)
    # Untrained models hardly vary: the later half counts by itself too.
    return 1.4826 * max(float(np.median(size)), float(np.median(size[size.size // 2 :])))


def stretch_costs(x: Array, y: Array, kind: Kind) -> Array:
    """Residual sum of squares [start, end] of every stretch start:end (end exclusive) about its
    mean or its line; infinite for empty ones.
    """
    n = y.size
    u = (x - x.mean()) / max(float(np.ptp(x)), 1e-300)
    v = y - y.mean()
    sums = [np.concatenate([[0.0], np.cumsum(s)]) for s in (np.ones(n), u, v, u * u, u * v, v * v)]
    count, su, sv, suu, suv, svv = (s[None, :] - s[:-1, None] for s in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        rss = svv - sv**2 / count
        if kind == "line":
            across = suu - su**2 / count
            rss = rss - np.where(across > 1e-14, (suv - su * sv / count) ** 2 / across, 0.0)
    return np.where(count > 0, np.maximum(rss, 0.0), np.inf)


def best_cuts(costs: Array, price: float, shortest: int) -> list[int]:
    """Starts of the stretches of the cheapest cut into stretches of at least `shortest`, for costs
    [start, end] and a price for each cut.
    """
    n = costs.shape[0]
    best = np.full(n + 1, np.inf)
    best[0] = -price
    previous = np.zeros(n + 1, dtype=np.intp)
    for end in range(shortest, n + 1):
        totals = best[: end - shortest + 1] + costs[: end - shortest + 1, end] + price
        previous[end] = int(np.argmin(totals))
        best[end] = totals[previous[end]]
    starts: list[int] = []
    end = n
    while end > 0:
        end = int(previous[end])
        starts.append(end)
    return starts[::-1]


def _line(x: NDArray[np.float64], y: NDArray[np.float64], kind: Kind) -> tuple[float, float]:
    """Intercept and slope of a stretch."""
    if kind == "level":
        return float(y.mean()), 0.0
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)
