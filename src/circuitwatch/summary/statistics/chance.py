"""Which checkpoints of a behaviour's curve can count as risen: only those at which the behaviour is
above chance.

A metric alone says little: a model with a fixed taste for some answers raises it on prompts whose
deciding word was exchanged as well. So a behaviour is above chance only where the intervals of both
its value and its effect (clean − corrupted) lie above 0, and its curve has emerged only from such a
checkpoint on. Curves of other things, or from elsewhere, come without a word on chance and are left
as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from circuitwatch.summary.statistics.crossings import Array, held_crossing, longest_run
from circuitwatch.summary.statistics.status import Emergence, not_emerged

WHAT_FAILS = {
    "value": "its value is not above 0",
    "effect": "its effect (clean − corrupted) is not above 0",
    "value or effect": "the record doesn't say whether its value or its effect isn't above 0",
    "value and effect": "neither its value nor its effect (clean − corrupted) is above 0",
}


def counted(values: Array, counts: NDArray[np.bool_]) -> Array:
    """Values [..., checkpoint] with −∞ where a checkpoint [checkpoint] can't count as risen, so
    that it lies below any level.
    """
    return np.where(counts, values, -np.inf)


def never_above(blank: Emergence, reasons: Sequence[str]) -> Emergence:
    """`never`, and why: the commonest of the reasons [checkpoint] for which checkpoints can't
    count.
    """
    why = Counter(reason for reason in reasons if reason).most_common(1)[0][0]
    note = (
        f"not above chance at any checkpoint that could count as risen: {WHAT_FAILS.get(why, why)}"
    )
    never = not_emerged(blank, "never", "not above chance", note)
    return replace(never, tokens=None, crossing=None, crossing_low=None, crossing_high=None)


def gate(
    emergence: Emergence, t: Array, y: Array, reasons: Sequence[str]
) -> tuple[Emergence, bool]:
    """The emergence of a curve once checkpoints that are not above chance no longer count.

    Args:
        emergence: as the values alone say it.
        t: [checkpoint] tokens.
        y: [checkpoint] values.
        reasons: [checkpoint] why the behaviour is not above chance (`value`, `effect`, `value and
            effect`); empty where it is.

    Returns:
        (the emergence, whether its point is later than the values' own). `never` where fewer than
        two neighbouring checkpoints from the crossing on are above chance (the last one alone
        leaves it open): one of many is above chance by chance. `ambiguous` where they are, but not
        steadily.
    """
    counts = np.array([not reason for reason in reasons], dtype=bool)
    first = 0 if emergence.status == "already" else _place(emergence, t)
    if emergence.status == "never" or first is None or counts[first:].all():
        return emergence, False
    since = counts[first:]
    if longest_run(since)[1] < 2 and not since[-1]:
        return never_above(emergence, list(reasons)[first:]), False
    if emergence.status not in ("emerged", "already"):
        return emergence, False
    # A curve that was there at its first checkpoint need not have a level that means anything:
    # chance alone decides.
    has_level = emergence.rule == "threshold" or emergence.status == "emerged"
    level = emergence.level if has_level else None
    index = int(
        held_crossing(counted(np.zeros_like(y) if level is None else y, counts), level or 0.0)
    )
    if index == y.size:
        note = (
            f"at its level, but above chance at {since.sum()} of {since.size} checkpoints "
            f"since, not steadily"
        )
        return not_emerged(emergence, "ambiguous", "not steadily above chance", note), False
    if index == first:
        return emergence, False
    moved = replace(
        emergence,
        status="emerged",
        reason=None,
        level=emergence.level if level is None else level,
        crossing=float(np.sqrt(max(t[index - 1], 1.0) * t[index])),
        crossing_low=float(t[index - 1]),
        crossing_high=float(t[index]),
        note="its value was there before it was above chance: the emergence point is the "
        "first checkpoint above chance",
    )
    return moved, True


def _place(emergence: Emergence, t: Array) -> int | None:
    """The checkpoint after the crossing; none where there is no crossing."""
    if emergence.crossing_high is None:
        return None
    return int(np.flatnonzero(t == emergence.crossing_high)[0])
