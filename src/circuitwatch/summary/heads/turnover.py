"""Which heads hold a role when: born, lost, regained; how long; who takes over from whom; and
whether others make up for what one loses.

Tigges et al. (2407.10827, section 4) say that heads change roles during training while the
algorithm stays, without a number for it; the measures here are our own. Each works on one role's
`scores`: index (step, tokens), ascending, one column a head, no value missing
(`histories.RoleHistory.scores`).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from circuitwatch.summary.statistics.logistic import log_tokens

HYSTERESIS = 0.8
"""A head that holds a role loses it only below this share of the threshold: scores are measured on
a few dozen inputs, and one that wanders about the threshold would otherwise be born and lost again
and again without having changed."""
LEAD = 0.05
"""The strongest holder is replaced only by one ahead of it by at least this score: two equally
strong heads do not take turns.
"""
SIGNS = 1024
"""Combinations of signs that the compensation by chance is taken over: all where there are no more,
else so many at random.
"""


def holding(scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Whether each head holds the role at each checkpoint: true or false, in the shape of `scores`.

    A head holds the role from a score of at least `threshold` on, until its score is below
    HYSTERESIS × threshold.
    """
    values = scores.to_numpy(dtype=float)
    held = np.zeros(values.shape, dtype=bool)
    now = np.zeros(values.shape[1], dtype=bool)
    for index, row in enumerate(values):
        now = np.where(now, row >= HYSTERESIS * threshold, row >= threshold)
        held[index] = now
    return pd.DataFrame(held, index=scores.index, columns=scores.columns)


def events(scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """What happened to whom, by step: event, step, tokens, head, before, after (its scores at the
    checkpoint before and at this one).

    event: `already` (held at the first checkpoint; before is missing), `born` (held for the first
    time), `lost`, `regained`.
    """
    held = holding(scores, threshold)
    rows = []
    for head in scores:
        values, flags = scores[head].to_numpy(dtype=float), held[head].to_numpy()
        for index, (step, tokens) in enumerate(scores.index):
            if flags[index] == (index > 0 and flags[index - 1]):
                continue
            gained = "already" if index == 0 else "regained" if flags[:index].any() else "born"
            event = gained if flags[index] else "lost"
            before = values[index - 1] if index else np.nan
            rows.append((event, step, tokens, head, before, values[index]))
    table = pd.DataFrame(rows, columns=["event", "step", "tokens", "head", "before", "after"])
    return table.sort_values("step", kind="stable", ignore_index=True)


def lifetime(held: pd.DataFrame) -> slice:
    """The checkpoints from the first to the last at which any head holds the role; empty if none
    ever does.
    """
    places = np.flatnonzero(held.to_numpy(dtype=bool).any(axis=1))
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def tenure(scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """One row a head that ever holds the role, by when it first does.

    Columns: head; first_tokens, last_tokens (first and last checkpoint at which it holds it);
    checkpoints (number of them); spells (times in a row that it holds it); share_checkpoints,
    share_log_tokens (of the role's lifetime, see `lifetime`, in checkpoints and in log tokens: the
    way from one checkpoint to the next counts in full where it holds the role at both, by half
    where at one; missing where the role's lifetime is a single checkpoint); at_end (holds it at the
    last checkpoint); best, best_tokens (its highest score and where); end (its score at the last
    checkpoint).
    """
    held = holding(scores, threshold)
    alive = lifetime(held)
    tokens = scores.index.get_level_values("tokens").to_numpy(dtype=float)
    steps_in_log = np.diff(_log(tokens)[alive])
    rows = []
    for head in scores:
        flags, values = held[head].to_numpy(dtype=bool), scores[head].to_numpy(dtype=float)
        if not flags.any():
            continue
        within = flags[alive].astype(float)
        share = (
            (within[1:] + within[:-1]) @ steps_in_log / 2 / steps_in_log.sum()
            if steps_in_log.size
            else np.nan
        )
        rows.append(
            {
                "head": head,
                "first_tokens": tokens[flags][0],
                "last_tokens": tokens[flags][-1],
                "checkpoints": int(flags.sum()),
                "spells": int((flags & ~np.append(False, flags[:-1])).sum()),
                "share_checkpoints": float(within.mean()),
                "share_log_tokens": float(share),
                "at_end": bool(flags[-1]),
                "best": float(values.max()),
                "best_tokens": tokens[int(values.argmax())],
                "end": float(values[-1]),
            }
        )
    columns = (
        "head first_tokens last_tokens checkpoints spells share_checkpoints "
        "share_log_tokens at_end best best_tokens end"
    ).split()
    return pd.DataFrame(rows, columns=columns).sort_values(
        "first_tokens", kind="stable", ignore_index=True
    )


def strongest(scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The strongest holder at each checkpoint: index of `scores`; columns head (missing where
    nobody holds the role), score, total, share.

    The one before stays the strongest until it loses the role or another holder is ahead of it by
    LEAD. total: the sum of all heads' scores; share: how much of it the highest score is, whether
    or not anybody holds the role; missing where the total is 0.
    """
    held, values = holding(scores, threshold).to_numpy(dtype=bool), scores.to_numpy(dtype=float)
    heads: list[str | None] = []
    known: list[float] = []
    place: int | None = None
    for flags, row in zip(held, values, strict=True):
        now: int | None = None
        if flags.any():
            best = int(np.where(flags, row, -np.inf).argmax())
            now = (
                place
                if place is not None and flags[place] and row[best] - row[place] < LEAD
                else best
            )
            place = now
        heads.append(None if now is None else str(scores.columns[now]))
        known.append(np.nan if now is None else float(row[now]))
    total = values.sum(axis=1)
    with np.errstate(invalid="ignore"):
        share = np.where(total > 0, values.max(axis=1) / total, np.nan)
    return pd.DataFrame(
        {"head": heads, "score": known, "total": total, "share": share}, index=scores.index
    )


def handovers(scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """When the strongest holder changes, among the checkpoints at which anybody holds the role: one
    row a change.

    Columns: from, to; step_before, tokens_before, step_after, tokens_after (the two checkpoints
    that it lies between); from_before, from_after, to_before, to_after (scores of both at these
    two); old_still_holds (whether the old one holds the role at the later of them).
    """
    held = holding(scores, threshold)
    best = strongest(scores, threshold)["head"].dropna()
    rows = []
    for (before, old), (after, new) in zip(
        list(best.items())[:-1], list(best.items())[1:], strict=True
    ):
        if old == new:
            continue
        row = {"from": old, "to": new, "step_before": before[0], "tokens_before": before[1]}
        row |= {"step_after": after[0], "tokens_after": after[1]}
        for name, head in (("from", old), ("to", new)):
            row |= {
                f"{name}_before": scores.loc[before, head],
                f"{name}_after": scores.loc[after, head],
            }
        rows.append(row | {"old_still_holds": bool(held.loc[after, old])})
    columns = (
        "from to step_before tokens_before step_after tokens_after from_before "
        "from_after to_before to_after old_still_holds"
    )
    return pd.DataFrame(rows, columns=columns.split())


def compensation(
    scores: pd.DataFrame, threshold: float, *, seed: int = 0
) -> tuple[float | None, float | None, float]:
    """Whether the role's total stays while its holders change: (compensation, the same by chance,
    how much moved).

    Over the heads h that ever hold the role, and the checkpoints t from the one at which it is
    first held on,

        compensation = 1 − Σ_t |Σ_h Δ_h,t| / Σ_t Σ_h |Δ_h,t|,   Δ_h,t = score_h,t − score_h,t−1,

    between 0 (all move together, so nobody makes up for anybody) and 1 (what one head loses others
    gain). Heads that move up and down independently cancel too; `by chance` is the mean of the same
    number over every combination of signs of the Δ (or 1024 drawn with `seed`), and only a
    compensation above it says that heads replace one another. moved = Σ_t Σ_h |Δ_h,t|: where that
    is small against the threshold, it is noise that is compared and the number means little. Fewer
    than two heads that ever hold the role, or nothing that moves: missing, None.
    """
    held = holding(scores, threshold)
    values = scores.to_numpy(dtype=float)[
        lifetime(held).start :, held.to_numpy(dtype=bool).any(axis=0)
    ]
    change = np.diff(values, axis=0)
    moved = float(np.abs(change).sum())
    if values.shape[1] < 2 or moved <= 1e-12:
        return None, None, moved
    n = values.shape[1]
    every = 2**n <= SIGNS
    signs = (
        np.array(list(product((-1.0, 1.0), repeat=n)))
        if every
        else np.random.default_rng(seed).choice((-1.0, 1.0), size=(SIGNS, n))
    )
    chance = 1 - float(np.abs(np.abs(change) @ signs.T).mean(axis=1).sum()) / moved
    return 1 - float(np.abs(change.sum(axis=1)).sum()) / moved, chance, moved


def rank_correlations(scores: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of all heads' scores: index of `scores`; to_previous (the
    checkpoint before), to_last (the last one).

    Missing for the first checkpoint, for the last against itself, and where all heads of one of the
    two score the same.
    """
    values = scores.to_numpy(dtype=float)
    n, heads = values.shape
    ranks = rankdata(values, axis=1)
    told_apart = (np.ptp(values, axis=1) > 0) if heads > 1 else np.zeros(n, dtype=bool)

    def correlation(i: int, j: int) -> float:
        if not (told_apart[i] and told_apart[j]):
            return np.nan
        return float(np.corrcoef(ranks[i], ranks[j])[1, 0])

    previous = [correlation(i - 1, i) if i else np.nan for i in range(n)]
    last = [correlation(i, n - 1) if i < n - 1 else np.nan for i in range(n)]
    return pd.DataFrame({"to_previous": previous, "to_last": last}, index=scores.index, dtype=float)


def _log(tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log tokens, also of a lone untrained model."""
    return log_tokens(tokens) if (tokens > 0).any() else np.zeros(tokens.size)
