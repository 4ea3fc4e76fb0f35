"""Circuits of one checkpoint imposed on the model at another, and circuits of one task on another's
prompts.

What the matrix of faithfulness, circuit's checkpoint × model's checkpoint, tells beside the Jaccard
index of the circuits' edges (how alike they look):

- high off the diagonal, high Jaccard: the same circuit all along;
- high off the diagonal, low Jaccard: the circuits are interchangeable: other edges were chosen, but
  the old ones still do it;
- low for earlier circuits on later models, while the behaviour is there: the old parts no longer do
  it;
- low for later circuits on earlier models: the parts were not yet there.

Low transfer alone can't tell a changed algorithm from an old one with new heads. Where the roles
were handed over (`turnover`) and B, C and D stay (`algorithm`), the heads were renamed; where B, C
and D move as well, the algorithm changed. A larger circuit transfers more easily, for whatever
reason, so sizes stand beside. Following the question of Tigges et al. (2407.10827, sections 4 and
5); they compare circuits only by their edges.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.circuits.overlap import jaccard_of_sizes
from circuitwatch.errors import UserError
from circuitwatch.summary.cells import CellData, in_order, is_duplicate
from circuitwatch.transfer_files import COLUMNS as TYPES
from circuitwatch.transfer_files import read

COLUMNS = list(TYPES)
TRANSFER_SPREAD = ["own", "earlier_on_later", "later_on_earlier", "edge_jaccard"]
SPECIFICITY_SPREAD = ["last", "mean"]
"""The numbers of the two tables whose spread over seeds is given."""


def read_transfer(
    sweep: Path, cells: list[CellData], notes: list[str] | None = None
) -> pd.DataFrame:
    """All transfer files of a sweep's models, by step: model, seed, then the files' columns;
    without checkpoints that have the weights of another. Tasks have the names that `cells` give
    them, as the variant of a task has another name in the files.

    Only models and seeds that `cells` have, in their order. Empty, with the columns, where there is
    no file. One that is damaged is left out, with a line in `notes`.
    """
    parts = []
    for model, seed in dict.fromkeys((cell.model, cell.seed) for cell in in_order(cells)):
        own = [cell for cell in cells if (cell.model, cell.seed) == (model, seed)]
        copies = {
            step for cell in own for step in cell.curves.loc[is_duplicate(cell.curves), "step"]
        }
        shown = {cell.recorded_task: cell.task for cell in own}
        for path in sorted(
            (sweep / model / "transfer" / f"seed{seed}").glob("step*.parquet"), key=_step
        ):
            try:
                table = read(path)
            except UserError as error:
                if notes is not None:
                    notes.append(f"left out: {error}")
                continue
            table = table[~table["model_step"].isin(copies) & ~table["circuit_step"].isin(copies)]
            if len(table):
                names = {name: table[name].replace(shown) for name in ("task", "circuit_task")}
                parts.append(table[COLUMNS].assign(model=model, seed=seed, **names))
    if not parts:
        return pd.DataFrame(columns=["model", "seed", *COLUMNS])
    return pd.concat(parts, ignore_index=True)[["model", "seed", *COLUMNS]]


def _step(path: Path) -> tuple[int, str]:
    """Where a file comes among the others; those that are called otherwise last."""
    step = path.stem.removeprefix("step")
    return int(step) if step.isdecimal() and len(step) < 19 else 2**63, step


def over_checkpoints(transfer: pd.DataFrame) -> pd.DataFrame:
    """The rows whose circuit is the task's own."""
    return transfer[transfer["task"] == transfer["circuit_task"]]


def across_tasks(transfer: pd.DataFrame) -> pd.DataFrame:
    """The rows whose circuit is of the checkpoint that it is imposed on: all tasks' circuits on all
    tasks' prompts.
    """
    return transfer[transfer["circuit_step"] == transfer["model_step"]]


def matrix(transfer: pd.DataFrame) -> pd.DataFrame:
    """Faithfulness [circuit_tokens, model_tokens] of one model and task, over seeds their median;
    missing where it wasn't evaluated.
    """
    return (
        over_checkpoints(transfer)
        .pivot_table(
            index="circuit_tokens",
            columns="model_tokens",
            values="faithfulness",
            aggfunc="median",
            dropna=False,
        )
        .astype(float)
    )


def transfer_table(transfer: pd.DataFrame, cells: list[CellData]) -> pd.DataFrame:
    """One row a (model, seed, task), over the checkpoints that have a circuit.

    Columns: model, seed, task, circuits (how many checkpoints have one); own (mean faithfulness on
    the diagonal), earlier_on_later, later_on_earlier (means of earlier circuits on later models and
    the other way round), earlier_on_later_median, later_on_earlier_median (a mean is easily carried
    away by one checkpoint whose behaviour hardly differs from the corrupted one); edge_jaccard
    (mean over pairs of different checkpoints with a circuit; missing where records have no masks),
    edges (mean size of the circuits).
    """
    rows = []
    for (model, seed, task), group in over_checkpoints(transfer).groupby(
        ["model", "seed", "task"], sort=False
    ):
        cell = next((c for c in cells if (c.model, c.seed, c.task) == (model, seed, task)), None)
        steps = set(group["circuit_step"])
        among = group[group["model_step"].isin(steps)]
        sizes = among["model_step"] - among["circuit_step"]
        row: dict[str, Any] = {"model": model, "seed": seed, "task": task, "circuits": len(steps)}
        row["own"] = _mean(among.loc[sizes == 0, "faithfulness"])
        apart = {
            "earlier_on_later": among.loc[sizes > 0, "faithfulness"],
            "later_on_earlier": among.loc[sizes < 0, "faithfulness"],
        }
        row |= {name: _mean(values) for name, values in apart.items()}
        row |= {
            f"{name}_median": float(v) if pd.notna(v := values.median()) else None
            for name, values in apart.items()
        }
        row["edge_jaccard"] = mean_jaccard(cell, steps) if cell else None
        row["edges"] = float(among.drop_duplicates("circuit_step")["edges"].mean())
        rows.append(row)
    return pd.DataFrame(rows)


def mean_jaccard(cell: CellData, steps: set[int]) -> float | None:
    """Mean Jaccard index of the edges of every two of a cell's circuits at these steps; none for
    fewer than two.
    """
    circuits = [cell.circuits[step] for step in sorted(steps) if step in cell.circuits]
    values = [
        jaccard_of_sizes(np.intersect1d(a, b, assume_unique=True).size, a.size, b.size)
        for a, b in combinations(circuits, 2)
    ]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def specificity_table(transfer: pd.DataFrame) -> pd.DataFrame:
    """One row a (model, seed, task whose prompts, task whose circuit), each circuit on the
    checkpoint that it is of.

    Columns: model, seed, task, circuit_task; last, last_tokens (faithfulness at the last checkpoint
    at which every task that ever has a circuit has one; missing if there is none); mean,
    checkpoints (over all checkpoints at which that circuit is there). A circuit is specific where
    it does its own task and no other's.
    """
    rows = []
    for (model, seed), group in across_tasks(transfer).groupby(["model", "seed"], sort=False):
        known = group.dropna(subset=["faithfulness"])
        tasks = known["circuit_task"].nunique()
        complete = known.groupby("model_step")["circuit_task"].nunique()
        common = complete.index[complete == tasks].max() if (complete == tasks).any() else None
        for (task, circuit_task), pair in known.groupby(["task", "circuit_task"]):
            last = pair[pair["model_step"] == common]
            rows.append(
                {
                    "model": model,
                    "seed": seed,
                    "task": task,
                    "circuit_task": circuit_task,
                    "last": float(last["faithfulness"].iloc[0]) if len(last) else None,
                    "last_tokens": int(last["model_tokens"].iloc[0]) if len(last) else None,
                    "mean": float(pair["faithfulness"].mean()),
                    "checkpoints": len(pair),
                }
            )
    return pd.DataFrame(rows)


def _mean(values: pd.Series) -> float | None:
    known = values.astype(float).dropna()
    return float(known.mean()) if len(known) else None
