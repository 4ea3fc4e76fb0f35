"""The history of each head role of a model: every head's score at every checkpoint, put together from all of the model's cells.

A role is a property of a model (Tigges et al., 2407.10827, section 4), but its causal check is made on a task, so the same head has the same score in
every cell and may be confirmed in one of them only. Checkpoints that have the weights of another are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from circuitwatch.heads.holding import that_can_hold
from circuitwatch.summary.tables import CellData, in_order, is_duplicate, role_threshold

SERVES: dict[str, tuple[str, ...]] = {
    "ioi": (
        "previous_token",
        "duplicate_token",
        "induction",
        "s_inhibition",
        "name_mover",
        "negative_name_mover",
        "copy_suppression",
    ),
    "greater_than": ("successor", "induction", "year_attention", "year_push"),
}
"""The roles that serve a task, in the order in which its circuit uses them (Wang et al., 2211.00593; Hanna et al., 2305.00586)."""
ROLES = tuple(dict.fromkeys(role for roles in SERVES.values() for role in roles))
CHECKS = {"in_circuit": "boolean", "effect": "Float64", "effect_on": "string", "confirmed": "boolean"}
"""What a roles table says of a head beside its score, and how that is kept when it may be missing."""


@dataclass(frozen=True)
class RoleHistory:
    """One role of one model and seed over the checkpoints at which it was measured.

    scores: index (step, tokens), ascending; one column a head or MLP, named like a1.h0 or m3. confirmed: the same shape, nullable: whether the causal
    check says that the head does its role's work, missing where no check was made. threshold: the score from which a head holds the role.
    """

    model: str
    seed: int
    role: str
    threshold: float
    scores: pd.DataFrame
    confirmed: pd.DataFrame


def node_name(layer: int, head: int) -> str:
    """a1.h0 for a head, m1 for an MLP (head −1)."""
    return f"m{layer}" if head < 0 else f"a{layer}.h{head}"


def merge_roles(tables: Iterable[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Several cells' roles tables, (task, table) each, as one: one row a step, role, layer and head.

    Of several rows about a head the one that knows most is kept: confirmed before not confirmed before not checked, then in the circuit, then with the
    larger effect; the first cell where all are equal. Columns: step, tokens, role, layer, head, score, in_circuit, effect, effect_on, confirmed,
    node (its name), task (whose cell the row is from). Checks that a table lacks are missing.
    """
    parts = []
    for order, (task, table) in enumerate(tables):
        if len(table):
            checked = {name: table.get(name, pd.NA) for name in CHECKS}
            parts.append(table.assign(**checked, task=task, order=order).astype(CHECKS))
    if not parts:
        return pd.DataFrame(columns=["step", "tokens", "role", "layer", "head", "score", *CHECKS, "node", "task"])
    every = pd.concat(parts, ignore_index=True)
    every["size"] = every["effect"].abs()
    every = every.sort_values(
        ["step", "role", "layer", "head", "confirmed", "in_circuit", "size", "order"],
        ascending=[True, True, True, True, False, False, False, True],
        na_position="last",
    ).drop_duplicates(["step", "role", "layer", "head"])
    every["node"] = [
        node_name(layer, head)
        for layer, head in zip(every["layer"].astype(int), every["head"].astype(int), strict=True)
    ]
    columns = ["step", "tokens", "role", "layer", "head", "score", *CHECKS, "node", "task"]
    return every[columns].reset_index(drop=True)


def role_histories(cells: list[CellData]) -> list[RoleHistory]:
    """Every role of every model and seed, by model size, model, seed, and role in the order of `ROLES`; others after them.

    A head without a row at a checkpoint at which its role was measured scores 0 there; one that can't hold the role (`heads.holding`) has no column.
    """
    of_model: dict[tuple[str, int], list[CellData]] = {}
    for cell in in_order(cells):
        of_model.setdefault((cell.model, cell.seed), []).append(cell)
    found = []
    for (model, seed), own in of_model.items():
        copies = {step for cell in own for step in cell.curves.loc[is_duplicate(cell.curves), "step"]}
        roles = merge_roles((cell.task, cell.roles) for cell in own)
        roles = that_can_hold(roles[~roles["step"].isin(copies)])
        for role in sorted(roles["role"].unique(), key=role_place):
            rows = roles[roles["role"] == role]
            names = rows.drop_duplicates(["layer", "head"]).sort_values(["layer", "head"])["node"]
            scores = rows.pivot(index=["step", "tokens"], columns="node", values="score").astype(float).fillna(0.0)
            confirmed = rows.pivot(index=["step", "tokens"], columns="node", values="confirmed").astype("boolean")
            found.append(
                RoleHistory(model, seed, str(role), role_threshold(own, str(role)), scores[names], confirmed[names])
            )
    return found


def role_place(role: str) -> tuple[int, str]:
    """Where a role comes in the order of `ROLES`; others after them, by name."""
    return (ROLES.index(role) if role in ROLES else len(ROLES), role)


def last_confirmed(history: RoleHistory) -> list[str]:
    """Heads whose role the causal check confirms at the last checkpoint at which the role was measured."""
    return [
        str(name) for name in history.confirmed.columns[history.confirmed.iloc[-1].fillna(False).to_numpy(dtype=bool)]
    ]


def last_checked(history: RoleHistory) -> bool:
    """Whether any head was checked by cause at the last checkpoint at which the role was measured."""
    return bool(np.any(history.confirmed.iloc[-1].notna().to_numpy()))
