"""When a curve passes a level, without a model: the first crossing that holds, between the two
checkpoints around it.

Checkpoints are far apart early in training and values are noisy, so the answer is an interval of
token counts, and a single checkpoint above the level is no crossing.
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


def plainly_crossed(values: Array, level: float, sigma: float) -> bool:
    """Whether the crossing of `level` that holds is plain from the values themselves, whatever the
    curve's shape.

    Args:
        values: [checkpoint], one curve.
        level: what is crossed.
        sigma: standard deviation of the noise.

    Returns:
        true where every value from the crossing on is at or above the level, at least two are
        before it, and the medians before and after lie half of `CLEAR` sigma from the level at
        least, on its two sides: what noise about one level hardly does, not with checkpoints that
        are alike either (AR(1) with 0.5: at most 1 % of flat curves of 9 to 43 checkpoints).
    """
    index = int(held_crossing(values, level))
    if not 1 < index < values.size or (values[index:] < level).any():
        return False
    before, after = float(np.median(values[:index])), float(np.median(values[index:]))
    return min(level - before, after - level) >= CLEAR / 2 * sigma


def interpolate(x: Array, values: Array, level: float, index: int) -> float:
    """Log tokens at which the straight line from checkpoint `index` - 1 to `index` passes `level`;
    x, values [checkpoint].
    """
    before, after = float(values[index - 1]), float(values[index])
    return float(x[index - 1] + (x[index] - x[index - 1]) * (level - before) / (after - before))


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


def noise(values: Array, standard_errors: Array | None = None) -> float:
    """Standard deviation of a curve's noise, from jumps between neighbouring checkpoints (median,
    so a rise doesn't count).

    Untrained models hardly change between checkpoints, so the later half is looked at by itself
    too; where standard errors [checkpoint] are known, the noise is at least the largest of them.
    """
    jumps = np.abs(np.diff(values))
    spread = (
        1.4826
        / np.sqrt(2)
        * max(float(np.median(jumps)), float(np.median(jumps[jumps.size // 2 :])))
    )
    return spread if standard_errors is None else max(spread, float(standard_errors.max()))


def smooth(values: Array) -> Array:
    """Running median of three checkpoints [checkpoint]; the ends are kept."""
    inner = np.median(np.lib.stride_tricks.sliding_window_view(values, 3), axis=-1)
    return np.concatenate([values[:1], inner, values[-1:]])


def rise_and_fall(values: Array, sigma: float) -> tuple[int, float] | None:
    """The peak of a curve that clearly rose and then lost more than half of its rise; none where it
    didn't.

    Args:
        values: [checkpoint], at least seven checkpoints; compared after a running median, so one
            odd checkpoint is no peak.
        sigma: standard deviation of the noise.

    Returns:
        (index of the peak, the level half-way up to it from the median before the rise), or none.
    """
    steady = smooth(values)
    peak = int(np.argmax(steady[1:-1])) + 1
    lowest = float(steady[:peak].min())
    below = np.flatnonzero(steady[:peak] <= (lowest + float(steady[peak])) / 2)
    start = float(np.median(values[: int(below[-1]) + 1])) if below.size else lowest
    end = float(np.median(values[-TAIL:]))
    rise, fall = float(steady[peak]) - start, float(steady[peak]) - end
    if rise > CLEAR * sigma and fall > CLEAR * sigma and fall > rise / 2 and rise > 0:
        return peak, start + rise / 2
    return None
