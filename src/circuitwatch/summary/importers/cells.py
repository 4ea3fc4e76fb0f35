"""Cells of a sweep (`records`): each record is read once, into `CellData`, and the curves are made
from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.heads.checks import LOGITS
from circuitwatch.record_files import Unpacked, circuit_found
from circuitwatch.records import Cell, cell_folders, open_cells
from circuitwatch.soundness import others_kinds
from circuitwatch.summary.cells import (
    NO_TASK,
    CellData,
    in_order,
    is_duplicate,
    tasks_by_model,
    tells,
    without_duplicates,
)
from circuitwatch.summary.curves import (
    COLUMNS,
    NORMAL_95,
    BehaviourKey,
    CurveKey,
    Curves,
    empty_table,
)
from circuitwatch.summary.overlaps import with_final
from circuitwatch.units import counted

PER_PROMPT = {
    "behaviour/value": "value",
    "behaviour/accuracy": "correct",
    "behaviour/effect": "effect",
}
"""Quantities that are means over prompts, and their columns in prompts.parquet (`effect` is that of
`value` minus that of `corrupted`).
"""
ABOVE_CHANCE, NOT_ABOVE = "behaviour/above_chance", "behaviour/not_above_chance"
ANEW = "delete it and run the same command again to make it anew"


def has_cells(folder: Path) -> bool:
    """Whether a folder is a sweep's, a model's or a task's in it, or one cell's."""
    return bool(_folders(folder))


def find_cells_below(folder: Path) -> tuple[list[Cell], list[str]]:
    """The cells of such a folder, by path, and notes on those that can't be opened."""
    cells, failures = open_cells(_folders(folder))
    return cells, [f"left out: {failure}" for failure in failures]


def _folders(folder: Path) -> list[Path]:
    return [cell for depth in range(4) for cell in cell_folders(folder, depth)]


def read_cells(cells: Sequence[Cell]) -> tuple[list[CellData], list[str]]:
    """Cells by model size, model, task and seed, and notes on records that are damaged."""
    notes: list[str] = []
    every: list[CellData] = []
    for cell in cells:
        data = read_cell(cell, notes)
        if len(data.curves):
            every.append(data)
        else:
            done = cell.steps_done()
            why = "no record that could be used" if done else "no record yet"
            notes.append(f"{cell.folder}: {why}")
    return in_order(every), notes


def read_cell(cell: Cell, notes: list[str] | None = None) -> CellData:
    """Read a cell, each record once, and put the overlaps with its last circuit beside the others;
    damaged records are left out, and named in `notes`.
    """
    records: list[Unpacked] = []
    said: list[str] = [] if notes is None else notes
    for step in cell.steps_done():
        try:
            records.append(cell.unpacked(step))
        except UserError as error:
            said.append(f"left out: {error}")
    for step, why in others_kinds(records).items():
        said.append(f"left out: {cell.folder}: step {step}: damaged: {why}; {ANEW}")
        records = [record for record in records if record.step != step]
    try:
        finished, skipped = cell.is_done(), len(cell.skipped())
        if cell.said_done() and not finished:
            why = _missing(cell) or cell.not_as_sealed() or "some are to be tried again"
            said.append(
                f"{cell.folder}: was finished, and is not now: {why}; run the same command again"
            )
    except UserError as error:
        finished, skipped = False, 0
        said.append(f"not known whether it is finished: {error}")
    rows = [{"step": r.step, "tokens": r.tokens, **r.scalars} for r in records]
    circuits = {r.step: np.flatnonzero(r.mask) for r in records if r.mask is not None}
    scores = {
        r.step: r.scores[r.mask].astype(np.float32)
        for r in records
        if r.mask is not None and r.scores is not None
    }
    return with_final(
        CellData(
            folder=cell.folder,
            header=cell.header,
            finished=finished,
            curves=pd.DataFrame(rows, columns=None if rows else ["step", "tokens"]),
            prompts=_stacked(records, "prompts", ["step", "tokens", "prompt"]),
            skipped=skipped,
            roles=_stacked(records, "roles"),
            circuits=circuits,
            strengths={step: np.abs(values) for step, values in scores.items()},
            resamples={r.step: r.resamples for r in records if r.resamples},
            direct=_on_logits(_stacked(records, "patching")),
            bands=_stacked(records, "bands"),
            scores=scores,
        )
    )


def _missing(cell: Cell) -> str:
    """The checkpoints of a cell that have no record and were not skipped, in words."""
    there = {*cell.steps_done(), *map(int, cell.skipped())}
    steps = [str(e["step"]) for e in cell.header["schedule"] if e["step"] not in there]
    return f"no record of step {', '.join(steps[:5])}" + "…" * (len(steps) > 5) if steps else ""


def _stacked(
    records: Sequence[Unpacked], name: str, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """One table of all records below one another, with step and tokens; `columns` where none has
    any row.
    """
    parts = []
    for record in records:
        table = record.tables.get(name)
        if table is not None and table.num_rows:
            for key in ("step", "tokens"):
                number = np.full(table.num_rows, getattr(record, key), dtype=np.int64)
                table = table.append_column(key, pa.array(number))
            parts.append(table)
    if not parts:
        return pd.DataFrame(columns=columns)
    return pa.concat_tables(parts, promote_options="permissive").to_pandas()


def _on_logits(patching: pd.DataFrame) -> pd.DataFrame:
    """Every head's effect on the logits: sender, effect, step."""
    if patching.empty:
        return patching
    direct = patching.loc[patching["receivers"] == LOGITS, ["sender", "effect", "step"]]
    return direct.reset_index(drop=True)


def curves_of(cells: Sequence[CellData]) -> Curves:
    """Curves of cells: every number among their scalars but the ends of intervals, `circuit/found`
    (0 or 1), and the values per prompt.

    Standard errors come from the scalars' 95 % intervals. Checkpoints with the weights of another
    are left out.
    """
    facts = Facts.of_headers([cell.header for cell in in_order(list(cells))])
    tables: list[pd.DataFrame] = []
    notes: list[str] = []
    by_prompt: dict[CurveKey, pd.DataFrame] = {}
    not_above: dict[BehaviourKey, dict[float, str]] = {}
    tasks = tasks_by_model(cells)
    for cell in in_order(list(cells)):
        about = f"{cell.model} {cell.task} seed{cell.seed}"
        own = without_duplicates(cell.curves)
        if duplicates := int(is_duplicate(cell.curves).sum()):
            copies = counted(duplicates, "checkpoint has", "checkpoints have")
            notes.append(f"{about}: {copies} the weights of another: left out")
        if own.empty:
            notes.append(f"{about}: no record that could be used")
            continue
        tables.append(_long(cell, own, Facts.together([cell.facts, facts]), tasks))
        by_prompt |= _by_prompt(cell, own)
        if ABOVE_CHANCE in own:
            known = {
                float(row["tokens"]): why
                for row in own.reindex(columns=["tokens", ABOVE_CHANCE, NOT_ABOVE]).to_dict(
                    "records"
                )
                if (why := what_is_not_above(row)) is not None
            }
            if known:
                not_above.setdefault((cell.model, cell.task, cell.seed), {}).update(known)
    if not tables:
        return Curves(empty_table(), notes)
    table = pd.concat(tables, ignore_index=True)
    # Several cells of a model record the same heads: the first is as good as the others, and no
    # second opinion.
    of_model = table["task"] == NO_TASK
    once = ["model", "seed", "source", "quantity", "tokens"]
    table = table[~(of_model & table.duplicated([*once, "task"]))].reset_index(drop=True)
    texts = dict.fromkeys(("model", "task", "quantity", "source"), "str")
    return Curves(
        table[list(COLUMNS)].astype(texts | {"seed": "int64"}),
        notes,
        by_prompt,
        not_above_chance=not_above,
        cell_facts=facts,
        said=[((cell.model, cell.task, cell.seed), cell.header) for cell in in_order(list(cells))],
    )


def what_is_not_above(scalars: Mapping[str, Any]) -> str | None:
    """What of a behaviour is not above chance at a checkpoint, empty where it is; none where its
    scalars don't say.
    """
    above, what = scalars.get(ABOVE_CHANCE), scalars.get(NOT_ABOVE)
    if not isinstance(above, bool):
        return None
    return "" if above else what if isinstance(what, str) and what else "value or effect"


def _long(
    cell: CellData,
    own: pd.DataFrame,
    facts: Facts,
    tasks: Mapping[tuple[str, int], Sequence[str]],
) -> pd.DataFrame:
    """One row a number of a cell's records; own: its scalars, tasks: see `cells.tells`."""
    numbers = own.select_dtypes("number").drop(columns=["step", "tokens"])
    if "circuit/status" in own:
        numbers["circuit/found"] = own["circuit/status"].map(circuit_found).astype(float)
    intervals = facts.intervals(list(numbers))
    ends = {end for pair in intervals.values() for end in pair}
    ends |= {end for q in facts.quantities.values() for end in q.interval or ()}
    names = [name for name in numbers if name not in ends and tells(cell, str(name), tasks)]
    values = numbers[names].to_numpy(dtype=float)  # [checkpoint, quantity]
    errors = np.full(values.shape, np.nan)
    for place, name in enumerate(names):
        low, high = (numbers.get(end) for end in intervals.get(name, ("", "")))
        if low is not None and high is not None:
            errors[:, place] = (high - low) / (2 * NORMAL_95)
    at, which = np.nonzero(np.isfinite(values))
    of = [NO_TASK if facts.quantity(name).of == "model" else cell.task for name in names]
    return pd.DataFrame(
        {
            "model": cell.model,
            "params": np.float64(cell.header["model"].get("params_total") or np.nan),
            "tokens": own["tokens"].to_numpy(dtype=float)[at],
            "step": own["step"].to_numpy(dtype=float)[at],
            "task": np.array(of, dtype=object)[which],
            "quantity": np.array(names, dtype=object)[which],
            "value": values[at, which],
            "stderr": errors[at, which],
            "seed": cell.seed,
            "source": cell.folder.resolve().parents[2].name,
        }
    )


def _by_prompt(cell: CellData, own: pd.DataFrame) -> dict[CurveKey, pd.DataFrame]:
    """Values per prompt [checkpoint × prompt]; none unless every checkpoint has the same
    prompts.
    """
    prompts = cell.prompts[cell.prompts["step"].isin(own["step"])]
    if prompts.empty:
        return {}
    prompts = prompts.assign(effect=prompts["value"] - prompts["corrupted"])
    found: dict[CurveKey, pd.DataFrame] = {}
    for quantity, column in PER_PROMPT.items():
        wide = prompts.pivot(index="tokens", columns="prompt", values=column).astype(float)
        if not wide.isna().to_numpy().any():
            found[cell.model, cell.task, quantity, cell.seed] = wide
    return found
