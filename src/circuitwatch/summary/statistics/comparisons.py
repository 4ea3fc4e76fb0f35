"""Many quantities tested at once: p-values adjusted for their number.

Among twenty quantities without any trend one has p < 0.05. *Holm* (1979) adjusts so that the chance
of even one false finding among all of them stays below the level; *Benjamini–Hochberg* (1995) so
that the expected share of false ones among the findings does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

Array = NDArray[np.float64]


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p [test]: the running maximum over ascending p of (number of tests left) · p,
    at most 1; missing ones (NaN) are no tests and stay so.
    """
    values = np.asarray(p, dtype=float)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    adjusted[order] = np.minimum(
        np.maximum.accumulate(values[order] * np.arange(order.size, 0, -1)), 1.0
    )
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Benjamini and Hochberg's adjusted p [test] (SciPy's `false_discovery_control`); missing ones
    (NaN) are no tests and stay so.
    """
    values = np.asarray(p, dtype=float)
    adjusted, tested = np.full(values.shape, np.nan), np.isfinite(values)
    if tested.any():
        adjusted[tested] = false_discovery_control(values[tested].clip(0.0, 1.0), method="bh")
    return adjusted
