"""Overlap of a cell's circuits over its checkpoints: with the one before as the records say it, and
with the last one, which no record could know.

Beside each stands what circuits of these sizes would share anywhere (`chance`). The overlap of
circuits found from *other* prompts (`resampled`) stands beside what these share within a
checkpoint, its noise ceiling; only this one has a ceiling, since circuits of the same prompts share
more than any ceiling says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import (
    MEASURES,
    Circuit,
    circuit_of,
    overlaps,
    overlaps_by_chance,
    resampled_overlaps,
    resampled_scalars,
)
from circuitwatch.summary.cells import CellData, without_duplicates
from circuitwatch.summary.charts.layout import is_laid_out

RESAMPLED = ("_resampled", "_resampled_ceiling", "_resampled_chance")
FINAL_KINDS = ("_final", "_final_chance", *(f"_final{kind}" for kind in RESAMPLED))
FINAL = tuple(f"overlap/{measure}{kind}" for measure in MEASURES for kind in FINAL_KINDS)
KINDS = ("", "_chance", "_mean", "_ceiling", *RESAMPLED, *FINAL_KINDS)


def references(quantity: str) -> dict[str, str]:
    """What an overlap is compared with: `ceiling` and `chance` → the quantities that have them. No
    other quantity has any.

    Only overlaps of circuits from different prompts have a ceiling.
    """
    if not quantity.startswith("overlap/"):
        return {}
    if quantity.endswith("_resampled"):
        return {kind: f"{quantity}_{kind}" for kind in ("ceiling", "chance")}
    return {"chance": f"{quantity.removesuffix('_mean')}_chance"}


def with_final(cell: CellData) -> CellData:
    """The cell with the columns FINAL in its curves: each circuit against that of the last
    checkpoint that has one, which gets none itself.

    Where the cell does not say how its masks are laid out it stays as it is.
    """
    steps = [
        int(step) for step in without_duplicates(cell.curves)["step"] if int(step) in cell.circuits
    ]
    if len(steps) < 2 or not is_laid_out(cell) or not set(steps) <= set(cell.strengths):
        return cell
    model = cell.header["model"]
    graph = Graph(int(model["n_layers"]), int(model["n_heads"]), bool(model.get("parallel")))
    if list(cell.header["graph"]["receivers"]) != graph.receivers:
        return cell
    last, last_resamples = _circuit(cell, graph, steps[-1]), _resamples(cell, graph, steps[-1])
    rows = []
    for step in steps[:-1]:
        circuit = _circuit(cell, graph, step)
        known = {
            f"overlap/{name}_final": value for name, value in overlaps(graph, circuit, last).items()
        }
        chance = overlaps_by_chance(graph, circuit, last).items()
        known |= {f"overlap/{name}_final_chance": value for name, value in chance}
        if last_resamples and (own := _resamples(cell, graph, step)):
            known |= resampled_scalars(resampled_overlaps(graph, own, last_resamples), "_final")
        rows.append({"step": step} | known)
    final = pd.DataFrame(rows).reindex(columns=["step", *FINAL])
    return replace(cell, curves=cell.curves.merge(final, on="step", how="left"))


def overlap_table(cells: Sequence[CellData]) -> pd.DataFrame:
    """One row a checkpoint with a circuit: model, task, seed, step, tokens, edges; then each index
    of MEASURES with its KINDS, as far as known.
    """
    columns = {
        f"overlap/{measure}{kind}": f"{measure}{kind}" for measure in MEASURES for kind in KINDS
    }
    tables = []
    for cell in cells:
        own = without_duplicates(cell.curves)
        if "circuit/edges" not in own:
            continue
        own = own.dropna(subset=["circuit/edges"])
        about = {"model": cell.model, "task": cell.task, "seed": cell.seed}
        shown = own.reindex(columns=["step", "tokens", "circuit/edges", *columns]).rename(
            columns=columns
        )
        tables.append(shown.rename(columns={"circuit/edges": "edges"}).assign(**about))
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table[["model", "task", "seed", *table.columns.drop(["model", "task", "seed"])]].dropna(
        axis=1, how="all"
    )


def _circuit(cell: CellData, graph: Graph, step: int) -> Circuit:
    return circuit_of(graph, cell.circuits[step], cell.strengths[step])


def _resamples(cell: CellData, graph: Graph, step: int) -> list[Circuit | None]:
    """The circuits of a checkpoint's resamples; an empty list where it has none recorded."""
    return [
        None if own is None else circuit_of(graph, own.places, own.scores)
        for own in cell.resamples.get(step, ())
    ]
