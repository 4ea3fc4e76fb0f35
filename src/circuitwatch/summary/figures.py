"""Figures of a sweep as PNG files: behaviour, head roles, and circuits over training tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitwatch.summary.tables import (
    ROLE_THRESHOLD,
    CellData,
    in_order,
    is_duplicate,
    models_in_order,
    role_curves,
    role_names,
    without_duplicates,
)

WIDTH, HEIGHT = 3.9, 2.9
"""Inches of one panel."""
LEGEND_ENTRY = 1.7
"""Inches that an entry of a legend needs."""
SHOWN_ROLES = ("previous_token", "induction", "duplicate_token", "successor", "name_mover", "negative_name_mover")
ROLE_COLOURS = ("#0072b2", "#d55e00", "#56b4e9", "#009e73", "#cc79a7", "#555555")
"""The palette of Okabe and Ito, which people with colour-blindness can tell apart."""
DUPLICATES = "same weights as another"
OVERLAPS = {
    "overlap/node_jaccard": "nodes",
    "overlap/edge_jaccard": "edges",
    "overlap/weighted_edge_jaccard": "edges, weighted",
}


def colours(models: Sequence[str]) -> dict[str, str]:
    """A colour for each model, dark to light with size."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.8, max(len(models), 2)))
    return {model: matplotlib.colors.to_hex(shade) for model, shade in zip(models, shades, strict=False)}


def shown_tokens(tokens: pd.Series) -> pd.Series:
    """Tokens for a logarithmic axis: 0 is drawn at half of the first positive count."""
    positive = tokens[tokens > 0]
    return tokens.astype(float).where(tokens > 0, float(positive.min()) / 2 if len(positive) else 1.0)


def tasks_in_order(cells: Sequence[CellData]) -> list[str]:
    """Tasks in the order of their names."""
    return sorted({cell.task for cell in cells})


def metric_name(task: str) -> str:
    """What the behaviour of a task is measured in."""
    return {"ioi": "logit difference", "gendered_pronoun": "logit difference"}.get(task, "probability difference")


def label(cell: CellData, cells: Sequence[CellData]) -> str:
    """A cell's name in a legend, with its seed where there are several."""
    several = len({(other.seed) for other in cells}) > 1
    return f"{cell.model} seed {cell.seed}" if several else cell.model


def draw_figures(cells: Sequence[CellData], folder: Path) -> list[Path]:
    """Write behaviour.png, roles.png and circuits.png (where there is a circuit) into a folder; returns their paths."""
    cells = in_order(list(cells))
    drawn = {"behaviour.png": behaviour_figure(cells), "roles.png": roles_figure(cells)}
    if any(len(cell.curve("circuit/edges")) for cell in cells):
        drawn["circuits.png"] = circuits_figure(cells)
    paths = []
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=150, metadata={"Software": None})
        paths.append(folder / name)
    return paths


def behaviour_figure(cells: Sequence[CellData]) -> Figure:
    """One panel a task; the band is the bootstrap interval over prompts."""
    tasks = tasks_in_order(cells)
    figure, axes = _panels(len(tasks), 2)
    shade = colours(models_in_order(list(cells)))
    for task, axis in zip(tasks, axes, strict=True):
        axis.axhline(0, color="#999999", lw=0.8, ls=":")
        for cell in (cell for cell in cells if cell.task == task and len(cell.curves)):
            x = shown_tokens(cell.curves["tokens"])
            own = without_duplicates(cell.curves)
            axis.plot(
                x[own.index],
                own["behaviour/value"],
                color=shade[cell.model],
                label=label(cell, cells),
                marker=".",
                ms=4,
                lw=1.5,
            )
            axis.fill_between(
                x[own.index], own["behaviour/low"], own["behaviour/high"], color=shade[cell.model], alpha=0.2, lw=0
            )
            _mark_duplicates(axis, x, cell.curves, "behaviour/value")
        _finish(axis, task.replace("_", " "), metric_name(task))
    return _with_legend(figure, axes[0])


def roles_figure(cells: Sequence[CellData]) -> Figure:
    """One panel a model: the strongest head of each role."""
    curves = {key: table for key, table in role_curves(list(cells)).items() if len(table)}
    figure, axes = _panels(len(curves), 2)
    for ((model, seed), table), axis in zip(curves.items(), axes, strict=True):
        axis.axhline(ROLE_THRESHOLD, color="#999999", lw=0.8, ls=":")
        x, own = shown_tokens(table["tokens"]), without_duplicates(table)
        for role, colour in zip(SHOWN_ROLES, ROLE_COLOURS, strict=True):
            if role in role_names(table):
                axis.plot(
                    x[own.index],
                    own[f"roles/{role}/max"],
                    color=colour,
                    label=role.replace("_", " "),
                    marker=".",
                    ms=4,
                    lw=1.5,
                )
                _mark_duplicates(axis, x, table, f"roles/{role}/max")
        axis.set_ylim(-0.03, 1.03)
        several = len({s for _, s in curves}) > 1
        _finish(axis, f"{model} seed {seed}" if several else model, "score of the strongest head")
    return _with_legend(figure, axes[0])


def circuits_figure(cells: Sequence[CellData]) -> Figure:
    """A row of panels a task: the circuit's share of all edges, and its overlap with the circuit before."""
    tasks = tasks_in_order(cells)
    figure, axes = _panels(3 * len(tasks), 3)
    shade = colours(models_in_order(list(cells)))
    quantities = {
        "circuit/edges_share": "share of all edges",
        "overlap/node_jaccard": "node Jaccard to the one before",
        "overlap/edge_jaccard": "edge Jaccard to the one before",
    }
    panels: list[tuple[str, str, str]] = [(task, name, words) for task in tasks for name, words in quantities.items()]
    for (task, name, words), axis in zip(panels, axes, strict=True):
        for cell in (cell for cell in cells if cell.task == task):
            known = cell.curves.dropna(subset=[name]) if name in cell.curves else pd.DataFrame({"tokens": [], name: []})
            x = _on_axis_of(cell)(known["tokens"])
            own = without_duplicates(known)
            axis.plot(
                x[own.index], own[name], label=label(cell, cells), color=shade[cell.model], marker=".", ms=4, lw=1.5
            )
            _mark_duplicates(axis, x, known, name)
            axis.set_xlim(*_range([other for other in cells if other.task == task]))
        axis.set_ylim(-0.03 if name.startswith("overlap") else 0, 1.03 if name.startswith("overlap") else None)
        _finish(axis, task.replace("_", " "), words)
    return _with_legend(figure, axes[0])


def _mark_duplicates(axis: Axes, x: pd.Series, curves: pd.DataFrame, name: str) -> None:
    """Crosses where checkpoints have the weights of another; lines leave them out."""
    wrong = is_duplicate(curves)
    if wrong.any():
        known = axis.get_legend_handles_labels()[1]
        label = None if DUPLICATES in known else DUPLICATES
        axis.scatter(
            x[wrong], curves.loc[wrong, name], marker="x", color="#d55e00", s=28, lw=1.2, zorder=3, label=label
        )


def _on_axis_of(cell: CellData) -> Callable[[pd.Series], pd.Series]:
    """Where token counts of a cell are drawn, 0 in the place that the cell's first positive count gives it."""
    places = dict(zip(cell.curves["tokens"], shown_tokens(cell.curves["tokens"]), strict=True))
    return lambda tokens: tokens.map(places)


def _range(cells: Sequence[CellData]) -> tuple[float, float]:
    every = pd.concat([shown_tokens(cell.curves["tokens"]) for cell in cells if len(cell.curves)])
    return float(every.min()) * 0.8, float(every.max()) * 1.25


def _panels(n: int, columns: int) -> tuple[Figure, list[Axes]]:
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows + 0.5), layout="constrained")
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for unused in axes[n:]:
        unused.set_axis_off()
    return figure, axes[:n]


def _finish(axis: Axes, title: str, quantity: str) -> None:
    axis.set_xscale("log")
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.set_xlabel("training tokens (0 at the left end)", fontsize=8)
    axis.set_ylabel(quantity, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25, lw=0.5)
    axis.spines[["top", "right"]].set_visible(False)


def _with_legend(figure: Figure, axis: Axes) -> Figure:
    """One legend for all panels, above them, so that it covers no data."""
    handles, labels = axis.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(figure.get_figwidth() / LEGEND_ENTRY)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)
    return figure
