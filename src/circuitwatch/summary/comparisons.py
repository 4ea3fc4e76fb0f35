"""Many quantities tested at once: p-values adjusted for their number.

Among twenty quantities without any trend one has p < 0.05. *Holm* (1979) adjusts so that the chance of even one false finding among all of
them stays below the level; *Benjamini–Hochberg* (1995) so that the expected share of false ones among the findings does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

Array = NDArray[np.float64]


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p [test]: the running maximum over ascending p of (number of tests left) · p, at most 1."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Benjamini and Hochberg's adjusted p [test] (SciPy's `false_discovery_control`)."""
    values = np.asarray(p, dtype=float)
    return np.asarray(false_discovery_control(values, method="bh")) if values.size else values


def with_adjusted(table: pd.DataFrame, columns: Sequence[str] = ("spearman_p", "pearson_p")) -> pd.DataFrame:
    """The table with `<column>_holm`, `<column>_bh` and `<column>_tests` (how many tests they are adjusted for) beside each column of p-values.

    Rows without a p-value are no tests and stay without.
    """
    out = table.copy()
    for column in columns:
        p = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
        known = np.isfinite(p)
        for name, adjust in (("holm", holm), ("bh", benjamini_hochberg)):
            adjusted = np.full(p.size, np.nan)
            adjusted[known] = adjust(p[known])
            out[f"{column}_{name}"] = adjusted
        out[f"{column}_tests"] = int(known.sum())
    return out
