"""Tables of who holds which head role: every head's tenure, every handover, and one line a role
(`turnover` has the definitions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK, CellData, role_curves
from circuitwatch.summary.heads.histories import RoleHistory, role_place
from circuitwatch.summary.heads.turnover import (
    compensation,
    events,
    handovers,
    holding,
    lifetime,
    rank_correlations,
    strongest,
    tenure,
)

SPREAD = [
    "holders_ever",
    "holders_at_end",
    "strongest_share",
    "handovers",
    "compensation",
    "rank_neighbours",
    "rank_first_last",
]
"""The numbers of `roles_table` whose spread over seeds is given."""
SIGNS = ("helps", "hurts")
"""What a confirmed head does to the behaviour: patching it lowers it, or raises it."""
COUNTS = ("checkpoints", "holders_ever", "holders_at_end", "born", "lost", "regained", "handovers")


def turnover_table(histories: Sequence[RoleHistory]) -> pd.DataFrame:
    """One row a (model, seed, role, head) that ever holds the role.

    Columns: model, seed, role, then those of `turnover.tenure`; then for each task in which any of
    the roles was checked, missing where this one was not: checked_<task>, confirmed_<task>,
    helps_<task>, hurts_<task> (at how many of the checkpoints at which the head holds the role the
    causal check was made, at how many it confirms the role, and with which sign); sign_<task>,
    effect_<task>, effect_low_<task>, effect_high_<task> (at the last checkpoint).
    """
    tables = []
    for history in histories:
        table = tenure(history.scores, history.threshold)
        held = holding(history.scores, history.threshold)
        for task, checks in history.checks.items():
            confirmed, signs = history.confirmed(task), history.signs(task)
            while_held = [
                (confirmed.loc[held[head], head], signs.loc[held[head], head])
                for head in table["head"]
            ]
            table[f"checked_{task}"] = [int(c.notna().sum()) for c, _ in while_held]
            table[f"confirmed_{task}"] = [int(c.fillna(False).sum()) for c, _ in while_held]
            for sign in SIGNS:
                table[f"{sign}_{task}"] = [
                    int((c.fillna(False) & (s == sign).fillna(False)).sum()) for c, s in while_held
                ]
            last = (
                checks[checks["step"] == history.scores.index[-1][0]]
                .set_index("node")
                .reindex(table["head"])
            )
            for name in ("sign", "effect", "effect_low", "effect_high"):
                table[f"{name}_{task}"] = last[name].to_numpy()
        tables.append(_about(history, table))
    stacked = _stack(tables)
    counts = [
        name
        for name in stacked
        if str(name).startswith(("checked_", "confirmed_", *(f"{s}_" for s in SIGNS)))
    ]
    return stacked.astype(dict.fromkeys(counts, "Int64"))


def handovers_table(histories: Sequence[RoleHistory]) -> pd.DataFrame:
    """One row a change of the strongest holder: model, seed, role, then those of
    `turnover.handovers`.
    """
    return _stack(
        [_about(history, handovers(history.scores, history.threshold)) for history in histories]
    )


def roles_table(
    histories: Sequence[RoleHistory], emergence: pd.DataFrame, cells: Sequence[CellData] = ()
) -> pd.DataFrame:
    """One row a (model, seed, role), also for roles that could not be measured.

    Columns: model, seed, role, threshold; status, tokens, tokens_low, tokens_high (its emergence,
    as `emergence_table` has it); checkpoints (at which it was measured); held_from, held_to (tokens
    of the first and the last checkpoint at which any head holds it); holders_ever, holders_at_end
    (how many), heads_at_end (their names, strongest first), confirmed_at_end (whom of them the
    causal check confirms at the last checkpoint, by task, and whether they help or hurt the
    behaviour: `ioi: a1.h0 helps, a1.h2 hurts`), checked_at_end (the tasks in which there was a
    check); strongest_share (median over the role's lifetime of the highest score's share of the
    total), strongest_share_at_end; born, lost, regained, handovers (how many; born includes heads
    that held it at the first checkpoint); compensation, compensation_chance, moved
    (`turnover.compensation`); rank_neighbours (median rank correlation of all heads' scores between
    neighbouring checkpoints of the role's lifetime), rank_first_last (between its first checkpoint
    and the last one); note (why it was not measured, the commonest reason).
    """
    rows = [_role_row(history, emergence) for history in histories]
    there = {(row["model"], row["seed"], row["role"]) for row in rows}
    for (model, seed), curves in role_curves(list(cells)).items():
        for name in curves:
            parts = str(name).split("/")
            if (
                parts[0] == "roles"
                and parts[-1] == "left_out"
                and (model, seed, parts[1]) not in there
            ):
                reasons = curves[name].dropna()
                if len(reasons):
                    about = {"model": model, "seed": seed, "role": parts[1], "checkpoints": 0}
                    rows.append(about | {"note": str(reasons.mode().iloc[0])})
    order = {key: place for place, key in enumerate(role_curves(list(cells)))}
    facts = Facts.of_headers([cell.header for cell in cells])
    rows.sort(
        key=lambda row: (
            order.get((row["model"], row["seed"]), 0),
            role_place(facts.role(row["role"])),
        )
    )
    table = pd.DataFrame(rows)
    return table.astype({name: "Int64" for name in COUNTS if name in table})


def _role_row(history: RoleHistory, emergence: pd.DataFrame) -> dict[str, Any]:
    scores, threshold = history.scores, history.threshold
    held = holding(scores, threshold)
    alive = lifetime(held)
    tokens = scores.index.get_level_values("tokens").to_numpy(dtype=float)[alive]
    at_end = held.iloc[-1].to_numpy(dtype=bool)
    best = strongest(scores, threshold)
    happened = events(scores, threshold)["event"].value_counts()
    kept, by_chance, moved = compensation(scores, threshold)
    ranks = rank_correlations(scores)
    names = holders_at_end(history)
    checked = history.checked_at_end()
    row: dict[str, Any] = {
        "model": history.model,
        "seed": history.seed,
        "role": history.role,
        "threshold": threshold,
    }
    row |= _emergence_of(history, emergence)
    row |= {
        "checkpoints": len(scores),
        "held_from": tokens[0] if tokens.size else None,
        "held_to": tokens[-1] if tokens.size else None,
        "holders_ever": int(held.to_numpy().any(axis=0).sum()),
        "holders_at_end": int(at_end.sum()),
        "heads_at_end": " ".join(names),
        "confirmed_at_end": "; ".join(
            f"{task}: {listed}"
            for task in checked
            if (listed := ", ".join(confirmed_holders(history, task)))
        ),
        "checked_at_end": " ".join(checked),
        "strongest_share": _median(best["share"].iloc[alive]),
        "strongest_share_at_end": float(best["share"].iloc[-1]),
        "born": int(happened.get("born", 0) + happened.get("already", 0)),
        "lost": int(happened.get("lost", 0)),
        "regained": int(happened.get("regained", 0)),
        "handovers": len(handovers(scores, threshold)),
        "compensation": kept,
        "compensation_chance": by_chance,
        "moved": moved,
        "rank_neighbours": _median(ranks["to_previous"].iloc[alive].iloc[1:]),
        "rank_first_last": float(ranks["to_last"].iloc[alive.start]) if tokens.size else None,
        "note": ""
        if tokens.size
        else f"no head ever reaches {threshold:g}: highest score {scores.to_numpy().max():.2f}",
    }
    return row


def confirmed_holders(history: RoleHistory, task: str) -> list[str]:
    """The holders at the last checkpoint that the check confirms in a task, strongest first, each
    with its sign: `a1.h0 helps`.
    """
    sure = history.confirmed_at_end(task)
    return [f"{name} {sure[name]}" for name in holders_at_end(history) if name in sure]


def holders_at_end(history: RoleHistory) -> list[str]:
    """The holders at the last checkpoint, strongest first."""
    at_end = holding(history.scores, history.threshold).iloc[-1].to_numpy(dtype=bool)
    return list(
        map(str, history.scores.iloc[-1][at_end].sort_values(ascending=False, kind="stable").index)
    )


def _emergence_of(history: RoleHistory, emergence: pd.DataFrame) -> dict[str, Any]:
    names = ("status", "tokens", "tokens_low", "tokens_high")
    if len(emergence):
        found = emergence[
            (emergence["model"] == history.model)
            & (emergence["seed"] == history.seed)
            & (emergence["task"] == NO_TASK)
            & (emergence["quantity"] == f"roles/{history.role}/max")
        ]
        if len(found):
            return {name: found.iloc[0][name] for name in names}
    return dict.fromkeys(names)


def _about(history: RoleHistory, table: pd.DataFrame) -> pd.DataFrame:
    about = pd.DataFrame(
        {"model": history.model, "seed": history.seed, "role": history.role}, index=table.index
    )
    return pd.concat([about, table], axis=1)


def _stack(tables: list[pd.DataFrame]) -> pd.DataFrame:
    full = [table for table in tables if len(table)]
    return pd.concat(full, ignore_index=True) if full else (tables[0] if tables else pd.DataFrame())


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(np.median(known)) if len(known) else None
