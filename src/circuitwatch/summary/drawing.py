"""Which figures there are: those of cells, those of curves from elsewhere, and those of the tables; each only where there is something to draw."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from circuitwatch.summary.curves import Curves
from circuitwatch.summary.figures import behaviour_figure, circuits_figure
from circuitwatch.summary.head_tables import HeadTables
from circuitwatch.summary.heads_figures import roles_figure, timeline_figure
from circuitwatch.summary.stability_figures import algorithm_figure, transfer_figure
from circuitwatch.summary.tables import CellData


def draw_figures(
    curves: Curves, cells: Sequence[CellData], emergence: pd.DataFrame, scaling: pd.DataFrame, heads: HeadTables
) -> dict[str, Figure]:
    """The figures that there is something for, by name; cells in order."""
    drawn = {}
    if cells:
        drawn["behaviour"] = behaviour_figure(cells)
    if heads.histories:
        drawn["roles"] = roles_figure(cells)
        drawn["timeline"] = timeline_figure(heads.histories, cells, emergence)
    if any(len(cell.curve("circuit/edges")) for cell in cells):
        drawn["circuits"] = circuits_figure(cells)
    if len(heads.algorithm):
        drawn["algorithm"] = algorithm_figure(cells, emergence)
    if len(heads.transfer):
        drawn["transfer"] = transfer_figure(heads.transfer, heads.specificity, cells)
    return drawn
