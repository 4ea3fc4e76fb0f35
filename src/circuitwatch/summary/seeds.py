"""Several training seeds of one size: a spread, and the median emergence point; never a mean of
curves, which shifts the threshold.

A seed in which something never emerged by its last checkpoint is later than all that did
(right-censored), and one that had it at its first is earlier (left-censored): leaving them out
would make a size look quicker the more of its runs fail. So the median is one of order statistics,
itself a bound where it falls on such a seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.summary.statistics.scaling import Kind
from circuitwatch.summary.tables import NO_TASK


def median_emergence_point(rows: pd.DataFrame) -> tuple[float, Kind] | None:
    """Tokens that half of the seeds have emerged by; of two in the middle the geometric mean.

    Args:
        rows: one a seed, with status, tokens, first_tokens and last_tokens as the emergence table
            has them. Seeds that are transient or ambiguous have no emergence point and are
            left out.

    Returns:
        (tokens, `observed`), or a bound on them with `right-censored` or `left-censored`; none
        where no seed has an emergence point, or all that is known is "from 0 tokens on".
    """
    points: list[tuple[float, float]] = []  # (place in the order, tokens or their bound)
    for row in rows.itertuples(index=False):
        if row.status == "emerged":
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
    emergence: pd.DataFrame, others: dict[str, tuple[pd.DataFrame, list[str]]] | None = None
) -> pd.DataFrame:
    """Spread over seeds, only for models with several of them; a median and the ends, never a mean
    of curves.

    Args:
        emergence: as made by `curve_tables.emergence_rows`.
        others: name → (a table with columns model, seed, others that name a row, and numbers; the
            columns that hold the numbers).

    Returns:
        one row a (model, task, quantity): model, task, quantity, seeds (how many). For emergence
        then emerged, never, already (how many of them), tokens_median and tokens_median_is
        (`observed`, or a bound: `right-censored`, `left-censored`), tokens_min and tokens_max of
        those that emerged; for the others quantity is `name/row's other names/column`, and known
        (how many seeds have the number), median, min, max.
    """
    rows: list[dict[str, Any]] = []
    for (model, task, quantity), group in emergence.groupby(
        ["model", "task", "quantity"], sort=False
    ):
        if len(group) > 1:
            tokens = group.loc[group["status"] == "emerged", "tokens"].astype(float)
            counts = {
                status: int((group["status"] == status).sum())
                for status in ("emerged", "never", "already")
            }
            median, kind = median_emergence_point(group) or (None, None)
            about = {
                "model": model,
                "task": task,
                "quantity": quantity,
                "seeds": len(group),
            } | counts
            ends = {
                f"tokens_{name}": float(getattr(tokens, name)()) if len(tokens) else None
                for name in ("min", "max")
            }
            rows.append(about | {"tokens_median": median, "tokens_median_is": kind} | ends)
    for name, (table, columns) in (others or {}).items():
        if table.empty:
            continue
        keys = [key for key in ("task", "role", "circuit_task", "quantity") if key in table]
        for (model, *key), group in table.groupby(["model", *keys], sort=False):
            if group["seed"].nunique() > 1:
                named = dict(zip(keys, key, strict=True))
                task = named.pop("task", NO_TASK)
                about = {"model": model, "task": task, "seeds": group["seed"].nunique()}
                for column in columns:
                    values = group[column].astype(float).dropna()
                    quantity = "/".join([name, *map(str, named.values()), column])
                    rows.append(
                        about | {"quantity": quantity, "known": len(values)} | _spread(values)
                    )
    return pd.DataFrame(rows)


def _spread(values: pd.Series) -> dict[str, float | None]:
    return {
        name: float(getattr(values, name)()) if len(values) else None
        for name in ("median", "min", "max")
    }
