"""The size beyond which more scale changes nothing: a line over log parameters up to a knee, and
level beyond it, against a straight line.

The ratio of their residual sums of squares, with the knee at its best place, is compared with that
of straight lines with normal noise (Monte Carlo). It depends on the sizes and on how steep the line
is beside its noise, as a line that bends within the sizes can't be straight; the steepness is not
known, so that p is the largest over all. That works from five sizes on, where information criteria
have no degree of freedom left. The range of places that fit about as well is that of the profile
likelihood, with the critical value of F for the degrees of freedom that a knee leaves;
`benchmarks.knees` says how often it holds the truth. With few sizes the answer is often that they
don't determine it. Sizes that are known by a bound only are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

Array = NDArray[np.float64]
KneeStatus = Literal[
    "levels off",
    "no knee: a straight line fits as well",
    "not determined by these sizes",
    "too few sizes for a knee",
]
MIN_SIZES_KNEE = 5
"""A line with a knee has three parameters: with five sizes two degrees of freedom are left for
noise.
"""
KNEE_LEVEL = 0.05
"""A knee is one where straight lines look as bent in no more than this share of cases."""
PLACES = 101
"""Places that are tried for a knee, besides the sizes themselves."""
DRAWS = 2000
"""Straight lines with noise for its p, at each steepness."""
STEEPNESS = (0.0, *np.geomspace(0.25, 16.0, 14))
"""Slopes of these lines, in standard deviations of the noise for one of the sizes."""
SMALLEST_VARIANCE = 1e-12
"""Of log values about a line: sizes exactly on one have no finite likelihood."""


@dataclass(frozen=True)
class Knee:
    """Where y stops changing with x, if it does.

    Attributes:
        at: the best place; missing where a straight line does as well.
        low, high: places that fit about as well (95 %); an end is missing where the sizes don't
            bound it. Also without a knee: it would have to lie there.
        p: how often a straight line and noise look as bent as that.
        status: in words.
    """

    at: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    status: KneeStatus = "too few sizes for a knee"


def find_knee(x: Array, y: Array) -> Knee:
    """Where y stops changing with x, if it does.

    Args:
        x: [point] log parameters.
        y: [point] log values.

    Returns:
        the knee, in units of x; between the second and the last but one size.
    """
    sizes = np.unique(x)
    if sizes.size < MIN_SIZES_KNEE:
        return Knee()
    places, bases, straight = _bent_lines(x.tobytes())
    bent = _left_over(bases, y[:, None])[:, 0]
    line = float(_left_over(straight[None], y[:, None])[0, 0])
    best = int(np.argmin(bent))
    smallest = max(float(bent[best]), SMALLEST_VARIANCE * y.size)
    as_bent = (_null_ratios(x.tobytes()) >= line / smallest).sum(axis=1)  # [steepness]
    p = float((1 + as_bent.max()) / (1 + DRAWS))
    freedom = y.size - 3
    # A knee at or beyond the largest size is a straight line as far as these sizes go; one at the
    # smallest is no change with size at all.
    least = min(smallest, max(line, SMALLEST_VARIANCE * y.size))
    one, two = (1 + k * float(fdtri(k, freedom, 0.95)) / freedom for k in (1, 2))
    level = float(_left_over(_level(y.size), y[:, None])[0, 0])
    fits = np.flatnonzero(bent <= one * least)
    # The ends lie between the last place that fits and the first that doesn't.
    first, last = (fits[0], fits[-1]) if fits.size else (places.size - 1, places.size - 1)
    low = None if level <= two * least else float(places[max(first - 1, 0)])
    high = None if line <= one * least else float(places[min(last + 1, places.size - 1)])
    if p <= KNEE_LEVEL:
        return Knee(float(places[best]), low, high, p, "levels off")
    if fits.size == places.size or (low is None and high is None):
        return Knee(None, low, high, p, "not determined by these sizes")
    return Knee(None, low, high, p, "no knee: a straight line fits as well")


@lru_cache(maxsize=64)
def _bent_lines(key: bytes) -> tuple[Array, Array, Array]:
    """Places [knee], and an orthonormal basis of the lines that level off there
    [knee, point, column]; that of straight lines [point, column].
    """
    x = np.frombuffer(key)
    sizes = np.unique(x)
    places = np.unique(np.append(np.linspace(sizes[1], sizes[-2], PLACES), sizes[1:-1]))
    designs = [np.stack([np.ones_like(x), np.minimum(x, place)], axis=1) for place in places]
    bases = np.stack([np.linalg.qr(design)[0] for design in designs])
    return places, bases, np.linalg.qr(np.stack([np.ones_like(x), x], axis=1))[0]


@lru_cache(maxsize=64)
def _null_ratios(key: bytes) -> Array:
    """Ratio of the residual sums of a straight and the best bent line, for straight lines with
    noise [steepness, draw].
    """
    x = np.frombuffer(key)
    _, bases, straight = _bent_lines(key)
    noise = np.random.default_rng(0).normal(size=(x.size, DRAWS))
    unit = (x - x.mean()) / x.std()
    ratios = []
    for slope in STEEPNESS:
        values = noise + slope * unit[:, None]
        bent = _left_over(bases, values).min(axis=0)
        ratios.append(_left_over(straight[None], noise)[0] / np.maximum(bent, 1e-300))
    return np.stack(ratios)


def _level(n: int) -> Array:
    """Basis of constants [1, point, 1]."""
    return np.full((1, n, 1), 1 / np.sqrt(n))


def _left_over(bases: Array, y: Array) -> Array:
    """Residual sums of squares [basis, draw] of values [point, draw]."""
    explained = bases.transpose(0, 2, 1) @ y  # [basis, column, draw]
    return np.maximum((y**2).sum(axis=0) - (explained**2).sum(axis=1), 0.0)
