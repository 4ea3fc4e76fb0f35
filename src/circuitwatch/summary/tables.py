"""From a sweep's cells to tables: how cells ended and how seeds differ; what only cells add to the
tables of curves (`curve_tables`).

What is looked at, per model and task: the behaviour (half-rise), its accuracy (half-way between
chance and certainty), and whether there is a circuit. Head roles are properties of a model,
whatever the task whose cell recorded them, so they appear once a model, with `-` as task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.heads.checks import LOGITS as ON_LOGITS
from circuitwatch.heads.checks import teller
from circuitwatch.records import DUPLICATE_OF, Cell, Edges

CHANCE = 0.0
"""Behaviour at chance: every task's metric is 0 for a model that ignores the deciding word."""
ACCURACY_THRESHOLD = 0.75
CIRCUIT_THRESHOLD = 0.5
ROLE_THRESHOLD = 0.5
"""The score from which a role is held, where a cell's configuration doesn't say."""
NO_TASK = "-"
SIZES = ("circuit/nodes", "circuit/edges", "circuit/edges_share")
"""Measures of circuit size whose mean over the checkpoints with a circuit is compared across models
(the paper compares nodes).
"""


@dataclass(frozen=True)
class CellData:
    """One cell as read from disk.

    `curves` has one row a checkpoint (step, tokens, then the scalars), ascending; `prompts` step,
    tokens, prompt, value, correct, log_prob; `header` is what cell.json says; `skipped` counts
    checkpoints that could not be looked at; `roles` has step, tokens and the columns of the
    records' roles tables; `circuits` the edges [edge] of each step's circuit, as places in the
    flattened mask, ascending, and `strengths` their absolute scores [edge]; `resamples` the
    circuits of each step's resamples of the prompts, as records have them; `direct` every head's
    effect on the logits (step, sender, effect); `bands` the algorithm's shares over cut-offs (step,
    tokens and the columns of a record's bands).
    """

    folder: Path
    header: dict[str, Any]
    finished: bool
    curves: pd.DataFrame
    prompts: pd.DataFrame
    skipped: int = 0
    roles: pd.DataFrame = field(default_factory=pd.DataFrame)
    circuits: dict[int, NDArray[np.intp]] = field(default_factory=dict)
    strengths: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    resamples: dict[int, tuple[Edges | None, ...]] = field(default_factory=dict)
    direct: pd.DataFrame = field(default_factory=pd.DataFrame)
    bands: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def facts(self) -> Facts:
        """What the cell says of its task, roles and quantities."""
        return Facts.of_headers([self.header])

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.header["model"]["name"])

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.header["task"])

    @property
    def seed(self) -> int:
        """Seed of the cell."""
        return int(self.header["seed"])

    @property
    def params(self) -> int:
        """Parameters of the model, embeddings included."""
        return int(self.header["model"]["params_total"])

    def curve(self, name: str) -> pd.Series:
        """One scalar over the checkpoints that have it, indexed by tokens; checkpoints with the
        weights of another are left out.
        """
        if name not in self.curves:
            return pd.Series(dtype=float)
        return without_duplicates(self.curves).set_index("tokens")[name].dropna()

    def last(self, name: str) -> Any:
        """A scalar at the last checkpoint recorded; none if it isn't there."""
        if self.curves.empty or name not in self.curves:
            return None
        value = self.curves[name].iloc[-1]
        return None if pd.isna(value) else value


def read_cell(cell: Cell, notes: list[str] | None = None) -> CellData:
    """Read a cell, reading each record once; damaged ones are left out, and named in `notes`."""
    rows, prompts, roles, circuits, strengths, resamples = [], [], [], {}, {}, {}
    direct, bands = [], []
    for step in cell.steps_done():
        try:
            record = cell.read(step)
        except UserError as error:
            if notes is not None:
                notes.append(f"left out: {error}")
            continue
        rows.append({"step": record.step, "tokens": record.tokens, **record.scalars})
        prompts.append(record.prompts.assign(step=record.step, tokens=record.tokens))
        if len(record.roles):
            roles.append(record.roles.assign(step=record.step, tokens=record.tokens))
        if record.patching is not None:
            on_logits = record.patching[record.patching["receivers"] == ON_LOGITS]
            direct.append(on_logits[["sender", "effect"]].assign(step=record.step))
        if record.bands is not None:
            bands.append(record.bands.assign(step=record.step, tokens=record.tokens))
        if record.mask is not None:
            circuits[record.step] = np.flatnonzero(record.mask)
            if record.scores is not None:
                strengths[record.step] = np.abs(record.scores[record.mask]).astype(np.float32)
        if record.resamples:
            resamples[record.step] = record.resamples
    try:
        finished, skipped = cell.is_done(), len(cell.skipped())
    except UserError as error:
        finished, skipped = False, 0
        if notes is not None:
            notes.append(f"not known whether it is finished: {error}")
    return CellData(
        cell.folder,
        cell.header,
        finished,
        pd.DataFrame(rows, columns=None if rows else ["step", "tokens"]),
        pd.concat(prompts, ignore_index=True)
        if prompts
        else pd.DataFrame(columns=["step", "tokens", "prompt"]),
        skipped,
        pd.concat(roles, ignore_index=True) if roles else pd.DataFrame(),
        circuits,
        strengths,
        resamples,
        pd.concat(direct, ignore_index=True) if direct else pd.DataFrame(),
        pd.concat(bands, ignore_index=True) if bands else pd.DataFrame(),
    )


def is_duplicate(curves: pd.DataFrame) -> pd.Series:
    """Which rows are of checkpoints that have the weights of another."""
    if DUPLICATE_OF not in curves:
        return pd.Series(False, index=curves.index)
    return curves[DUPLICATE_OF].notna()


def without_duplicates(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows whose weights are their own: what a wrongly published revision does says nothing
    about its step.
    """
    return curves[~is_duplicate(curves)]


def in_order(cells: list[CellData]) -> list[CellData]:
    """Cells by model size, model, task and seed."""
    return sorted(cells, key=lambda cell: (cell.params, cell.model, cell.task, cell.seed))


def models_in_order(cells: list[CellData]) -> list[str]:
    """Names of the models, smallest first."""
    return list(dict.fromkeys(cell.model for cell in in_order(cells)))


def role_curves(cells: list[CellData]) -> dict[tuple[str, int], pd.DataFrame]:
    """Per (model, seed): step, tokens and the `roles/…` scalars of every checkpoint that any of its
    cells recorded.

    Some roles are measured in some tasks' cells only, so each scalar is the first that any cell
    has; but where the curves are over the heads of circuits, all of a role's are from one cell
    (`heads.checks.teller`).
    """
    parts: dict[tuple[str, int], list[pd.DataFrame]] = {}
    tasks: dict[tuple[str, int], list[str]] = {}
    for cell in in_order(cells):
        tasks.setdefault((cell.model, cell.seed), []).append(cell.task)
    for cell in in_order(cells):
        names = [
            name
            for name in cell.curves
            if name == DUPLICATE_OF
            or (
                str(name).startswith("roles/")
                and tells(cell.header, str(name), tasks[cell.model, cell.seed])
            )
        ]
        parts.setdefault((cell.model, cell.seed), []).append(
            cell.curves[["step", "tokens", *names]]
        )
    return {
        key: pd.concat(tables, ignore_index=True).groupby("step", as_index=False).first()
        for key, tables in parts.items()
    }


def tells(header: Mapping[str, Any], quantity: str, tasks: Sequence[str]) -> bool:
    """Whether a cell is one that a role's curve is read from, beside cells of the same model and
    seed and other tasks.
    """
    heads = header.get("config", {}).get("heads") or {}
    return heads.get("curves") != "circuit" or header["task"] == teller(
        quantity.split("/")[1], tasks
    )


def role_threshold(cells: list[CellData], role: str) -> float:
    """The score from which a role is held, as the cells' configuration says (the first that does);
    ROLE_THRESHOLD if none does.
    """
    for cell in cells:
        thresholds = (cell.header.get("config", {}).get("heads") or {}).get("thresholds") or {}
        if role in thresholds:
            return float(thresholds[role])
    return ROLE_THRESHOLD


def role_names(curves: pd.DataFrame) -> list[str]:
    """The roles that a table of curves has."""
    return [
        str(name).split("/")[1]
        for name in curves
        if str(name).startswith("roles/") and str(name).endswith("/max")
    ]


def behaviours_first(emergence: pd.DataFrame) -> pd.DataFrame:
    """The rows by model, and of each the tasks before the head roles, and of each task the
    behaviour first.
    """
    if emergence.empty:
        return emergence
    models = {model: place for place, model in enumerate(emergence["model"].unique())}
    order = pd.DataFrame(
        {
            "model": emergence["model"].map(models),
            "role": emergence["task"] == NO_TASK,
            "task": emergence["task"],
            "other": emergence["quantity"] != "behaviour/value",
        }
    )
    return emergence.loc[order.sort_values(list(order), kind="stable").index].reset_index(drop=True)


def with_cells(emergence: pd.DataFrame, cells: list[CellData]) -> pd.DataFrame:
    """The emergence table with what only cells tell: head (that holds a role at the last
    checkpoint), params_non_embedding, and whether a cell is finished.

    A role's curve is finished where any of its model's cells is. Rows of other sources keep what
    they have.
    """
    if emergence.empty:
        return emergence
    curves = role_curves(cells)
    heads: list[str | None] = []
    finished: list[bool] = []
    smaller: list[float | None] = []
    for row in emergence.itertuples(index=False):
        of_model = [cell for cell in cells if (cell.model, cell.seed) == (row.model, row.seed)]
        own = [cell for cell in of_model if row.task in (cell.task, NO_TASK)]
        finished.append(any(cell.finished for cell in own) if own else bool(row.finished))
        smaller.append(own[0].header["model"].get("params_non_embedding") if own else None)
        name = f"{row.quantity.removesuffix('/max')}/head"
        table = without_duplicates(curves[row.model, row.seed]) if of_model else pd.DataFrame()
        head = (
            table[name].iloc[-1] if row.task == NO_TASK and name in table and len(table) else None
        )
        heads.append(None if pd.isna(head) else head)
    return emergence.assign(head=heads, params_non_embedding=smaller, finished=finished)


def cells_table(cells: list[CellData]) -> pd.DataFrame:
    """One row a cell: how it ended, and the means over its checkpoints that have a circuit.

    Columns: model, task, seed, finished, checkpoints, checkpoints_planned, skipped, duplicates,
    last_tokens, params_total, params_non_embedding, n_layers, n_heads, d_model, architecture,
    n_edges (of the whole graph); behaviour, behaviour_low, behaviour_high, accuracy,
    circuit_status, circuit_edges, circuit_edges_share, circuit_nodes, circuit_nodes_share,
    recovery, faithfulness, score_steps, score_error at the last checkpoint;
    checkpoints_with_circuit; out_of_range, not_converged (at how many of these faithfulness is
    above 1.2 or below −0.2, and at how many the scores had not converged at the bound on their
    steps); largest_score_error; why_no_circuit (the reasons at the others, and at how many each);
    effect, effect_low, effect_high (of the deciding word, at the last checkpoint), not_above_chance
    (which of value and effect isn't above 0 there); mean_edges, mean_edges_share, mean_nodes,
    mean_node_jaccard, mean_edge_jaccard, mean_weighted_edge_jaccard, mean_edge_jaccard_chance;
    mean_edge_jaccard_resampled, mean_edge_jaccard_resampled_ceiling,
    mean_edge_jaccard_resampled_chance (other prompts at the checkpoint before); code_version,
    folder.
    """
    rows = []
    for cell in in_order(cells):
        header = cell.header["model"]
        facts = (
            "params_total",
            "params_non_embedding",
            "n_layers",
            "n_heads",
            "d_model",
            "architecture",
        )
        at_end = {
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
        means = {
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
        rows.append(
            {
                "model": cell.model,
                "task": cell.task,
                "seed": cell.seed,
                "finished": cell.finished,
                "checkpoints": len(cell.curves),
                "checkpoints_planned": len(cell.header["schedule"]),
                "skipped": cell.skipped,
                "duplicates": int(is_duplicate(cell.curves).sum()),
                "last_tokens": cell.last("tokens"),
            }
            | {name: header.get(name) for name in facts}
            | {"n_edges": cell.header.get("graph", {}).get("n_edges")}
            | {column: cell.last(name) for column, name in at_end.items()}
            | {"checkpoints_with_circuit": len(cell.curve("circuit/edges"))}
            | {"out_of_range": int((cell.curve("circuit/out_of_range") == True).sum())}  # noqa: E712
            | {"not_converged": int((cell.curve("circuit/score_converged") == False).sum())}  # noqa: E712
            | {"largest_score_error": _largest(cell.curve("circuit/score_error"))}
            | {"why_no_circuit": _why_no_circuit(cell.curve("circuit/status"))}
            | {column: _mean(cell.curve(name)) for column, name in means.items()}
            | {"code_version": cell.header.get("code_version"), "folder": str(cell.folder)}
        )
    return pd.DataFrame(rows)


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
