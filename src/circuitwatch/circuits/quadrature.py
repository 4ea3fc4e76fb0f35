"""Where the gradients of integrated gradients are taken, and how far the result still is from the
integral.

The path runs from the corrupted embedding (α = 0) to the clean one (α = 1). A rule with m nodes
takes the mean gradient at m places on it. The midpoint rule with 3m nodes has the m nodes among its
own, so a level costs only the two thirds that are new. Its error falls with 1/m² on a smooth
integrand: tripling leaves a ninth, so that S₃ₘ − Sₘ is 8/9 of the error of Sₘ and |S₃ₘ − Sₘ|/8
estimates that of S₃ₘ (Richardson). `auto` triples until this estimate is small enough.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

Quadrature = Literal["right", "left", "midpoint"]
QUADRATURES = get_args(Quadrature)
AUTO: Literal["auto"] = "auto"
Steps = int | Literal["auto"]
LEVELS = (3, 9, 27, 81)
"""Nodes of the levels that `auto` goes through; it may be told to stop at any of them."""


def quadrature_points(steps: int, quadrature: Quadrature) -> list[float]:
    """The α_k, ascending, in (0, 1] for `right`, [0, 1) for `left`, and in the middle of the m
    intervals for `midpoint`.
    """
    shift = {"right": 1.0, "left": 0.0, "midpoint": 0.5}[quadrature]
    return [(k + shift) / steps for k in range(steps)]


def new_points(steps: Steps, quadrature: Quadrature, max_steps: int) -> list[list[float]]:
    """The α that each level adds to those before it, up to max_steps nodes; a fixed number of steps
    is one level.

    Raises ValueError for `auto` with a rule whose nodes do not nest, or a bound that is no level.
    """
    if steps != AUTO:
        return [quadrature_points(steps, quadrature)]
    if quadrature != "midpoint" or max_steps not in LEVELS:
        raise ValueError(
            f"auto takes midpoint nodes, at most one of {LEVELS}; not {quadrature}, {max_steps}"
        )
    levels = LEVELS[: LEVELS.index(max_steps) + 1]
    points = [quadrature_points(level, quadrature) for level in levels]
    # Of three neighbouring intervals the middle one has its midpoint where the interval that they
    # divide had it.
    return points[:1] + [
        [alpha for k, alpha in enumerate(level) if k % 3 != 1] for level in points[1:]
    ]


def most_points_at_once(steps: Steps, max_steps: int) -> int:
    """How many nodes the largest level adds: as many are held in memory together."""
    return max(len(points) for points in new_points(steps, "midpoint", max_steps))


def estimated_error(scores: Tensor, before: Tensor) -> float:
    """Σ|S − S₋|/8 ÷ Σ|S| over edges: scores of a level and of the one with a third of its nodes; 0
    where all scores are 0.
    """
    size = float(scores.double().abs().sum())
    return float((scores.double() - before.double()).abs().sum()) / 8 / size if size else 0.0
