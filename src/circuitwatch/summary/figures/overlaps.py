"""Figures of circuits over training tokens: how large they are, and how much each shares with the
one before and with the last (2407.10827, figure 5).

Drawn is the overlap of circuits found from different resamples of the prompts, beside what these
share within a checkpoint (the noise ceiling) and by chance: one kind of thing, so that the lines
can be compared. Where the cells have no resamples it is the overlap of the circuits of all prompts,
which has no ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from circuitwatch.summary.figures.shared import (
    colours,
    finish,
    in_words,
    label,
    line_style,
    mark_duplicates,
    panels,
    shown_tokens,
    tasks_in_order,
    with_legend,
)
from circuitwatch.summary.overlaps import references
from circuitwatch.summary.tables import CellData, models_in_order, without_duplicates


@dataclass(frozen=True)
class Shown:
    """A column of panels: the scalar drawn, and the name on the axis."""

    quantity: str
    words: str


SIZE = Shown("circuit/edges_share", "share of edges")
BEFORE = Shown("overlap/edge_jaccard", "edge Jaccard")
NODES = Shown("overlap/node_jaccard", "node Jaccard")
LAST = Shown("overlap/edge_jaccard_final", "edges, with the last")
OTHER = ",\nother prompts"
"""What the axis of an overlap says besides where it is that of different resamples."""
REFERENCES = {
    "ceiling": ((0, (4, 2)), "noise ceiling"),
    "chance": ((0, (1, 1.5)), "by chance"),
}
"""Style and words of what an overlap is compared with."""
NEIGHBOURS = 5
"""Checkpoints whose mean is drawn of what an overlap is compared with: the ceiling of a pair comes
from two pairs of circuits only.
"""


def circuits_figure(cells: Sequence[CellData]) -> Figure:
    """A row a task: the circuit's share of all edges, and the overlap of its edges with the circuit
    before.
    """
    return _figure(cells, (SIZE, BEFORE))


def overlaps_figure(cells: Sequence[CellData]) -> Figure:
    """A row a task: the overlap of nodes with the circuit before, and that of edges with the last
    circuit.
    """
    return _figure(cells, (NODES, LAST))


def _figure(cells: Sequence[CellData], columns: Sequence[Shown]) -> Figure:
    tasks = tasks_in_order(cells)
    figure, axes = panels(len(columns) * len(tasks), len(columns))
    shade = colours(models_in_order(list(cells)))
    compared: set[str] = set()
    for (task, shown), axis in zip(
        [(task, shown) for task in tasks for shown in columns], axes, strict=True
    ):
        of_task = [cell for cell in cells if cell.task == task]
        shown = _like_with_like(shown, of_task)
        longest = max(len(cell.curve("circuit/edges")) for cell in of_task)
        for cell in of_task:
            compared |= _draw_references(axis, cell, shown.quantity, shade[cell.model])
            known = _known(cell, shown.quantity)
            x = _on_axis_of(cell)(known["tokens"])
            own = without_duplicates(known)
            words = label(cell, cells)
            axis.plot(
                x[own.index],
                own[shown.quantity],
                label=words,
                color=shade[cell.model],
                **line_style(longest),
            )
            mark_duplicates(axis, x, known, shown.quantity)
        axis.set_xlim(*_range(of_task))
        is_share = shown != SIZE
        axis.set_ylim(-0.03 if is_share else 0, 1.03 if is_share else None)
        if not is_share:
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        finish(axis, in_words(task), shown.words)
    for kind, (dashes, words) in REFERENCES.items():
        if kind in compared:
            axes[0].add_line(Line2D([], [], color="#777777", lw=0.8, ls=dashes, label=words))
    return with_legend(figure, axes[0])


def _like_with_like(shown: Shown, cells: Sequence[CellData]) -> Shown:
    """The overlap of different resamples in the place of that of all prompts, where every cell that
    has this one has it.
    """
    other = f"{shown.quantity}_resampled"
    having = [cell for cell in cells if len(_known(cell, shown.quantity))]
    if having and all(len(_known(cell, other)) for cell in having):
        return Shown(other, shown.words + OTHER)
    return shown


def _draw_references(axis: Axes, cell: CellData, quantity: str, colour: str) -> set[str]:
    """Draw what an overlap is compared with; which of it there was."""
    drawn = set()
    for kind, name in references(quantity).items():
        known = without_duplicates(_known(cell, name))
        if len(known):
            dashes, _ = REFERENCES[kind]
            smooth = known[name].rolling(NEIGHBOURS, center=True, min_periods=1).mean()
            axis.plot(
                _on_axis_of(cell)(known["tokens"]),
                smooth,
                color=colour,
                lw=0.7,
                ls=dashes,
                alpha=0.75,
            )
            drawn.add(kind)
    return drawn


def _known(cell: CellData, name: str) -> pd.DataFrame:
    """The checkpoints of a cell that have a scalar."""
    return (
        cell.curves.dropna(subset=[name])
        if name in cell.curves
        else pd.DataFrame({"tokens": [], name: []})
    )


def _on_axis_of(cell: CellData) -> Callable[[pd.Series], pd.Series]:
    """Where token counts of a cell are drawn, 0 in the place that the cell's first positive count
    gives it.
    """
    places = dict(zip(cell.curves["tokens"], shown_tokens(cell.curves["tokens"]), strict=True))
    return lambda tokens: tokens.map(places)


def _range(cells: Sequence[CellData]) -> tuple[float, float]:
    """Ends of an axis for the checkpoints that have a circuit; for all where none has."""
    shown, with_circuit = [], []
    for cell in cells:
        if len(cell.curves):
            shown.append(shown_tokens(cell.curves["tokens"]))
            if "circuit/edges" in cell.curves:
                with_circuit.append(shown[-1][cell.curves["circuit/edges"].notna()])
    every = pd.concat([tokens for tokens in with_circuit if len(tokens)] or shown)
    return float(every.min()) * 0.8, float(every.max()) * 1.25
