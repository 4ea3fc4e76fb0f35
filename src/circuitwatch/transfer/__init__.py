"""Transfer and specificity: a circuit imposed on another checkpoint of its model, and on another
task's prompts.

Beyond Tigges et al. (arXiv 2407.10827). Two checkpoints' circuits may share few edges because the
algorithm changed, or because other heads took over the same places in it. Imposing one checkpoint's
circuit on the model at the other tells: what it keeps there is the share of the behaviour that
still runs through the old edges. Imposed on another task's prompts at its own checkpoint, the
circuit shows how much of it is the task's own.

    <sweep>/<model>/transfer/seed<k>/step000128.parquet    one file a checkpoint of the model

with COLUMNS: the circuit found for `circuit_task` at `circuit_step` imposed on the model at
`model_step`, evaluated on `task`'s prompts. Where circuit_task is task that is transfer, over all
pairs of checkpoints; where it is another one, specificity, at circuit_step = model_step alone. A
task whose behaviour is not above chance at `model_step` has no rows there, since there is nothing
to keep. A file is there whole or not at all, and says by a hash what it was made from: another run
makes what is missing and what the records have left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_CHECKPOINTS, require_whole
from circuitwatch.locks import hold
from circuitwatch.progress import STYLE, wide_console
from circuitwatch.records import Cell, find_cells
from circuitwatch.transfer.imposing import impose
from circuitwatch.transfer.planning import ModelPlan, plan_model
from circuitwatch.transfer_files import is_made, read
from circuitwatch.units import counted


def transfer(sweep: Path, *, checkpoints: int = 12) -> pd.DataFrame:
    """Impose the circuits of a sweep's cells on at most so many checkpoints of each model, print
    what they keep, and return the rows of all files.

    Columns model, seed, then COLUMNS. A checkpoint that is missing or damaged is skipped and
    reported. Raises UserError where there is nothing to impose, and after all is done where a
    checkpoint could not be fetched.
    """
    require_whole(checkpoints, "checkpoints", 2, MOST_CHECKPOINTS)
    cells = find_cells(sweep)
    if not cells:
        raise UserError(f"{sweep}: no cell in it; run circuitwatch sweep={sweep.name} first")
    with hold(sweep / ".transfer.lock", f"{sweep}: circuits are being transferred"):
        return _transfer(sweep, cells, checkpoints)


def _transfer(sweep: Path, cells: Sequence[Cell], checkpoints: int) -> pd.DataFrame:
    by_model: dict[tuple[Path, int], list[Cell]] = {}
    for cell in cells:
        by_model.setdefault((cell.folder.parents[1], cell.header["seed"]), []).append(cell)
    plans = [plan_model(of_model, checkpoints) for of_model in by_model.values()]
    if not any(plan.checkpoints for plan in plans):
        raise UserError(
            f"{sweep}: none of its {len(cells)} cells has a circuit at any checkpoint, so "
            f"there is none to impose"
        )
    notes = [
        f"{c.folder}: not finished, used as far as it is ({len(c.steps_done())} of "
        f"{len(c.header['schedule'])} checkpoints)"
        for c in cells
        if not c.is_done()
    ]
    again: list[str] = []
    tables = []
    for plan in plans:
        if not plan.checkpoints:
            notes.append(f"{plan.title}: no circuit at any checkpoint, left out")
            continue
        skipped = impose(plan)
        notes += skipped.for_good
        again += skipped.for_now
        tables += _tables(plan)
    console = wide_console()
    if tables:
        console.print(summary_table(pd.concat(tables, ignore_index=True)))
    for note in notes + again:
        console.print(note, highlight=False, soft_wrap=True)
    if again:
        raise UserError(
            f"{sweep}: {counted(len(again), 'checkpoint')} could not be fetched; the others "
            f"are there, and the same command tries again"
        )
    if not tables:
        raise UserError(f"{sweep}: none of the checkpoints that have a circuit could be looked at")
    console.print(f"written to {sweep}/*/transfer", highlight=False, soft_wrap=True)
    return pd.concat(tables, ignore_index=True)


def summary_table(table: pd.DataFrame) -> Table:
    """Mean faithfulness by model, seed and task, from rows as `transfer` returns them.

    Own checkpoint: the circuit on the model it was found in; other checkpoints: all other pairs.
    Other tasks: their circuits on this task's prompts, beside the task's own circuits at the same
    checkpoints.
    """
    caption = "mean faithfulness of circuits imposed on the model, by where they were found"
    shown = Table(title="transfer and specificity", caption=caption, **STYLE)
    for name in (
        "model",
        "seed",
        "task",
        "checkpoints",
        "own checkpoint",
        "other checkpoints",
        "other tasks",
        "own, beside those",
    ):
        shown.add_column(
            name, justify="left" if name in ("model", "task") else "right", no_wrap=True
        )
    for (model, seed, task), rows in table.groupby(["model", "seed", "task"]):
        own_task, at_home = rows["circuit_task"] == task, rows["circuit_step"] == rows["model_step"]
        both = rows["model_step"].isin(rows.loc[own_task & at_home, "model_step"])
        both &= rows["model_step"].isin(rows.loc[~own_task, "model_step"])
        parts = [
            own_task & at_home,
            own_task & ~at_home,
            ~own_task & both,
            own_task & at_home & both,
        ]
        means = [rows.loc[part, "faithfulness"].mean() for part in parts]
        numbers = ["–" if pd.isna(mean) else f"{mean:.2f}" for mean in means]
        shown.add_row(str(model), str(seed), str(task), str(rows["model_step"].nunique()), *numbers)
    return shown


def _tables(plan: ModelPlan) -> list[pd.DataFrame]:
    """The rows of each file of a model, with which model it is."""
    tables = []
    for checkpoint in plan.checkpoints:
        path = plan.path(checkpoint)
        if is_made(path, plan.made_from(checkpoint)):
            table = read(path)
            table.insert(0, "model", plan.config.model.name)
            table.insert(1, "seed", plan.config.seed)
            tables.append(table)
    return tables
