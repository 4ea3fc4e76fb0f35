"""Which figures there are: those of cells, those of curves from elsewhere, and those of the tables;
each only where there is something to draw.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, count

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from circuitwatch.summary.curves import OURS, Curves
from circuitwatch.summary.figures.circuits import circuit_figure
from circuitwatch.summary.figures.heads import role_sizes_figure, roles_figure, timeline_figure
from circuitwatch.summary.figures.overlaps import circuits_figure, overlaps_figure
from circuitwatch.summary.figures.shared import behaviour_figure, curves_figure
from circuitwatch.summary.figures.sizes import circuit_sizes_figure, emergence_figure
from circuitwatch.summary.figures.stability import algorithm_figure, transfer_figure
from circuitwatch.summary.heads.histories import role_place
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.tables import CellData, models_in_order, role_curves, role_names

MOST_PANELS = 12
"""Tasks of one figure of curves from elsewhere: those of the most models."""
MOST_FIGURES = 12
"""Figures of curves from elsewhere; the report has all."""
FEWEST = 2
"""Checkpoints of a curve that is drawn."""


def draw_figures(
    curves: Curves,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    scaling: pd.DataFrame,
    heads: HeadTables,
    notes: list[str] | None = None,
) -> dict[str, Figure]:
    """The figures that there is something for, by name; cells in order.

    behaviour, roles, roles_by_size, timeline, circuits, overlaps, algorithm, transfer; circuit (the
    largest model's last ones, by layer); emergence and emergence_roles (against model size),
    circuit_sizes (against model size); curves_<quantity> of other sources.
    """
    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar sign in a name is one
        return _drawn(curves, cells, emergence, scaling, heads, [] if notes is None else notes)


def _drawn(
    curves: Curves,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    scaling: pd.DataFrame,
    heads: HeadTables,
    notes: list[str],
) -> dict[str, Figure]:
    drawn: dict[str, Figure | None] = {}
    if cells:
        drawn["behaviour"] = behaviour_figure(cells)
    if heads.histories:
        roles = {role for table in role_curves(list(cells)).values() for role in role_names(table)}
        drawn["roles"] = roles_figure(cells, heads.histories)
        drawn["roles_by_size"] = role_sizes_figure(cells, sorted(roles, key=role_place))
        drawn["timeline"] = timeline_figure(heads.histories, cells, emergence)
    if any(len(cell.curve("circuit/edges")) for cell in cells):
        drawn["circuits"] = circuits_figure(cells)
        drawn["overlaps"] = overlaps_figure(cells)
        largest = models_in_order(list(cells))[-1]
        seed = min(cell.seed for cell in cells if cell.model == largest)
        drawn["circuit"] = circuit_figure(
            [cell for cell in cells if (cell.model, cell.seed) == (largest, seed)]
        )
    if len(heads.algorithm):
        drawn["algorithm"] = algorithm_figure(cells, emergence, heads.bands)
    if len(heads.transfer):
        drawn["transfer"] = transfer_figure(heads.transfer, heads.specificity, cells)
    if len(emergence):
        asked = list(dict.fromkeys(emergence["quantity"]))
        drawn["emergence"] = emergence_figure(emergence, scaling, "behaviour/value")
        for quantity in [q for q in asked if not q.startswith(OURS)][:MOST_FIGURES]:
            drawn[_free(f"emergence_{_file(quantity)}", drawn)] = emergence_figure(
                emergence, scaling, quantity
            )
    drawn["circuit_sizes"] = circuit_sizes_figure(
        _mean_sizes(curves, "circuit/nodes"), scaling, "circuit/nodes"
    )
    drawn |= _of_others(curves, notes, has_cells=bool(cells))
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _mean_sizes(curves: Curves, quantity: str) -> pd.DataFrame:
    table = curves.table[(curves.table["quantity"] == quantity) & curves.table["tokens"].notna()]
    return (
        table.groupby(["model", "params", "task", "seed"], sort=False, dropna=False)["value"]
        .mean()
        .reset_index()
    )


def _of_others(curves: Curves, notes: list[str], *, has_cells: bool) -> dict[str, Figure]:
    """Curves that no cell gave, a figure a quantity, a panel a task."""
    table = curves.table[curves.table["tokens"].notna()]
    ours = table["quantity"].str.startswith(OURS)
    table = table[~ours | ((table["quantity"] == "behaviour/value") & (not has_cells))]
    lengths = table.groupby(["quantity", "task", "model"], sort=False).size()
    drawn: dict[str, Figure] = {}
    for quantity, rows in lengths[lengths >= FEWEST].groupby(level="quantity", sort=False):
        models = rows.groupby(level="task").size().sort_values(ascending=False, kind="stable")
        tasks = sorted(models.index[:MOST_PANELS])
        if len(drawn) == MOST_FIGURES:
            notes.append(
                f"figures of curves from elsewhere show the first {MOST_FIGURES} quantities; "
                f"the report has all"
            )
            break
        if len(models) > MOST_PANELS:
            notes.append(
                f"the figure of {quantity} shows {MOST_PANELS} of {len(models)} tasks; the "
                f"report has all"
            )
        drawn[_free(f"curves_{_file(str(quantity))}", drawn)] = curves_figure(
            curves, str(quantity), tasks
        )
    return drawn


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or with a number where other quantities have given it already."""
    numbered = (f"{name}_{k}" for k in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)


def _file(quantity: str) -> str:
    """A quantity as part of a file's name."""
    return "".join(
        character if character.isalnum() or character in "-_." else "_" for character in quantity
    )
