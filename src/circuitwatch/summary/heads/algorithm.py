"""Whether the algorithm stays while heads change: the shares that stand for it, over the checkpoints at which the behaviour is there.

IOI (Tigges et al., 2407.10827, figure 4): B, C and D, the shares of the path-patching effects on the logits, on the name movers' queries, and on the
S-inhibition heads' keys and values that come from the heads whose roles say so. Greater-than (Hanna et al., 2305.00586): attention to the start year, what
its logit lens says, and how the MLPs push later years. The paper reads stability off the curves; here it is a range and a trend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import theilslopes

from circuitwatch.summary.statistics.logistic import log_tokens
from circuitwatch.summary.tables import CellData, in_order, without_duplicates

MEASURES = {"ioi": ("B", "C", "D"), "greater_than": ("year_attention", "year_lens", "mlp_push")}
MEANING = {
    "B": "B: of the effect on the logits, from name movers, negative ones and copy suppression",
    "C": "C: of the effect on name-mover queries, from S-inhibition heads",
    "D": "D: of the effect on S-inhibition keys and values, from induction and duplicate-token heads",
    "year_attention": "attention of the circuit's heads to the start year",
    "year_lens": "heads' logit lens: weight on the start year",
    "mlp_push": "MLPs: later years raised above earlier ones",
}
MIN_TREND = 5
"""Below five checkpoints no order of values is rarer than one in twenty (two of 4! are as extreme as a steady rise): no 95 % interval is bounded."""
STAYS = 0.2
"""A measure stays whose values all lie within this range: a fifth of the scale from 0 to 1."""
SPREAD = ["mean", "min", "max", "first", "last", "trend"]
"""The numbers of `algorithm_table` whose spread over seeds is given."""


def algorithm_table(cells: list[CellData]) -> pd.DataFrame:
    """One row a (model, seed, task, quantity) for every measure that the cells' tasks have; none at all if no record of the sweep has any.

    Over the checkpoints from the first of two neighbours on that are both above chance, where the number exists. Columns: model, seed, task, quantity (B, …),
    n, mean, min, max, first, last; trend, trend_low, trend_high (Theil and Sen's slope per tenfold of tokens, 95 % interval; missing below five checkpoints);
    verdict (`stays`: all within 0.2 of one another; `rises` or `falls`: the trend's interval leaves out 0; `varies without a trend`; `too few checkpoints`;
    `missing`), missing_at (checkpoints above chance without the number), why_missing (their commonest reason).
    """
    if not any(str(name).startswith("algorithm/") for cell in cells for name in cell.curves):
        return pd.DataFrame()  # made before the measures existed
    rows = [
        {"model": cell.model, "seed": cell.seed, "task": cell.task} | _row(cell, name)
        for cell in in_order(cells)
        for name in MEASURES.get(cell.task, ())
    ]
    return pd.DataFrame(rows)


def above_chance_from(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of a cell's curves from the first of two neighbouring checkpoints above chance on; none of them if there are no such two."""
    own = without_duplicates(curves)
    if "behaviour/above_chance" not in own:
        return own.iloc[:0]
    above = own["behaviour/above_chance"].astype("boolean").fillna(False).to_numpy(dtype=bool)
    both = np.flatnonzero(above[:-1] & above[1:])
    return own.iloc[both[0] :] if both.size else own.iloc[:0]


def _row(cell: CellData, name: str) -> dict[str, Any]:
    there = above_chance_from(cell.curves)
    key = f"algorithm/{name}"
    values = there[key].astype(float) if key in there else pd.Series(np.nan, index=there.index)
    known = values.dropna()
    reasons = (
        there.loc[values.isna(), f"{key}_left_out"].dropna() if f"{key}_left_out" in there else pd.Series(dtype=str)
    )
    row: dict[str, Any] = {"quantity": name, "n": len(known)}
    row |= {end: float(getattr(known, end)()) if len(known) else None for end in ("mean", "min", "max")}
    row |= (
        {"first": float(known.iloc[0]), "last": float(known.iloc[-1])} if len(known) else {"first": None, "last": None}
    )
    slope, low, high = _trend(there.loc[known.index, "tokens"], known)
    why = str(reasons.mode().iloc[0]) if len(reasons) else ""
    if there.empty:
        why = "behaviour is at no two neighbouring checkpoints above chance"
    row |= {"trend": slope, "trend_low": low, "trend_high": high}
    verdict = _verdict(row, low, high)
    return row | {"verdict": verdict, "missing_at": int(values.isna().sum()), "why_missing": why}


def _trend(tokens: pd.Series, values: pd.Series) -> tuple[float | None, float | None, float | None]:
    if len(values) < MIN_TREND:
        return None, None, None
    slope, _, low, high = theilslopes(values.to_numpy(), log_tokens(tokens.to_numpy()) / np.log(10), alpha=0.95)
    return float(slope), float(low), float(high)


def _verdict(row: dict[str, Any], low: float | None, high: float | None) -> str:
    if not row["n"]:
        return "missing"
    if low is None or high is None:
        return "too few checkpoints"
    if row["max"] - row["min"] <= STAYS:
        return "stays"
    return "rises" if low > 0 else "falls" if high < 0 else "varies without a trend"
