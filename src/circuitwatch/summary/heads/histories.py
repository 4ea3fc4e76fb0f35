"""The history of each head role of a model: every head's score at every checkpoint, put together
from all of the model's cells.

A role is a property of a model (Tigges et al., 2407.10827, section 4), so the same head has the
same score in every cell. But its causal check is made on a task: what it finds is kept by task, as
a head may do its role's work in one and not in another. Checkpoints that have the weights of
another are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from circuitwatch.catalogue import Role
from circuitwatch.circuits.graph import head_name
from circuitwatch.facts import Facts
from circuitwatch.heads.checks import REPEATED
from circuitwatch.summary.cells import CellData, in_order, is_duplicate

CHECKS = {
    "in_circuit": "boolean",
    "effect": "Float64",
    "effect_low": "Float64",
    "effect_high": "Float64",
    "effect_on": "string",
    "confirmed": "boolean",
    "sign": "string",
}
"""What a roles table says of a head beside its score, and how that is kept when it may be missing.
"""


@dataclass(frozen=True)
class RoleHistory:
    """One role of one model and seed over the checkpoints at which it was measured.

    scores: index (step, tokens), ascending; one column a head or MLP, named like a1.h0 or m3.
    checks: task → what was found of the role's heads in it, one row a checkpoint and head with
    step, tokens, node and the columns of CHECKS; only tasks in which the role can be confirmed and
    something was checked. threshold: the score from which a head holds the role.
    """

    model: str
    seed: int
    role: str
    threshold: float
    scores: pd.DataFrame
    checks: dict[str, pd.DataFrame] = field(default_factory=dict)
    _tables: dict[tuple[str, str], pd.DataFrame] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def confirmed(self, task: str) -> pd.DataFrame:
        """Whether the causal check says that a head does its role's work in a task: the shape of
        `scores`, missing where no check was made.
        """
        return self._wide(task, "confirmed").astype("boolean")

    def signs(self, task: str) -> pd.DataFrame:
        """`helps` where patching a head lowers the behaviour of a task, `hurts` where it raises it:
        the shape of `scores`, missing where neither is sure.
        """
        return self._wide(task, "sign").astype("string")

    def confirmed_at_end(self, task: str) -> dict[str, str]:
        """The heads that the check confirms in a task at the last checkpoint at which the role was
        measured, and their signs.
        """
        sure, signs = self.confirmed(task).iloc[-1], self.signs(task).iloc[-1]
        return {
            str(name): str(signs[name])
            for name in sure.index[sure.fillna(False).to_numpy(dtype=bool)]
        }

    def checked_at_end(self) -> list[str]:
        """Tasks in which any head was checked at the last checkpoint at which the role was
        measured.
        """
        return [task for task in self.checks if bool(self.confirmed(task).iloc[-1].notna().any())]

    def _wide(self, task: str, column: str) -> pd.DataFrame:
        if (task, column) not in self._tables:
            rows = self.checks[task]
            wide = rows.pivot(index=["step", "tokens"], columns="node", values=column)
            wide = wide.reindex(index=self.scores.index, columns=self.scores.columns)
            self._tables[task, column] = wide
        return self._tables[task, column]


def stack_roles(tables: Iterable[tuple[str, pd.DataFrame]], facts: Facts) -> pd.DataFrame:
    """Several cells' roles tables, (task, table) each, below one another, without the heads that
    can't hold the row's role, whatever their score (`catalogue.Role.first_layer`).

    Columns: step, tokens, role, layer, head, score, those of CHECKS (missing where a table lacks
    them), node (its name), task: whose cell the row is from.
    """
    parts = []
    for task, table in tables:
        if len(table):
            checked = {name: table.get(name, pd.NA) for name in CHECKS}
            parts.append(table.assign(**checked, task=task).astype(CHECKS))
    columns = ["step", "tokens", "role", "layer", "head", "score", *CHECKS, "node", "task"]
    if not parts:
        return pd.DataFrame(columns=columns)
    every = pd.concat(parts, ignore_index=True)
    first = {role: facts.role(role).first_layer for role in every["role"].unique()}
    every = every[every["layer"].astype(int) >= every["role"].map(first).astype(int)]
    names = [
        head_name(int(layer), int(head))
        for layer, head in zip(every["layer"], every["head"], strict=True)
    ]
    return every.assign(node=names)[columns]


def checks_by_task(role: Role, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What was checked of a role's heads, rows of `stack_roles`, by the task in which they can be
    confirmed.

    A role that is checked on a probe of its own is measured in every cell alike: the first cell
    that knows of a head is believed.
    """
    known = rows[rows["confirmed"].notna() | rows["effect"].notna()]
    found = {}
    for task in role.confirmed_on or dict.fromkeys(known["task"]):
        own = known if task == REPEATED else known[known["task"] == task]
        own = own.sort_values("confirmed", key=lambda c: c.isna(), kind="stable").drop_duplicates(
            ["step", "node"]
        )
        if len(own):
            found[task] = own[["step", "tokens", "node", *CHECKS]].reset_index(drop=True)
    return found


def role_histories(cells: list[CellData]) -> list[RoleHistory]:
    """Every role of every model and seed, by model size, model, seed, and the role's place.

    Of several cells that score the same head the first speaks. A head without a row at a checkpoint
    at which its role was measured scores 0 there; one that can't hold the role has no column.
    """
    of_model: dict[tuple[str, int], list[CellData]] = {}
    for cell in in_order(cells):
        of_model.setdefault((cell.model, cell.seed), []).append(cell)
    found = []
    for (model, seed), own in of_model.items():
        copies = {
            step for cell in own for step in cell.curves.loc[is_duplicate(cell.curves), "step"]
        }
        facts = Facts.of_headers([cell.header for cell in own])
        roles = stack_roles(((cell.task, cell.roles) for cell in own), facts)
        roles = roles[~roles["step"].isin(copies)]
        for role in sorted(map(facts.role, roles["role"].unique()), key=role_place):
            rows = roles[roles["role"] == role.name]
            names = rows.drop_duplicates(["layer", "head"]).sort_values(["layer", "head"])["node"]
            once = rows.drop_duplicates(["step", "node"])
            scores = (
                once.pivot(index=["step", "tokens"], columns="node", values="score")
                .astype(float)
                .fillna(0.0)
            )
            found.append(
                RoleHistory(
                    model,
                    seed,
                    role.name,
                    role.threshold,
                    scores[names],
                    checks_by_task(role, rows),
                )
            )
    return found


def role_place(role: Role) -> tuple[int, str]:
    """Where a role comes among others."""
    return role.place, role.name
