"""Whether what emerged stays: how much a curve still moves after its emergence, and whether a
circuit or the heads of a role stay the same.

A curve's movement is looked at from the end of its rise on (the fitted curve's 90 % point, or the
observed crossing) and in units of the rise. The spread is that about a robust line in log tokens
(Theil 1950, Sen 1968), so that steady further growth isn't instability. Overlap of sets over time
says nothing by itself: two circuits of one checkpoint, found from resamples A and B of the prompts,
differ too, and random circuits of these sizes share some edges. So A's circuit at one checkpoint is
compared with B's at the other, and stability is where that overlap lies between chance and the
noise ceiling, the overlap of A's and B's within each of the two: (J_observed − J_random) /
(J_ceiling − J_random), 1 where the sets differ no more from one checkpoint to the other than from
one sample of prompts to another, 0 where they share no more than chance. Circuits of the same
prompts must not be put there: where nothing changed they would share all, and come out above 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import theilslopes

from circuitwatch.summary.statistics.falls import as_rise
from circuitwatch.summary.statistics.logistic import log_tokens
from circuitwatch.summary.statistics.status import Emergence
from circuitwatch.summary.statistics.trends import mean_interval

MIN_AFTER = 3
"""Checkpoints after emergence from which on a line and a spread about it can be had."""
StabilityStatus = Literal[
    "measured",
    "no emergence point",
    "no fitted rise",
    "too few checkpoints after the rise",
]
NO_ROOM = 1e-9
"""A ceiling above chance by rounding only, as of circuits that have every node: nothing lies
between them.
"""


@dataclass(frozen=True)
class Stability:
    """How steady a curve is after its emergence; what can't be said is missing, and `status` says
    why.

    Attributes:
        status: `measured`, or why not.
        n: checkpoints after the emergence.
        spread: standard deviation about the robust line, as a share of the rise.
        variance: of the values themselves, as a share of the squared rise (the drift is part of
            it).
        drift: slope of the robust line, shares of the rise per tenfold tokens.
        largest_fall: largest loss from the highest value so far, as a share of the rise.
        below: share of the checkpoints below the level of emergence; of a behaviour also those at
            which it is not above chance.
    """

    status: StabilityStatus
    n: int
    spread: float | None = None
    variance: float | None = None
    drift: float | None = None
    largest_fall: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class SetStability:
    """How much a set found from samples of prompts (the edges of a circuit) changes between two
    checkpoints, over pairs of these.

    Attributes:
        n: pairs of checkpoints.
        jaccard: mean overlap across the two checkpoints of a pair, one resample's set at the one
            with another's at the other.
        ceiling: mean overlap of different resamples' sets within a checkpoint; missing where not
            measured.
        chance: mean of what random sets of these sizes give; missing where not measured.
        stability: (jaccard − chance) / (ceiling − chance), chance 0 where not measured; missing
            without a ceiling above chance.
        low, high: 95 % interval of `stability` over the pairs, of which neighbouring ones may be
            alike: of these resamples, not of others.
    """

    n: int
    jaccard: float | None = None
    ceiling: float | None = None
    chance: float | None = None
    stability: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Turnover:
    """Members that a set gained and lost, from one checkpoint to the next.

    Attributes:
        n: pairs of consecutive checkpoints.
        gained, lost: mean numbers of members per pair.
        kept: mean share of members that are still there at the next checkpoint; missing where there
            never was one.
        ever, always: members at any checkpoint, and at all of them.
    """

    n: int
    gained: float | None
    lost: float | None
    kept: float | None
    ever: int
    always: int


def stability(
    tokens: ArrayLike,
    values: ArrayLike,
    emergence: Emergence,
    not_above_chance: Sequence[str] | None = None,
    *,
    falls: bool = False,
) -> Stability:
    """How steady a curve is after its emergence, in units of its rise.

    Args:
        tokens: [checkpoint] training tokens, rising strictly.
        values: [checkpoint] the curve.
        emergence: what `fit_emergence` says of it.
        not_above_chance: as `fit_emergence` has it.
        falls: whether the curve falls as a model learns: what is said is of its negative then,
            so that `largest_fall` is how much of the fall was lost again.
    """
    t, y = np.asarray(tokens, dtype=float), np.asarray(values, dtype=float)
    if falls:
        y, emergence = -y, as_rise(emergence)
    if emergence.status != "emerged" or emergence.tokens is None:
        return Stability("no emergence point", 0)
    if (
        emergence.lower is None
        or emergence.upper is None
        or emergence.level is None
        or emergence.upper <= emergence.lower
    ):
        return Stability("no fitted rise", 0)
    seen = emergence.crossing_high if emergence.crossing_high is not None else emergence.tokens
    start = max(seen, emergence.tokens, emergence.risen if emergence.risen is not None else seen)
    after = t >= start
    n = y[after].size
    if n < MIN_AFTER:
        return Stability("too few checkpoints after the rise", n)
    lost_to_chance = np.array([bool(reason) for reason in not_above_chance or [""] * t.size])[after]
    rise, late, x = emergence.upper - emergence.lower, y[after], log_tokens(t)[after]
    slope, intercept, _, _ = theilslopes(late, x)
    return Stability(
        "measured",
        n,
        spread=float(np.std(late - intercept - slope * x, ddof=min(2, n - 1))) / rise,
        variance=float(np.var(late, ddof=1)) / rise**2,
        drift=float(slope) * float(np.log(10)) / rise,
        largest_fall=float((np.maximum.accumulate(late) - late).max()) / rise,
        below=float(((late < emergence.level) | lost_to_chance).mean()),
    )


def set_stability(
    jaccard: ArrayLike,
    ceiling: ArrayLike | None = None,
    chance: ArrayLike | None = None,
) -> SetStability:
    """Where overlaps across two checkpoints [pair], in the order of training, lie between chance
    and the noise ceiling; missing pairs (NaN) are left out.

    The interval is that of the mean of what each pair adds to the ratio (its linear part), see
    `trends.mean_interval`.
    """
    j = np.asarray(jaccard, dtype=float)
    complete = np.isfinite(j)
    columns = [j]
    for other in (ceiling, chance):
        if other is not None:
            columns.append(np.asarray(other, dtype=float))
            if columns[-1].shape != j.shape:
                raise ValueError(
                    f"overlaps and what they are compared with differ in length: {j.size}, "
                    f"{columns[-1].size}"
                )
            complete &= np.isfinite(columns[-1])
    n = int(complete.sum())
    if not n:
        return SetStability(0)
    rows = np.stack([column[complete] for column in columns])
    jaccards, ceilings = rows[0], None if ceiling is None else rows[1]
    chances = None if chance is None else rows[-1]
    means = SetStability(
        n,
        float(jaccards.mean()),
        None if ceilings is None else float(ceilings.mean()),
        None if chances is None else float(chances.mean()),
    )
    if ceilings is None:
        return means
    zero = np.zeros(n) if chances is None else chances
    if ceilings.mean() - zero.mean() < NO_ROOM:
        return means
    above, room = jaccards - zero, ceilings - zero
    ratio = float(above.mean() / room.mean())
    low = high = None
    if n > 1:
        _, below, beyond = mean_interval((above - ratio * room) / room.mean())
        low, high = ratio + min(below, 0.0), ratio + max(beyond, 0.0)
    return SetStability(
        n,
        means.jaccard,
        means.ceiling,
        means.chance,
        ratio,
        low,
        high,
    )


def turnover(sets: Sequence[Collection[object]]) -> Turnover:
    """Gains and losses of a set over consecutive checkpoints; the caller leaves out those before
    the emergence.
    """
    members = [frozenset(one) for one in sets]
    pairs = list(pairwise(members))
    kept = [len(a & b) / len(a) for a, b in pairs if a]
    return Turnover(
        len(pairs),
        float(np.mean([len(b - a) for a, b in pairs])) if pairs else None,
        float(np.mean([len(a - b) for a, b in pairs])) if pairs else None,
        float(np.mean(kept)) if kept else None,
        len(frozenset().union(*members)),
        len(frozenset.intersection(*members)) if members else 0,
    )
