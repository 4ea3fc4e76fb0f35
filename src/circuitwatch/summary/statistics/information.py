"""Akaike's information criterion with the small-sample correction (Hurvich and Tsai 1989)."""

from __future__ import annotations

import numpy as np


def aicc(cost: float, n: int, k: int, *, smallest: float) -> float:
    """AICc of a model with normal errors; smaller is better.

    Args:
        cost: residual sum of squares, or a robust loss in its place.
        n: values that were fitted.
        k: parameters, the spread of the errors among them; at most n − 2.
        smallest: lower bound of the cost per value, since a perfect fit has no finite likelihood.
    """
    return float(n * np.log(max(cost / n, smallest)) + 2 * k + 2 * k * (k + 1) / (n - k - 1))
