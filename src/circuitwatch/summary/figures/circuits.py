"""The circuit itself, drawn by layer from the input (below) to the logits (above), at any
checkpoint.

Circles are attention heads, squares MLPs; hollow ones are not in the circuit. The colour of an edge
says which input of its receiver it enters, and it passes no node on its way (`charts.layout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from numpy.typing import NDArray

from circuitwatch.circuits.graph import Graph
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.layout import RADIUS, STRAIGHT, Layout, graph_of
from circuitwatch.summary.charts.looks import INPUTS
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TITLE
from circuitwatch.summary.lines import DOUBTS
from circuitwatch.units import format_tokens

MOST_EDGES = 300
"""Of a larger circuit the strongest edges are drawn, and all its nodes."""
LANE = 0.3
"""Inches from row to row."""
FEW_HEADS = 10
"""Up to so many heads a layer, nodes have their names in them."""
HOLLOW, FULL = ("#ffffff", "#bbbbbb"), ("#222222", "#222222")
"""Faces and rims."""


def circuit_figure(cells: Sequence[CellData], step: int | None = None) -> Figure | None:
    """One panel a cell: its circuit at a step, by default the last that has one; none where no cell
    has.
    """
    chosen = [(cell, _step_of(cell, step)) for cell in cells if graph_of(cell) is not None]
    shown = [(cell, at) for cell, at in chosen if at is not None]
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    tall = max(rows_of(_graph(cell)) for cell, _ in shown)
    lane = min(LANE, 4.5 / tall)
    figure = Figure(figsize=(COLUMN, rows * (tall * lane + 0.45) + 0.3), layout="constrained")
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for (cell, at), axis in zip(shown, axes, strict=False):
        draw_circuit(axis, cell, at)
    name_inputs(figure)
    return figure


def rows_of(graph: Graph) -> int:
    """Rows of nodes, with those of input and logits."""
    return graph.n_layers * (1 if graph.parallel else 2) + 2


def name_inputs(figure: Figure) -> None:
    """The legend: which colour an edge into which input has."""
    handles = [Line2D([], [], color=colour, lw=1.2) for colour in INPUTS.values()]
    figure.legend(
        handles,
        list(INPUTS),
        loc="outside upper center",
        ncols=4,
        fontsize=TEXT,
        frameon=False,
        handlelength=1.2,
        columnspacing=0.9,
    )


def draw_graph(
    axis: Axes, edges: NDArray[np.intp], strengths: NDArray[np.floating], graph: Graph
) -> int:
    """Draw a circuit into a panel, of a large one the strongest MOST_EDGES edges.

    Args:
        axis: the panel.
        edges: [edge], places in the flattened mask [sender, receiver].
        strengths: [edge], how strong each is.
        graph: what they are edges of.

    Returns:
        how many edges were drawn.
    """
    layout = Layout.of(graph)
    nodes = layout.nodes(edges)
    if edges.size > MOST_EDGES:
        edges = edges[np.argsort(-strengths, kind="stable")[:MOST_EDGES]]
    width = 0.9 if edges.size <= 80 else 0.5
    kinds = layout.kinds(edges)
    for kind, colour in enumerate(INPUTS.values()):
        paths = [_path(layout.way(int(edge))) for edge in edges[kinds == kind]]
        lines = PathCollection(paths, facecolors="none", edgecolors=colour, linewidths=width)
        axis.add_collection(lines)
    _draw_nodes(axis, layout, nodes)
    rows = 1 if graph.parallel else 2
    every = 1 if graph.n_layers <= 8 else 4
    shown = range(0, graph.n_layers, every)
    axis.set_yticks([rows * layer for layer in shown], [str(layer) for layer in shown])
    axis.set_ylabel("layer", fontsize=TEXT)
    axis.set_xticks([])
    axis.set_xlim(-0.8, layout.columns - 0.2)
    axis.set_ylim(-1.5, rows * graph.n_layers + 0.5)
    axis.tick_params(labelsize=TEXT, length=0)
    axis.spines[:].set_visible(False)
    return int(edges.size)


def draw_circuit(axis: Axes, cell: CellData, step: int) -> None:
    """Draw a cell's circuit at a step, which must have one, into a panel."""
    edges = cell.circuits[step]
    strengths = cell.strengths.get(step, np.zeros(edges.size))
    drawn = draw_graph(axis, edges, strengths, _graph(cell))
    tokens = cell.curves.loc[cell.curves["step"] == step, "tokens"].iloc[0]
    part = f", {drawn} drawn" if edges.size > drawn else ""
    doubts = "".join(f"\n{words}" for words in doubts_at(cell, step))
    axis.set_title(
        cell.facts.task(cell.task).words,
        loc="left",
        fontsize=TITLE,
        fontweight="bold",
        pad=10 + 8 * doubts.count("\n"),
    )
    axis.text(
        0,
        1.0,
        f"{cell.model}, {format_tokens(tokens) or 0}: {edges.size} edges{part}{doubts}",
        transform=axis.transAxes,
        fontsize=TEXT - 0.5,
        va="bottom",
        in_layout=False,
    )


def doubts_at(cell: CellData, step: int) -> list[str]:
    """What is doubtful about a cell's circuit at a step."""
    row = cell.curves[cell.curves["step"] == step].iloc[0]
    return [words for name, doubtful, words in DOUBTS if name in row and row[name] == doubtful]


def _graph(cell: CellData) -> Graph:
    graph = graph_of(cell)
    assert graph is not None
    return graph


def _path(way: NDArray[np.float64]) -> Path:
    """Straight upwards at each point, bent half-way between two."""
    points, codes = [way[0]], [Path.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(way):
        middle = (y + to_y) / 2
        points += [(x, y + STRAIGHT), (x, middle), (to_x, middle), (to_x, to_y - STRAIGHT)]
        points.append((to_x, to_y))
        codes += [Path.LINETO, *[Path.CURVE4] * 3, Path.LINETO]
    return Path(np.array(points), codes)


def _draw_nodes(axis: Axes, layout: Layout, nodes: NDArray[np.intp]) -> None:
    within = np.isin(np.arange(layout.x.size), nodes)
    places = np.column_stack([layout.x, layout.y])
    for inside, (face, rim) in ((False, HOLLOW), (True, FULL)):
        style: dict[str, Any] = {
            "facecolors": face,
            "edgecolors": rim,
            "linewidths": 0.5,
            "zorder": 2,
        }
        round_ones = places[~layout.square & (within == inside)]
        size = np.full(len(round_ones), 2 * RADIUS)
        axis.add_collection(
            EllipseCollection(size, size * 2 * STRAIGHT / (2 * RADIUS), np.zeros(len(size)),
                              units="xy", offsets=round_ones,
                              offset_transform=axis.transData, **style)
        )  # fmt: skip
        corner = np.array([[-RADIUS, -1], [RADIUS, -1], [RADIUS, 1], [-RADIUS, 1]])
        corner = corner * np.array([1.0, 0.9 * STRAIGHT])
        boxes = places[layout.square & (within == inside)][:, None, :] + corner
        axis.add_collection(PolyCollection(list(boxes), **style))
    for place, words in ((0, "input"), (layout.x.size - 1, "logits")):
        at = (layout.x[place] + 1.3 * RADIUS, layout.y[place])
        axis.text(*at, words, va="center", fontsize=TEXT - 0.5)
    said: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": TEXT - 2.5}
    if layout.graph.n_heads <= FEW_HEADS:
        for node in np.flatnonzero(within):
            at = (layout.x[node], layout.y[node])
            axis.text(*at, layout.labels[int(node)], color=HOLLOW[0], **said)


def _step_of(cell: CellData, step: int | None) -> int | None:
    if step is not None:
        return step if step in cell.circuits else None
    return max(cell.circuits, default=None)
