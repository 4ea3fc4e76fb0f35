"""The algorithm's shares at every cut-off of the roles, so that nothing is said of them that hangs
on where one threshold lies.

A record measures each share from its checkpoint's own scores: at the roles' thresholds, and those
that hang on who holds a role (of IOI B, C and D) also with one cut-off for all roles (0.1, 0.2 …
0.9). Heads whose scores wander about a cut-off would come and go without having changed, so B is
counted anew here, from the recorded direct effects on the logits, with the hysteresis that holders
have (`turnover.holding`). C and D are joint effects, which can't be put together from single ones:
they stay as recorded. Which quantities those are their facts say: `over_cutoffs`, and `roles` where
the share is one of single effects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from circuitwatch.catalogue import Quantity
from circuitwatch.circuits.graph import place_of
from circuitwatch.facts import Facts
from circuitwatch.quantities import unexplained
from circuitwatch.summary.cells import CellData, in_order, without_duplicates
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.turnover import holding

GROUP = "algorithm/"
"""How the keys of the algorithm's quantities begin; tables call them by what comes after it."""
UNEXPLAINED = tuple(quantity.key for quantity in unexplained.QUANTITY)
COLUMNS = ["model", "seed", "task", "step", "tokens", "quantity", "cutoff", "value", "low", "high"]
SAME = 1e-6
"""A share counted anew that is no further from the recorded one is the same, and keeps its
interval.
"""


def measures_of(facts: Facts, task: str) -> list[Quantity]:
    """The algorithm's quantities of a task, in order: its own, and others in the same panel that
    are of no other task's.
    """
    own = facts.task(task).quantities
    others = {key for other in facts.tasks.values() for key in other.quantities} - {*own}
    return [
        quantity
        for key, quantity in facts.quantities.items()
        if key in own or (quantity.panel == "algorithm" and key not in others)
    ]


def short(key: str) -> str:
    """What tables call a quantity of the algorithm."""
    return key.removeprefix(GROUP)


def bands_table(cells: Sequence[CellData], histories: Sequence[RoleHistory]) -> pd.DataFrame:
    """The measures of the algorithm at every checkpoint and cut-off: columns COLUMNS, one row each.

    cutoff is missing where every role has its own threshold. low and high (95 % over prompts) are
    missing where B was counted anew and differs from the record.
    """
    tables = []
    for cell in in_order(list(cells)):
        own, measures = without_duplicates(cell.curves), measures_of(cell.facts, cell.task)
        parts = [_recorded(own, quantity) for quantity in measures]
        if len(cell.bands):
            over = [short(quantity.key) for quantity in measures if quantity.over_cutoffs]
            banded = cell.bands[
                cell.bands["step"].isin(own["step"]) & cell.bands["measure"].isin(over)
            ]
            parts.append(banded.rename(columns={"measure": "quantity"}))
        table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
        for quantity in measures:
            if quantity.over_cutoffs and quantity.roles:
                holders = [
                    h
                    for h in histories
                    if (h.model, h.seed) == (cell.model, cell.seed) and h.role in quantity.roles
                ]
                table = _with_hysteresis(table, short(quantity.key), cell.direct, holders)
        tables.append(table.assign(model=cell.model, seed=cell.seed, task=cell.task))
    full = [table for table in tables if len(table)]
    if not full:
        return pd.DataFrame(columns=COLUMNS)
    numbers = dict.fromkeys(("cutoff", "value", "low", "high"), float)
    return pd.concat(full, ignore_index=True)[COLUMNS].astype(numbers)


def band_of(bands: pd.DataFrame, cell: CellData, quantity: str) -> pd.DataFrame:
    """One measure of one cell: index step, columns tokens, value, low, high at the default
    cut-offs, and least and most over all cut-offs.
    """
    own = bands[
        (bands["model"] == cell.model)
        & (bands["seed"] == cell.seed)
        & (bands["task"] == cell.task)
        & (bands["quantity"] == quantity)
    ]
    table = (
        own[own["cutoff"].isna()].set_index("step")[["tokens", "value", "low", "high"]].sort_index()
    )
    over = own[own["cutoff"].notna()].groupby("step")["value"]
    return table.assign(least=over.min(), most=over.max())


def by_cutoff(bands: pd.DataFrame, cell: CellData, quantity: str) -> dict[float, pd.Series]:
    """One measure of one cell at each cut-off, ascending: values indexed by step."""
    own = bands[
        (bands["model"] == cell.model) & (bands["seed"] == cell.seed) & (bands["task"] == cell.task)
    ]
    own = own[(own["quantity"] == quantity) & own["cutoff"].notna()]
    return {
        float(str(c)): rows.set_index("step")["value"].sort_index()
        for c, rows in own.groupby("cutoff")
    }


def share_of(effects: pd.DataFrame, held: pd.DataFrame) -> pd.Series:
    """Σ |effect| over the heads that are held by Σ |effect| over all: indexed by step; effects and
    held are [step, head].
    """
    sizes = effects.abs()
    counted = held.reindex(index=sizes.index, columns=sizes.columns, fill_value=False).astype(bool)
    total = sizes.sum(axis=1)
    return (sizes.where(counted, 0.0).sum(axis=1) / total).where(total > 0)


def _recorded(own: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    key = quantity.key
    if key not in own:
        return pd.DataFrame(
            columns=["step", "tokens", "quantity", "cutoff", "value", "low", "high"]
        )
    known = own.dropna(subset=[key])
    named = quantity.interval or (f"{key}_low", f"{key}_high")
    ends = {end: known.get(of, np.nan) for end, of in zip(("low", "high"), named, strict=True)}
    return pd.DataFrame(
        {
            "step": known["step"],
            "tokens": known["tokens"],
            "quantity": short(key),
            "cutoff": np.nan,
            "value": known[key],
            **ends,
        }
    )


def _with_hysteresis(
    table: pd.DataFrame, share: str, direct: pd.DataFrame, holders: Sequence[RoleHistory]
) -> pd.DataFrame:
    """The table with a share of single direct effects counted anew wherever those of the checkpoint
    are there.
    """
    of_share = table["quantity"] == share
    if not of_share.any() or direct.empty or not holders:
        return table
    places = direct["sender"].map(place_of)
    heads = direct[[place is not None and place.head >= 0 for place in places]]
    effects = heads.pivot(index="step", columns="sender", values="effect").astype(float).fillna(0.0)
    changed = table.copy().astype({"value": float, "low": float, "high": float})
    for cutoff in table.loc[of_share, "cutoff"].astype(float).unique():
        held: pd.DataFrame | None = None
        for history in holders:
            one = holding(
                history.scores, history.threshold if np.isnan(cutoff) else cutoff
            ).droplevel("tokens")
            one = one.reindex(index=effects.index, columns=effects.columns, fill_value=False)
            held = one if held is None else held | one
        assert held is not None
        shares = share_of(effects, held)
        rows = table.index[
            of_share & (table["cutoff"].isna() if np.isnan(cutoff) else table["cutoff"] == cutoff)
        ]
        anew = table.loc[rows, "step"].map(shares)
        known = anew.notna()
        differs = rows[known & ((anew - table.loc[rows, "value"].astype(float)).abs() > SAME)]
        changed.loc[rows[known], "value"] = anew[known]
        changed.loc[differs, ["low", "high"]] = np.nan
    return changed
