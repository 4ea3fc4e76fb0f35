"""The circuit itself, drawn by layer from the input (below) to the logits (above), at any
checkpoint.

Circles are attention heads, squares MLPs; hollow ones are not in the circuit. The colour of an edge
says which input of its receiver it enters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from circuitwatch.summary.cells import CellData
from circuitwatch.summary.figures.layout import is_laid_out, nodes_of, places_of, receivers_of
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TITLE
from circuitwatch.summary.lines import DOUBTS
from circuitwatch.units import format_tokens

INPUTS = {"queries": "#0072b2", "keys": "#d55e00", "values": "#009e73", "MLPs, logits": "#777777"}
"""Colours of Okabe and Ito's palette, as in the report."""
MOST_EDGES = 300
"""Of a larger circuit the strongest edges are drawn, and all its nodes."""
LANE = 0.26
"""Inches of one layer."""


def circuit_figure(cells: Sequence[CellData], step: int | None = None) -> Figure | None:
    """One panel a cell: its circuit at a step, by default the last that has one; none where no cell
    has.
    """
    chosen = [(cell, _step_of(cell, step)) for cell in cells if is_laid_out(cell)]
    shown = [(cell, at) for cell, at in chosen if at is not None]
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    layers = max(int(cell.header["model"]["n_layers"]) for cell, _ in shown)
    lane = min(LANE, 4.0 / (layers + 2))
    figure = Figure(
        figsize=(COLUMN, rows * ((layers + 2) * lane + 0.45) + 0.3), layout="constrained"
    )
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for (cell, at), axis in zip(shown, axes, strict=False):
        draw_circuit(axis, cell, at)
    name_inputs(figure)
    return figure


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
    axis: Axes,
    edges: NDArray[np.intp],
    strengths: NDArray[np.floating],
    *,
    layers: int,
    heads: int,
) -> int:
    """Draw a circuit into a panel, of a large one the strongest MOST_EDGES edges.

    Args:
        axis: the panel.
        edges: [edge], places in the flattened mask [sender, receiver].
        strengths: [edge], how strong each is.
        layers: of the model.
        heads: in each layer.

    Returns:
        how many edges were drawn.
    """
    n_receivers = layers * (3 * heads + 1) + 1
    nodes = nodes_of(edges, layers, heads, n_receivers)
    if edges.size > MOST_EDGES:
        edges = edges[np.argsort(-strengths, kind="stable")[:MOST_EDGES]]
    x, y = places_of(layers, heads)
    senders, receivers = np.divmod(edges, n_receivers)
    targets, kinds = receivers_of(receivers, layers, heads, n_receivers)
    curve = np.linspace(0, 1, 12)[:, None]
    bend = np.where(np.abs(x[targets] - x[senders]) < 1e-9, 0.35, 0.15 * (x[targets] - x[senders]))
    middle = (x[senders] + x[targets]) / 2 + bend
    paths_x = (
        (1 - curve) ** 2 * x[senders] + 2 * curve * (1 - curve) * middle + curve**2 * x[targets]
    )
    paths_y = (1 - curve) * y[senders] + curve * y[targets]
    colours = np.array(list(INPUTS.values()))[kinds]
    lines = np.stack([paths_x.T, paths_y.T], axis=-1)
    axis.add_collection(
        LineCollection(
            list(lines),
            colors=list(colours),
            lw=0.8 if len(edges) <= 80 else 0.4,
            alpha=0.6,
            zorder=1,
        )
    )
    within = np.isin(np.arange(x.size), nodes)
    square = np.arange(x.size) % (heads + 1) == 0  # the input and each layer's MLP
    square[-1] = True
    size = float(np.clip(900 / (heads + 2) ** 2, 2, 22))
    for marker, kind in (("o", ~square), ("s", square)):
        for inside, face, edge in ((False, "#ffffff", "#bbbbbb"), (True, "#222222", "#222222")):
            one = kind & (within == inside)
            axis.scatter(
                x[one],
                y[one],
                marker=marker,
                s=size,
                c=face,
                edgecolors=edge,
                linewidths=0.5,
                zorder=2,
            )
    for place, words in ((0, "input"), (x.size - 1, "logits")):
        axis.annotate(
            words,
            (x[place], y[place]),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=TEXT - 0.5,
        )
    if heads <= 8:
        for place in np.flatnonzero(within)[1:-1]:
            name = f"m{int(y[place])}" if square[place] else f"h{int(x[place])}"
            axis.annotate(
                name,
                (x[place], y[place]),
                (2.5, 2.5),
                textcoords="offset points",
                fontsize=TEXT - 1.5,
                color="#333333",
            )
    axis.set_yticks(range(0, layers, 1 if layers <= 8 else 4))
    axis.set_ylabel("layer", fontsize=TEXT)
    axis.set_xticks([])
    axis.set_xlim(-0.7, heads + 0.8)
    axis.set_ylim(-1.6, layers + 0.6)
    axis.tick_params(labelsize=TEXT, length=0)
    axis.spines[:].set_visible(False)
    return int(edges.size)


def draw_circuit(axis: Axes, cell: CellData, step: int) -> None:
    """Draw a cell's circuit at a step, which must have one, into a panel."""
    model, edges = cell.header["model"], cell.circuits[step]
    strengths = cell.strengths.get(step, np.zeros(edges.size))
    layers, heads = int(model["n_layers"]), int(model["n_heads"])
    drawn = draw_graph(axis, edges, strengths, layers=layers, heads=heads)
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


def _step_of(cell: CellData, step: int | None) -> int | None:
    if step is not None:
        return step if step in cell.circuits else None
    return max(cell.circuits, default=None)
