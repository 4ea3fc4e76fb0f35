"""Overlap of a cell's circuits over its checkpoints: with the one before as the records say it, and with the last one, which no record could know.

Beside each stands what it is compared with: circuits of resampled prompts at the same checkpoint (`floor`), and circuits of these sizes anywhere (`chance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import MEASURES, Circuit, overlaps, overlaps_by_chance
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.figures.layout import is_laid_out
from circuitwatch.summary.tables import CellData, without_duplicates

FINAL = tuple(f"overlap/{measure}_{kind}" for measure in MEASURES for kind in ("final", "final_chance"))
KINDS = ("", "_floor", "_chance", "_mean", "_final", "_final_chance")


def references(quantity: str) -> dict[str, str]:
    """What an overlap is compared with: `floor` and `chance` → the quantities that have them. No other quantity has any."""
    if not quantity.startswith("overlap/"):
        return {}
    plain = quantity.removesuffix("_mean").removesuffix("_final")
    chance = f"{quantity}_chance" if quantity.endswith("_final") else f"{plain}_chance"
    return {"floor": f"{plain}_floor", "chance": chance}


def with_final(cell: CellData) -> CellData:
    """The cell with the columns FINAL in its curves: each circuit against that of the last checkpoint that has one, which gets none itself.

    Where the cell does not say how its masks are laid out it stays as it is.
    """
    steps = [int(step) for step in without_duplicates(cell.curves)["step"] if int(step) in cell.circuits]
    if len(steps) < 2 or not is_laid_out(cell) or not set(steps) <= set(cell.strengths):
        return cell
    model = cell.header["model"]
    graph = Graph(int(model["n_layers"]), int(model["n_heads"]), bool(model.get("parallel")))
    if list(cell.header["graph"]["receivers"]) != graph.receivers:
        return cell
    last = _circuit(cell, graph, steps[-1])
    rows = []
    for step in steps[:-1]:
        circuit = _circuit(cell, graph, step)
        known = {f"overlap/{name}_final": value for name, value in overlaps(graph, circuit, last).items()}
        chance = overlaps_by_chance(graph, circuit, last).items()
        rows.append({"step": step} | known | {f"overlap/{name}_final_chance": value for name, value in chance})
    final = pd.DataFrame(rows).reindex(columns=["step", *FINAL])
    return replace(cell, curves=cell.curves.merge(final, on="step", how="left"))


def with_final_overlaps(curves: Curves, cells: Sequence[CellData]) -> Curves:
    """The curves of all sources with those that `with_final` gave the cells."""
    parts = [curves.table]
    for cell in cells:
        for name in (name for name in FINAL if name in cell.curves):
            known = without_duplicates(cell.curves).dropna(subset=[name])
            parts.append(
                pd.DataFrame(
                    {
                        "model": cell.model,
                        "params": float(cell.params),
                        "tokens": known["tokens"].astype(float),
                        "step": known["step"].astype(float),
                        "task": cell.task,
                        "quantity": name,
                        "value": known[name].astype(float),
                        "stderr": np.nan,
                        "seed": cell.seed,
                        "source": cell.folder.resolve().parents[2].name,
                    }
                )
            )
    if len(parts) == 1:
        return curves
    table = pd.concat(parts, ignore_index=True).astype(curves.table.dtypes.to_dict())
    return replace(curves, table=table)


def overlap_table(cells: Sequence[CellData]) -> pd.DataFrame:
    """One row a checkpoint with a circuit: model, task, seed, step, tokens, edges; then each index of MEASURES with its KINDS, as far as known."""
    columns = {f"overlap/{measure}{kind}": f"{measure}{kind}" for measure in MEASURES for kind in KINDS}
    tables = []
    for cell in cells:
        own = without_duplicates(cell.curves)
        if "circuit/edges" not in own:
            continue
        own = own.dropna(subset=["circuit/edges"])
        about = {"model": cell.model, "task": cell.task, "seed": cell.seed}
        shown = own.reindex(columns=["step", "tokens", "circuit/edges", *columns]).rename(columns=columns)
        tables.append(shown.rename(columns={"circuit/edges": "edges"}).assign(**about))
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table[["model", "task", "seed", *table.columns.drop(["model", "task", "seed"])]].dropna(axis=1, how="all")


def _circuit(cell: CellData, graph: Graph, step: int) -> Circuit:
    mask = np.zeros(graph.edges.size, dtype=bool)
    scores = np.zeros(graph.edges.size, dtype=np.float32)
    mask[cell.circuits[step]] = True
    scores[cell.circuits[step]] = cell.strengths[step]
    return Circuit(mask.reshape(graph.edges.shape), scores.reshape(graph.edges.shape))
