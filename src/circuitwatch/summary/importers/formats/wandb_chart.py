"""A chart downloaded from W&B as CSV: the x-axis in the first column, and for each run three
columns, `run - metric`, `run - metric__MIN` and `run - metric__MAX`.

Runs become models. MIN and MAX are those of the points that the chart put into one, or of the runs
of a group, and no curves. Recognised by a column with ` - ` that has both beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers.entries import to_numbers
from circuitwatch.summary.importers.format import RUN, Asked, File, Format, finish
from circuitwatch.summary.importers.formats.wide import STEPS, TOKENS
from circuitwatch.summary.importers.tables import read_columns
from circuitwatch.summary.importers.tidy import ALIASES, few

BETWEEN = " - "
ENDS = ("__MIN", "__MAX")


def _lines(columns: Sequence[str]) -> list[str]:
    """The columns that are curves."""
    there = set(columns)
    return [
        name for name in columns if BETWEEN in name and all(f"{name}{end}" in there for end in ENDS)
    ]


def _axis(path: Path, name: str, asked: Asked) -> str:
    """Whether the x-axis is steps or tokens."""
    for ours, more in (("step", STEPS), ("tokens", TOKENS)):
        if name == asked.columns.get(ours) or name.strip().lower() in (*ALIASES[ours], *more):
            return ours
    raise UserError(
        f"{path}: its x-axis is {name}, neither steps nor tokens; download the chart over Step, or "
        f"say which of both it is, such as columns=tokens:{name}"
    )


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    path, columns = files[0].path, files[0].columns
    lines = _lines(columns)
    axis = _axis(path, columns[0], asked)
    table, notes = read_columns(path, [columns[0], *lines])
    x, odd = to_numbers(table[columns[0]])
    notes += [f"{columns[0]}: {text}" for text in odd]
    parts = []
    for name in lines:
        run, _, metric = name.rpartition(BETWEEN)
        values, odd = to_numbers(table[name])
        notes += [f"{name}: {text}" for text in odd]
        there = ~np.isnan(values.to_numpy(dtype=float))
        parts.append(
            pd.DataFrame(
                {"model": run.strip(), "quantity": metric.strip(), axis: x, "value": values}
            )[there]
        )
    rows = pd.concat(parts, ignore_index=True).assign(task=RUN)
    if rows.empty:
        raise UserError(f"{path}: a chart of W&B without any value in {few(lines)}")
    known = {columns[0], *lines, *(f"{name}{end}" for name in lines for end in ENDS)}
    if ignored := [name for name in columns if name not in known]:
        notes.append(f"columns not used: {few(ignored)}")
    return finish(rows, source=path.name, asked=asked, notes=notes, from_path=("task",))


FORMAT = Format(
    "wandb-chart",
    "a chart of W&B as CSV (`run - metric`, with `__MIN` and `__MAX`)",
    (),
    lambda file, given: bool(_lines(file.columns)),
    _read,
    takes_columns=True,
)
