"""What only cells add to the tables of curves (`curve_tables`), and how cells ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from circuitwatch.summary.cells import (
    NO_TASK,
    CellData,
    in_order,
    is_duplicate,
    role_curves,
    without_duplicates,
)
from circuitwatch.summary.rows import EmergenceRow, Row, Rows


def behaviours_first(emergence: Iterable[EmergenceRow]) -> Rows[EmergenceRow]:
    """The rows by model, and of each the tasks before what is the model's, and of each task the
    behaviour first.
    """
    rows = list(emergence)
    models = {model: place for place, model in enumerate(dict.fromkeys(row.model for row in rows))}
    return Rows.of(
        sorted(
            rows,
            key=lambda row: (
                models[row.model],
                row.task == NO_TASK,
                row.task,
                row.quantity != "behaviour/value",
            ),
        )
    )


def with_cells(emergence: Iterable[EmergenceRow], cells: list[CellData]) -> Rows[EmergenceRow]:
    """The rows with what only cells tell: the head that holds a role at the last checkpoint,
    parameters without embeddings, and whether a cell is finished.

    A role's curve is finished where any of its model's cells is. Rows of other sources keep what
    they have.
    """
    curves = {key: without_duplicates(table) for key, table in role_curves(cells).items()}
    rows = []
    for row in emergence:
        own = [
            cell
            for cell in cells
            if (cell.model, cell.seed) == (row.model, row.seed) and row.task in (cell.task, NO_TASK)
        ]
        if not own:
            rows.append(row)
            continue
        heads = curves[row.model, row.seed].get(f"{row.quantity.removesuffix('/max')}/head")
        head = None if row.task != NO_TASK or heads is None or heads.empty else heads.iloc[-1]
        rows.append(
            replace(
                row,
                head=None if pd.isna(head) else str(head),
                params_non_embedding=own[0].header["model"].get("params_non_embedding"),
                finished=any(cell.finished for cell in own),
            )
        )
    return Rows.of(rows)


@dataclass(frozen=True, kw_only=True)
class CellRow(Row):
    """How a cell ended, and the means over its checkpoints that have a circuit.

    Attributes:
        checkpoints, checkpoints_planned: with a record, and of the schedule; skipped, duplicates:
            that could not be looked at, and that have the weights of another.
        n_edges: of the whole graph.
        behaviour, …, score_error: at the last checkpoint; effect: of the deciding word;
            not_above_chance: which of value and effect isn't above 0 there.
        out_of_range, not_converged: at how many of the checkpoints with a circuit faithfulness is
            above 1.2 or below −0.2, and the scores had not converged at the bound on their steps.
        why_no_circuit: the reasons at the others, and at how many each.
        mean_…: over the checkpoints with a circuit; overlaps are with the checkpoint before,
            `_resampled` those of other prompts.
    """

    model: str
    task: str
    seed: int
    finished: bool
    checkpoints: int
    checkpoints_planned: int
    skipped: int
    duplicates: int
    last_tokens: float | None
    params_total: int | None
    params_non_embedding: int | None
    n_layers: int | None
    n_heads: int | None
    d_model: int | None
    architecture: str | None
    n_edges: int | None
    behaviour: float | None
    behaviour_low: float | None
    behaviour_high: float | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    not_above_chance: str | None
    accuracy: float | None
    circuit_status: str | None
    circuit_edges: float | None
    circuit_edges_share: float | None
    circuit_nodes: float | None
    circuit_nodes_share: float | None
    recovery: float | None
    faithfulness: float | None
    score_steps: float | None
    score_error: float | None
    checkpoints_with_circuit: int
    out_of_range: int
    not_converged: int
    largest_score_error: float | None
    why_no_circuit: str
    mean_edges: float | None
    mean_edges_share: float | None
    mean_nodes: float | None
    mean_node_jaccard: float | None
    mean_edge_jaccard: float | None
    mean_weighted_edge_jaccard: float | None
    mean_edge_jaccard_chance: float | None
    mean_edge_jaccard_resampled: float | None
    mean_edge_jaccard_resampled_ceiling: float | None
    mean_edge_jaccard_resampled_chance: float | None
    code_version: str | None
    folder: str


OF_MODEL = (
    *("params_total", "params_non_embedding", "n_layers", "n_heads", "d_model", "architecture"),
)
AT_END = {
    "last_tokens": "tokens",
    "behaviour": "behaviour/value",
    "behaviour_low": "behaviour/low",
    "behaviour_high": "behaviour/high",
    "effect": "behaviour/effect",
    "effect_low": "behaviour/effect_low",
    "effect_high": "behaviour/effect_high",
    "not_above_chance": "behaviour/not_above_chance",
    "accuracy": "behaviour/accuracy",
    "circuit_status": "circuit/status",
    "circuit_edges": "circuit/edges",
    "circuit_edges_share": "circuit/edges_share",
    "circuit_nodes": "circuit/nodes",
    "circuit_nodes_share": "circuit/nodes_share",
    "recovery": "circuit/recovery",
    "faithfulness": "circuit/faithfulness",
    "score_steps": "circuit/score_steps",
    "score_error": "circuit/score_error",
}
MEANS = {
    "mean_edges": "circuit/edges",
    "mean_edges_share": "circuit/edges_share",
    "mean_nodes": "circuit/nodes",
    "mean_node_jaccard": "overlap/node_jaccard",
    "mean_edge_jaccard": "overlap/edge_jaccard",
    "mean_weighted_edge_jaccard": "overlap/weighted_edge_jaccard",
    "mean_edge_jaccard_chance": "overlap/edge_jaccard_chance",
    "mean_edge_jaccard_resampled": "overlap/edge_jaccard_resampled",
    "mean_edge_jaccard_resampled_ceiling": "overlap/edge_jaccard_resampled_ceiling",
    "mean_edge_jaccard_resampled_chance": "overlap/edge_jaccard_resampled_chance",
}


def cells_table(cells: list[CellData]) -> Rows[CellRow]:
    """One row a cell, by model size, model, task and seed."""
    return Rows.of([_cell_row(cell) for cell in in_order(cells)])


def _cell_row(cell: CellData) -> CellRow:
    more: dict[str, Any] = {name: cell.header["model"].get(name) for name in OF_MODEL}
    more |= {name: cell.last(scalar) for name, scalar in AT_END.items()}
    more |= {name: _mean(cell.curve(scalar)) for name, scalar in MEANS.items()}
    return CellRow(
        model=cell.model,
        task=cell.task,
        seed=cell.seed,
        finished=cell.finished,
        checkpoints=len(cell.curves),
        checkpoints_planned=len(cell.header["schedule"]),
        skipped=cell.skipped,
        duplicates=int(is_duplicate(cell.curves).sum()),
        n_edges=cell.header.get("graph", {}).get("n_edges"),
        checkpoints_with_circuit=len(cell.curve("circuit/edges")),
        out_of_range=_count(cell.curve("circuit/out_of_range"), True),
        not_converged=_count(cell.curve("circuit/score_converged"), False),
        largest_score_error=_largest(cell.curve("circuit/score_error")),
        why_no_circuit=_why_no_circuit(cell.curve("circuit/status")),
        code_version=cell.header.get("code_version"),
        folder=str(cell.folder),
        **more,
    )


def _count(curve: pd.Series, value: bool) -> int:
    return sum(one is value for one in curve.tolist())


def _largest(curve: pd.Series) -> float | None:
    return float(curve.astype(float).max()) if len(curve) else None


def _why_no_circuit(status: pd.Series) -> str:
    """The reasons for which checkpoints have no circuit, commonest first, each with their
    number.
    """
    reasons = status[status != "found"].astype(str).str.removeprefix("none: ").value_counts()
    return "; ".join(f"{reason} ({count})" for reason, count in reasons.items())


def _mean(curve: pd.Series) -> float | None:
    return float(curve.astype(float).mean()) if len(curve) else None
