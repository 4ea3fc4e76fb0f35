"""Circuits of one checkpoint, or of one task, imposed on another: faithfulness as coloured squares.

0 is the corrupted behaviour, 1 the whole model's; below 0 is worse than corrupted. Over several
seeds each square is the median of those that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.facts import Facts
from circuitwatch.summary.heads.transfer import matrix, over_checkpoints
from circuitwatch.units import format_tokens


@dataclass(frozen=True)
class Matrix:
    """Faithfulness [row, column].

    Attributes:
        title: what it is of; task is empty where it is over tasks.
        rows, columns: their names; tokens: the token counts of the columns, of checkpoints.
        row_axis, column_axis: what they are.
        row_words, column_words: how one square is named: "circuit of …", "model at …".
        upwards: whether the first row stands at the bottom.
        numbers: whether the values are written into the squares.
        diagonal: the squares of a circuit on its own model.
        empty: why there is nothing.
    """

    model: str
    task: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    row_axis: str
    column_axis: str
    row_words: str
    column_words: str
    tokens: tuple[float, ...] = ()
    upwards: bool = False
    numbers: bool = False
    diagonal: tuple[tuple[int, int], ...] = ()
    empty: str = ""


def matrices(
    transfer: pd.DataFrame, specificity: pd.DataFrame, models: Sequence[str], facts: Facts
) -> list[list[Matrix]]:
    """A row a model: one matrix a task over checkpoints, then one over tasks. Every row has the
    same tasks; where a model has no circuits of one it says so.
    """
    if transfer.empty and specificity.empty:
        return []
    own = over_checkpoints(transfer) if len(transfer) else transfer
    tasks = sorted(own["task"].unique(), key=lambda task: (facts.task(task).place, task))
    found = []
    for model in models:
        of_model = own[own["model"] == model] if len(own) else own
        of_tasks = specificity[specificity["model"] == model] if len(specificity) else specificity
        if of_model.empty and of_tasks.empty:
            continue
        row = [
            _over_checkpoints(model, task, of_model[of_model["task"] == task], facts)
            for task in tasks
        ]
        row += [_over_tasks(model, of_tasks, facts)] if len(of_tasks) else []
        found.append(row)
    return found


def _over_checkpoints(model: str, task: str, rows: pd.DataFrame, facts: Facts) -> Matrix:
    title = f"{model}, {facts.task(task).words}"
    axes = ("circuit of (tokens)", "model at (tokens)", "circuit of", "model at")
    if rows.empty:
        none = np.empty((0, 0))
        return Matrix(model, task, title, (), (), none, *axes, empty="no circuit was found")
    table = matrix(rows).dropna(how="all").dropna(axis=1, how="all")
    diagonal = [
        (place, int(table.columns.get_loc(tokens)))
        for place, tokens in enumerate(table.index)
        if tokens in table.columns
    ]
    return Matrix(
        model,
        task,
        title,
        tuple(format_tokens(tokens) or "0" for tokens in table.index),
        tuple(format_tokens(tokens) or "0" for tokens in table.columns),
        table.to_numpy(dtype=float),
        *axes,
        tokens=tuple(float(tokens) for tokens in table.columns),
        upwards=True,
        diagonal=tuple(diagonal),
    )


def _over_tasks(model: str, rows: pd.DataFrame, facts: Facts) -> Matrix:
    last = bool(rows["last"].notna().any())
    table = rows.pivot_table(
        index="circuit_task",
        columns="task",
        values="last" if last else "mean",
        aggfunc="median",
        dropna=False,
    )
    order = sorted(table.index, key=lambda task: (facts.task(task).place, task))
    table = table.reindex(index=order, columns=[task for task in order if task in table.columns])
    when = f"at {format_tokens(rows['last_tokens'].max())}" if last else "mean over checkpoints"
    return Matrix(
        model,
        "",
        f"{model}, tasks, {when}",
        tuple(facts.task(task).words for task in table.index),
        tuple(facts.task(task).words for task in table.columns),
        table.to_numpy(dtype=float),
        "circuit of",
        "prompts of",
        "circuit of",
        "prompts of",
        numbers=True,
    )
