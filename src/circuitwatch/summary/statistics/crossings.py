"""When a curve passes a level: the first crossing that holds, between the two checkpoints around
it, and where between them.

Checkpoints are far apart early in training and values are noisy, so a single checkpoint above the
level is no crossing. Between two checkpoints the curve isn't seen. If its slope changes steadily
there, from that before the gap to that after it, it lies between the continuations of its
neighbouring stretches and the straight line; where these pass the level bounds where the curve
does (`passed`). A rise that lies in the gap as a whole may be anywhere in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HOLD_SHARE = 0.9
"""A crossing holds when at least this share of the checkpoints from it on is at or above the level
…
"""
TAIL = 3
"""… and the median of this many last checkpoints is, too."""
CLEAR = 3.0
"""A rise or a fall is clear when it is at least this many standard deviations of the noise."""


def held_crossing(values: Array, level: float | Array) -> NDArray[np.intp]:
    """Index of the first checkpoint whose crossing of `level` holds, per curve.

    Args:
        values: [..., checkpoint], ascending in tokens, at least two checkpoints.
        level: one number, or one per curve [...].

    Returns:
        indices [...]; the number of checkpoints where no crossing holds. A crossing needs the next
        checkpoint at or above the level as well, so the last checkpoint alone is never one. The
        checkpoint before a held crossing is always below the level.
    """
    n = values.shape[-1]
    wanted = np.asarray(level, dtype=float)
    above = values >= wanted[..., None]
    remaining = np.arange(n, 0, -1)
    share = np.cumsum(above[..., ::-1], axis=-1)[..., ::-1] / remaining
    ends_above = np.median(values[..., -TAIL:], axis=-1) >= wanted
    confirmed = np.concatenate([above[..., 1:], np.zeros_like(above[..., :1])], axis=-1)
    holds = above & confirmed & (share >= HOLD_SHARE) & ends_above[..., None]
    return np.where(holds.any(axis=-1), holds.argmax(axis=-1), n)


def since(values: Array, start: int) -> Array:
    """Values [..., checkpoint] with −∞ before a checkpoint, so that no crossing is there."""
    return np.where(np.arange(values.shape[-1]) >= start, values, -np.inf)


def interpolate(x: Array, values: Array, level: float, index: int) -> float:
    """Log tokens at which the straight line from checkpoint `index` - 1 to `index` passes `level`;
    x, values [checkpoint].
    """
    before, after = float(values[index - 1]), float(values[index])
    return float(x[index - 1] + (x[index] - x[index - 1]) * (level - before) / (after - before))


def passed(x: Array, curves: Array, levels: Array, places: NDArray[np.intp]) -> tuple[Array, Array]:
    """Where curves pass their levels in the gap before a checkpoint, as intervals of log tokens.

    Args:
        x: [checkpoint] log tokens.
        curves: [curve, checkpoint]; −∞ where a checkpoint doesn't count.
        levels: [curve]; each between the curve's values on both sides of the gap.
        places: [curve] the checkpoint after the gap; 0 for a curve that starts above its level, the
            number of checkpoints for one that doesn't pass it.

    Returns:
        (left, right) [curve]: −∞ and +∞ for those two.
    """
    n, row = x.size, np.arange(len(curves))
    after = np.clip(places, 1, n - 1)
    before = after - 1
    # From a checkpoint that doesn't count the curve may pass its level anywhere in the gap.
    counts = np.isfinite(curves[row, before])
    start, end = np.where(counts, curves[row, before], levels), curves[row, after]
    gap, missing, beyond = x[after] - x[before], levels - start, end - levels
    slope = (end - start) / gap
    first, last = before == 0, after == n - 1
    outer = np.maximum(before - 1, 0), np.minimum(after + 1, n - 1)
    # Slopes of the stretches on both sides; 0 where there is none, so that nothing bounds the gap.
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = (start - curves[row, outer[0]]) / (x[before] - x[outer[0]])
        going_on = (curves[row, outer[1]] - end) / (x[outer[1]] - x[after])
        rising = np.where(first | ~np.isfinite(rising), 0.0, np.maximum(rising, 0.0))
        going_on = np.where(last | ~np.isfinite(going_on), 0.0, np.maximum(going_on, 0.0))
        straight = np.where(slope > 0, missing / slope, 0.0)
        from_left = np.where(rising > 0, missing / rising, np.inf)
        from_right = gap - np.where(going_on > 0, beyond / going_on, np.inf)
    from_left, from_right = from_left.clip(0.0, gap), from_right.clip(0.0, gap)
    straight = straight.clip(0.0, gap)
    early, late = np.minimum(from_left, from_right), np.maximum(from_left, from_right)
    # Bending upwards throughout, the curve is below the straight line and above both
    # continuations; bending downwards, the other way round.
    upwards = (rising <= slope) & (slope <= going_on)
    downwards = (rising >= slope) & (slope >= going_on)
    left = np.where(upwards, straight, np.where(downwards, late, early))
    right = np.where(upwards, early, np.where(downwards, straight, late))
    left = np.where(counts, np.minimum(left, straight), 0.0)
    right = np.where(counts, np.maximum(right, straight), gap)
    outside = [places == 0, places == n]
    return (
        np.select(outside, [-np.inf, np.inf], x[before] + left),
        np.select(outside, [-np.inf, np.inf], x[before] + right),
    )


def longest_run(above: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and length of the longest run of true checkpoints (the first of equally long ones); (0,
    0) if there is none.
    """
    edges = np.diff(np.concatenate([[False], above, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if starts.size == 0:
        return 0, 0
    best = int(np.argmax(ends - starts))
    return int(starts[best]), int(ends[best] - starts[best])
