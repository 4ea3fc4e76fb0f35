"""A sweep's cells as they were read, and what several of them say together of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.facts import Facts
from circuitwatch.record_files import DUPLICATE_OF, Edges

NO_TASK = "-"
"""The task of what is a model's, whatever the task of the cell that recorded it."""
RECORDED_TASK = "recorded_task"
"""Where a header has its task's name in the files, if the summary gives it another (`variants`)."""


@dataclass(frozen=True)
class CellData:
    """One cell as read from disk.

    `curves` has one row a checkpoint (step, tokens, then the scalars), ascending; `prompts` step,
    tokens, prompt, value, correct, log_prob; `header` is what cell.json says; `skipped` counts
    checkpoints that could not be looked at; `roles` has step, tokens and the columns of the
    records' roles tables; `circuits` the edges [edge] of each step's circuit, as places in the
    flattened mask, ascending, `scores` their scores [edge] and `strengths` these without their
    sign; `resamples` the
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
    scores: dict[int, NDArray[np.float32]] = field(default_factory=dict)

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
    def recorded_task(self) -> str:
        """Name of the task in the files of the sweep."""
        return str(self.header.get(RECORDED_TASK, self.task))

    @property
    def seed(self) -> int:
        """Seed of the cell."""
        return int(self.header["seed"])

    @property
    def params(self) -> int:
        """Parameters of the model, embeddings included; 0 where the cell doesn't say."""
        return int(self.header["model"].get("params_total") or 0)

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
    (`tells`).
    """
    parts: dict[tuple[str, int], list[pd.DataFrame]] = {}
    tasks = tasks_by_model(cells)
    for cell in in_order(cells):
        names = [
            name
            for name in cell.curves
            if name == DUPLICATE_OF
            or (str(name).startswith("roles/") and tells(cell, str(name), tasks))
        ]
        parts.setdefault((cell.model, cell.seed), []).append(
            cell.curves[["step", "tokens", *names]]
        )
    return {
        key: pd.concat(tables, ignore_index=True).groupby("step", as_index=False).first()
        for key, tables in parts.items()
    }


def tasks_by_model(cells: Sequence[CellData]) -> dict[tuple[str, int], list[str]]:
    """Per (model, seed): the tasks of its cells, in the order of the cells."""
    tasks: dict[tuple[str, int], list[str]] = {}
    for cell in in_order(list(cells)):
        tasks.setdefault((cell.model, cell.seed), []).append(cell.task)
    return tasks


def tells(cell: CellData, quantity: str, tasks: Mapping[tuple[str, int], Sequence[str]]) -> bool:
    """Whether a role's curve is read from a cell, beside those of the same model and seed and of
    other `tasks`, as `tasks_by_model` gives them.

    Where curves are over the heads of circuits, which differ by task, a role's is read from one
    cell alone: of the first task in which the role can be confirmed, else of the first of all.
    """
    heads = cell.header.get("config", {}).get("heads") or {}
    if heads.get("curves") != "circuit" or not quantity.startswith("roles/"):
        return True
    own = tasks[cell.model, cell.seed]
    confirming = cell.facts.role(quantity.split("/")[1]).confirmed_on
    return cell.task == next((task for task in confirming if task in own), own[0])
