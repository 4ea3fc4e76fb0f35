"""Cells of a sweep (`records`): every scalar over the checkpoints.

Of a record only `scalars.json` is read, and `prompts.parquet` if it is asked for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.records import DUPLICATE_OF, Cell
from circuitwatch.summary.curves import (
    COLUMNS,
    NORMAL_95,
    BehaviourKey,
    CurveKey,
    Curves,
    empty_table,
)
from circuitwatch.summary.tables import NO_TASK, tells

PER_PROMPT = {
    "behaviour/value": "value",
    "behaviour/accuracy": "correct",
    "behaviour/effect": "effect",
}
"""Quantities that are means over prompts, and their columns in prompts.parquet (`effect` is that of
`value` minus that of `corrupted`).
"""
ABOVE_CHANCE, NOT_ABOVE = "behaviour/above_chance", "behaviour/not_above_chance"
BOUNDS = ("low", "high")
PLACES = ("cell.json", "seed*/cell.json", "*/seed*/cell.json", "*/*/seed*/cell.json")


def has_cells(folder: Path) -> bool:
    """Whether a folder is a sweep's, a model's or a task's in it, or one cell's."""
    return any(True for pattern in PLACES for _ in folder.glob(pattern))


def find_cells_below(folder: Path) -> tuple[list[Cell], list[str]]:
    """The cells of such a folder, by path, and notes on those that can't be opened."""
    cells, notes = [], []
    for path in (path for pattern in PLACES for path in sorted(folder.glob(pattern))):
        try:
            cells.append(Cell.open(path.parent))
        except UserError as error:
            notes.append(f"left out: {error}")
    return cells, notes


def read_cells(cells: Sequence[Cell], *, prompts: bool = False) -> Curves:
    """Curves of cells: every number among their scalars, `circuit/found` (0 or 1), and with
    `prompts` the values per prompt.

    Standard errors come from the scalars' 95 % intervals. Checkpoints with the weights of another
    are left out. What can't be read costs its checkpoint, with a note.
    """
    tables: list[pd.DataFrame] = []
    notes: list[str] = []
    thresholds: dict[str, float] = {}
    by_prompt: dict[CurveKey, pd.DataFrame] = {}
    not_above: dict[BehaviourKey, dict[float, str]] = {}
    tasks: dict[tuple[str, int], list[str]] = {}
    for cell in cells:
        tasks.setdefault((str(cell.header["model"]["name"]), int(cell.header["seed"])), []).append(
            cell.header["task"]
        )
    for cell in sorted(
        cells, key=lambda c: (c.header["model"].get("params_total") or 0, str(c.folder))
    ):
        key = (
            str(cell.header["model"]["name"]),
            str(cell.header["task"]),
            int(cell.header["seed"]),
        )
        rows: list[dict[str, Any]] = []
        answers: dict[int, pd.DataFrame] = {}
        duplicates = 0
        for step in cell.steps_done():
            try:
                record = json.loads(cell.contents(step, "scalars.json")["scalars.json"])
                if DUPLICATE_OF in record["scalars"]:
                    duplicates += 1
                    continue
                rows += _rows(cell, record, tasks[key[0], key[2]])
                if (why := what_is_not_above(record["scalars"])) is not None:
                    not_above.setdefault(key, {})[float(record["tokens"])] = why
                if prompts:
                    content = cell.contents(step, "prompts.parquet")["prompts.parquet"]
                    read = pd.read_parquet(
                        io.BytesIO(content), columns=["prompt", "value", "corrupted", "correct"]
                    )
                    answers[record["tokens"]] = read.assign(
                        effect=read["value"] - read["corrupted"]
                    )
            except UserError as error:
                notes.append(f"left out: {error}")
        about_cell = (
            f"{cell.header['model']['name']} {cell.header['task']} seed{cell.header['seed']}"
        )
        if duplicates:
            notes.append(
                f"{about_cell}: {duplicates} checkpoints have the weights of another: left out"
            )
        if not rows:
            notes.append(f"{about_cell}: no record that could be used")
            continue
        tables.append(pd.DataFrame(rows))
        by_prompt |= _by_prompt(cell, answers)
        heads = (cell.header["config"].get("heads") or {}).get("thresholds") or {}
        thresholds |= {
            f"roles/{role}/max": float(level) for role, level in heads.items() if level is not None
        }
    if not tables:
        return Curves(empty_table(), notes)
    table = pd.concat(tables, ignore_index=True)
    # Several cells of a model record the same heads: the first is as good as the others, and no
    # second opinion.
    of_model = table["task"] == NO_TASK
    repeated = of_model & table.duplicated(["model", "seed", "task", "quantity", "tokens"])
    table = table[~repeated].reset_index(drop=True)
    texts = dict.fromkeys(("model", "task", "quantity", "source"), "str")
    numbers = dict.fromkeys(("params", "tokens", "step", "value", "stderr"), "float64")
    return Curves(
        table[list(COLUMNS)].astype(texts | numbers | {"seed": "int64"}),
        notes,
        by_prompt,
        thresholds,
        not_above,
        Facts.of_headers([cell.header for cell in cells]),
    )


def what_is_not_above(scalars: Mapping[str, Any]) -> str | None:
    """What of a behaviour is not above chance at a checkpoint, empty where it is; none where its
    scalars don't say.
    """
    above = scalars.get(ABOVE_CHANCE)
    if not isinstance(above, bool):
        return None
    return "" if above else str(scalars.get(NOT_ABOVE) or "value or effect")


def _rows(cell: Cell, record: dict[str, Any], tasks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row a number of a record; tasks: of all cells of the model and seed."""
    scalars = record["scalars"]
    header = cell.header
    shared = {
        "model": str(header["model"]["name"]),
        "params": header["model"].get("params_total"),
        "tokens": record["tokens"],
        "step": record["step"],
        "seed": int(header["seed"]),
        "source": cell.folder.resolve().parents[2].name,
    }
    numbers = {
        name: value
        for name, value in scalars.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if "circuit/status" in scalars:
        numbers["circuit/found"] = float(scalars["circuit/status"] == "found")
    for name, value in numbers.items():
        group, _, last = name.rpartition("/")
        if last in BOUNDS or last.endswith(tuple(f"_{bound}" for bound in BOUNDS)):
            continue
        prefix = f"{group}/" if last == "value" else f"{name}_"
        low, high = (numbers.get(prefix + bound) for bound in BOUNDS)
        error = None if low is None or high is None else (high - low) / (2 * NORMAL_95)
        of_role = name.startswith("roles/")
        if of_role and not tells(header, name, tasks):
            continue
        task = NO_TASK if of_role else str(header["task"])
        yield shared | {"task": task, "quantity": name, "value": float(value), "stderr": error}


def _by_prompt(cell: Cell, answers: dict[int, pd.DataFrame]) -> dict[CurveKey, pd.DataFrame]:
    """Values per prompt [checkpoint × prompt]; none unless every checkpoint has the same
    prompts.
    """
    if not answers:
        return {}
    stacked = pd.concat(
        [table.assign(tokens=tokens) for tokens, table in answers.items()], ignore_index=True
    )
    by_quantity: dict[CurveKey, pd.DataFrame] = {}
    for quantity, column in PER_PROMPT.items():
        wide = stacked.pivot(index="tokens", columns="prompt", values=column).astype(float)
        if not wide.isna().to_numpy().any():
            by_quantity[
                str(cell.header["model"]["name"]),
                str(cell.header["task"]),
                quantity,
                int(cell.header["seed"]),
            ] = wide
    return by_quantity
