"""Several training seeds of one size: a spread, and the median emergence point; never a mean of
curves, which shifts the threshold.

A seed in which something never emerged by its last checkpoint is later than all that did
(right-censored), and one that had it at its first is earlier (left-censored): leaving them out
would make a size look quicker the more of its runs fail. So the median is one of order statistics,
itself a bound where it falls on such a seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.rows import EmergenceRow, Rows, SeedsRow
from circuitwatch.summary.statistics.scaling import Kind


def median_emergence_point(rows: Iterable[EmergenceRow]) -> tuple[float, Kind] | None:
    """Tokens that half of the seeds have emerged by; of two in the middle the geometric mean.

    Args:
        rows: one a seed. Seeds that are transient or ambiguous have no emergence point and are
            left out.

    Returns:
        (tokens, `observed`), or a bound on them with `right-censored` or `left-censored`; none
        where no seed has an emergence point, or all that is known is "from 0 tokens on".
    """
    points: list[tuple[float, float]] = []  # (place in the order, tokens or their bound)
    for row in rows:
        if row.status == "emerged" and row.tokens is not None:
            points.append((float(row.tokens), float(row.tokens)))
        elif row.status == "never":
            points.append((np.inf, float(row.last_tokens)))
        elif row.status == "already":
            points.append((-np.inf, float(row.first_tokens)))
    if not points:
        return None
    points.sort()
    middle = points[(len(points) - 1) // 2 : len(points) // 2 + 1]
    bounds = np.array([bound for _, bound in middle])
    if (bounds <= 0).any():
        return None
    tokens = float(np.exp(np.log(bounds).mean()))
    open_ends = {place for place, _ in middle if not np.isfinite(place)}
    if len(open_ends) > 1:  # one earlier than the first checkpoint, one later than the last
        return None
    if not open_ends:
        return tokens, "observed"
    return tokens, "right-censored" if open_ends == {np.inf} else "left-censored"


def seeds_table(
    emergence: Iterable[EmergenceRow],
    others: Mapping[str, tuple[pd.DataFrame, list[str]]] | None = None,
) -> Rows[SeedsRow]:
    """Spread over seeds, only for models with several of them; a median and the ends, never a mean
    of curves.

    Args:
        emergence: as made by `curve_tables.emergence_rows`.
        others: name → (a table with columns model, seed, others that name a row, and numbers; the
            columns that hold the numbers).

    Returns:
        one row a (model, task, quantity); of the other tables quantity is `name/row's other
        names/column`.
    """
    rows: list[SeedsRow] = []
    groups: dict[tuple[str, str, str], list[EmergenceRow]] = {}
    for row in emergence:
        groups.setdefault((row.model, row.task, row.quantity), []).append(row)
    rows += [_of_emergence(*key, group) for key, group in groups.items() if len(group) > 1]
    for name, (table, columns) in (others or {}).items():
        if table.empty:
            continue
        keys = [key for key in ("task", "role", "circuit_task", "quantity") if key in table]
        for (model, *key), same in table.groupby(["model", *keys], sort=False):
            if same["seed"].nunique() < 2:
                continue
            of = dict(zip(keys, key, strict=True))
            task = of.pop("task", NO_TASK)
            for column in columns:
                values = same[column].astype(float).dropna()
                rows.append(
                    SeedsRow(
                        model=model,
                        task=task,
                        quantity="/".join([name, *map(str, of.values()), column]),
                        seeds=same["seed"].nunique(),
                        known=len(values),
                        median=float(values.median()) if len(values) else None,
                        min=float(values.min()) if len(values) else None,
                        max=float(values.max()) if len(values) else None,
                    )
                )
    return Rows.of(rows)


def _of_emergence(model: str, task: str, quantity: str, seeds: list[EmergenceRow]) -> SeedsRow:
    statuses = [row.status for row in seeds]
    tokens = [row.tokens for row in seeds if row.status == "emerged" and row.tokens is not None]
    median, kind = median_emergence_point(seeds) or (None, None)
    return SeedsRow(
        model=model,
        task=task,
        quantity=quantity,
        seeds=len(seeds),
        emerged=statuses.count("emerged"),
        never=statuses.count("never"),
        already=statuses.count("already"),
        tokens_median=median,
        tokens_median_is=kind,
        tokens_min=min(tokens, default=None),
        tokens_max=max(tokens, default=None),
    )
