"""Whether the algorithm stays while heads change: the shares that stand for it, over the
checkpoints at which the behaviour is there.

IOI (Tigges et al., 2407.10827, figure 4): B, C and D, the shares of the path-patching effects on
the logits, on the name movers' queries, and on the S-inhibition heads' keys and values that come
from the heads whose roles say so. Greater-than (Hanna et al., 2305.00586): attention to the start
year, what its logit lens says, and how the MLPs push later years. The paper reads stability off the
curves; here it is a range and a trend, and what is said of B, C and D is said only if it holds at
every cut-off of the roles (`bands`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.catalogue import Quantity
from circuitwatch.summary.cells import CellData, in_order, without_duplicates
from circuitwatch.summary.heads.bands import UNEXPLAINED, band_of, by_cutoff, measures_of, short
from circuitwatch.summary.statistics.logistic import log_tokens
from circuitwatch.summary.statistics.trends import slope_interval

MIN_TREND = 5
"""Fewer checkpoints that may be alike say nothing of a trend."""
STAYS = 0.2
"""A measure stays whose values all lie within this range: a fifth of the scale from 0 to 1."""
SPREAD = ["mean", "min", "max", "first", "last", "trend"]
"""The numbers of `algorithm_table` whose spread over seeds is given."""


DEPENDS = "depends on the cut-off"
UNCHECKED = "not checked over cut-offs"


def algorithm_table(cells: list[CellData], bands: pd.DataFrame) -> pd.DataFrame:
    """One row a (model, seed, task, quantity) for every measure that the cells' tasks have; none at
    all if no record of the sweep has any.

    Over the checkpoints from the first of two neighbours on that are both above chance, where the
    number exists. Columns: model, seed, task, quantity (B, …), n, mean, min, max, first, last;
    trend, trend_low, trend_high (slope per tenfold of tokens with a 95 % interval that allows for
    neighbouring checkpoints that are alike, see `statistics.trends`; missing below five
    checkpoints); verdict (`stays`: all within 0.2 of one another; `rises` or
    `falls`: the trend's interval leaves out 0; `varies without a trend`; `too few checkpoints`;
    `missing`; of B, C and D `depends on the cut-off` where not every cut-off gives the same; none
    for what no role explains), verdicts (each cut-off's); band_min, band_max (over cut-offs and
    checkpoints); missing_at (checkpoints above chance without the number), why_missing (their
    commonest reason); heads (the strongest that no role explains, at the last checkpoint).

    bands: as `bands.bands_table` makes it.
    """
    if not any(str(name).startswith("algorithm/") for cell in cells for name in cell.curves):
        return pd.DataFrame()  # made before the measures existed
    rows = []
    for cell in in_order(cells):
        own = cell.facts.task(cell.task).quantities
        for quantity in measures_of(cell.facts, cell.task):
            if quantity.key in own or quantity.key in cell.curves:
                about = {"model": cell.model, "seed": cell.seed, "task": cell.task}
                rows.append(about | _row(cell, quantity, bands))
    table = pd.DataFrame(rows)
    for name in ("heads", "band_min", "band_max"):  # of some quantities only
        if name not in table:
            table[name] = None
    return table


def above_chance_from(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of a cell's curves from the first of two neighbouring checkpoints above chance on;
    none of them if there are no such two.
    """
    own = without_duplicates(curves)
    if "behaviour/above_chance" not in own:
        return own.iloc[:0]
    above = own["behaviour/above_chance"].astype("boolean").fillna(False).to_numpy(dtype=bool)
    both = np.flatnonzero(above[:-1] & above[1:])
    return own.iloc[both[0] :] if both.size else own.iloc[:0]


def _row(cell: CellData, quantity: Quantity, bands: pd.DataFrame) -> dict[str, Any]:
    there = above_chance_from(cell.curves)
    key, name = quantity.key, short(quantity.key)
    band = band_of(bands, cell, name).reindex(there["step"])
    values = pd.Series(band["value"].to_numpy(dtype=float), index=there.index)
    known = values.dropna()
    reasons = (
        there.loc[values.isna(), f"{key}_left_out"].dropna()
        if f"{key}_left_out" in there
        else pd.Series(dtype=str)
    )
    row: dict[str, Any] = {"quantity": name, "n": len(known)}
    row |= {
        end: float(getattr(known, end)()) if len(known) else None for end in ("mean", "min", "max")
    }
    row |= (
        {"first": float(known.iloc[0]), "last": float(known.iloc[-1])}
        if len(known)
        else {"first": None, "last": None}
    )
    why = str(reasons.mode().iloc[0]) if len(reasons) else ""
    if there.empty:
        why = "behaviour is at no two neighbouring checkpoints above chance"
    verdict, slope, low, high = _judge(there["tokens"], values)
    row |= {"trend": slope, "trend_low": low, "trend_high": high}
    each: dict[float, str] = {}
    if quantity.over_cutoffs:
        for cutoff, series in by_cutoff(bands, cell, name).items():
            own = pd.Series(series.reindex(there["step"]).to_numpy(dtype=float), index=there.index)
            each[cutoff] = _judge(there["tokens"], own)[0]
        verdict = over_cutoffs(verdict, each)
        row |= {"band_min": _number(band["least"].min()), "band_max": _number(band["most"].max())}
    elif key in UNEXPLAINED and verdict != "missing":
        verdict = ""  # it hangs on the default cut-offs alone
        # At the checkpoint of `last`: where no such head is sure the record names none.
        heads = (
            there.get("algorithm/unexplained_heads", pd.Series(dtype=object))
            .reindex(known.index[-1:])
            .dropna()
        )
        row["heads"] = str(heads.iloc[0]) if len(heads) else ""
    row |= {"verdict": verdict, "verdicts": said_by_cutoff(each)}
    return row | {"missing_at": int(values.isna().sum()), "why_missing": why}


def over_cutoffs(default: str, each: Mapping[float, str]) -> str:
    """The verdict that the default cut-offs give if every cut-off gives the same; else that it
    depends on them, or that none was looked at.
    """
    if default in ("missing", "too few checkpoints"):
        return default
    if not each:
        return UNCHECKED
    return default if set(each.values()) == {default} else DEPENDS


def said_by_cutoff(each: Mapping[float, str]) -> str:
    """Verdicts at ascending cut-offs in words: `stays at 0.1–0.6, rises at 0.7–0.9`."""
    runs: list[tuple[str, float, float]] = []
    for cutoff, verdict in sorted(each.items()):
        if runs and runs[-1][0] == verdict:
            runs[-1] = (verdict, runs[-1][1], cutoff)
        else:
            runs.append((verdict, cutoff, cutoff))
    return ", ".join(f"{verdict} at {a:g}" + (f"–{b:g}" if b > a else "") for verdict, a, b in runs)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _judge(
    tokens: pd.Series, values: pd.Series
) -> tuple[str, float | None, float | None, float | None]:
    """The verdict on some values, missing ones left out, and their trend with its interval."""
    known = values.dropna()
    slope, low, high = _trend(tokens[known.index], known)
    if not len(known):
        return "missing", slope, low, high
    if low is None or high is None:
        return "too few checkpoints", slope, low, high
    if known.max() - known.min() <= STAYS:
        return "stays", slope, low, high
    return (
        "rises" if low > 0 else "falls" if high < 0 else "varies without a trend",
        slope,
        low,
        high,
    )


def _trend(tokens: pd.Series, values: pd.Series) -> tuple[float | None, float | None, float | None]:
    if len(values) < MIN_TREND:
        return None, None, None
    x = log_tokens(tokens.to_numpy()) / np.log(10)
    return slope_interval(x, values.to_numpy(dtype=float))
