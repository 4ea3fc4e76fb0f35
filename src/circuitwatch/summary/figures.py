"""Figures of a sweep: behaviour and circuits over training tokens, and what all figures share (heads_figures and stability_figures have the others)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from circuitwatch.summary.tables import CellData, is_duplicate, models_in_order, without_duplicates

WIDTH, HEIGHT = 3.9, 2.9
"""Inches of one panel."""
LEGEND_ENTRY = 1.7
"""Inches that an entry of a legend needs."""
NAMELESS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
}
"""What each format would say of when and by what it was made."""
FORMATS = tuple(NAMELESS)
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


def format_tokens(tokens: Any) -> str:
    """1234567 → 1.23M; nothing for a value that does not exist."""
    if tokens is None or pd.isna(tokens):
        return ""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{letter}"
    return f"{tokens:.0f}"


def format_interval(low: Any, high: Any) -> str:
    """1.2M – 3M; an upper end that is missing lies beyond the last checkpoint. Nothing where both are missing."""
    if pd.isna(low) and pd.isna(high):
        return ""
    return f"{format_tokens(low) or '0'} – {format_tokens(high) or 'beyond'}"


def in_words(name: str) -> str:
    """A task's or role's name as it is read: s_inhibition → S-inhibition."""
    return {"ioi": "IOI", "s_inhibition": "S-inhibition"}.get(name, name.replace("_", " "))


def quantity_in_words(name: str) -> str:
    """A quantity of the emergence table as it is read: behaviour/value → behaviour, roles/induction/max → induction."""
    ours = {"behaviour/value": "behaviour", "circuit/found": "a circuit"}
    return ours.get(name, in_words(name.removeprefix("behaviour/").removeprefix("roles/").removesuffix("/max")))


def token_ticks(axis: Axes) -> None:
    """Ticks of a logarithmic token axis as 100k, 1M; in between as well where the axis is less than two decades long."""
    low, high = axis.get_xlim()
    between = (1.0, 2.0, 3.0, 4.0, 6.0) if high < 6 * low else (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(subs=between, numticks=8))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: format_tokens(tokens)))
    axis.xaxis.set_minor_formatter(NullFormatter())


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


def save_figures(drawn: Mapping[str, Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write each figure as <name>.png, .svg and .pdf into a folder; the same figure gives the same bytes. Returns the paths."""
    nameless = {ending: NAMELESS[ending] for ending in formats}
    paths = []
    with matplotlib.rc_context({"svg.hashsalt": "circuitwatch"}):
        for name, figure in drawn.items():
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # it has laid the figure out, and need not do it again for every format
            for ending, metadata in nameless.items():
                path = folder / f"{name}.{ending}"
                figure.savefig(path, dpi=150, metadata=metadata)
                paths.append(path)
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
            mark_duplicates(axis, x, cell.curves, "behaviour/value")
        finish(axis, task.replace("_", " "), metric_name(task))
    return with_legend(figure, axes[0])


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
            mark_duplicates(axis, x, known, name)
            axis.set_xlim(*_range([other for other in cells if other.task == task]))
        axis.set_ylim(-0.03 if name.startswith("overlap") else 0, 1.03 if name.startswith("overlap") else None)
        finish(axis, task.replace("_", " "), words)
    return with_legend(figure, axes[0])


def mark_duplicates(axis: Axes, x: pd.Series, curves: pd.DataFrame, name: str) -> None:
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


def finish(axis: Axes, title: str, quantity: str) -> None:
    """A panel's title, logarithmic token axis, and the name of what is shown."""
    axis.set_xscale("log")
    token_ticks(axis)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.set_xlabel("training tokens (0 at the left end)", fontsize=8)
    axis.set_ylabel(quantity, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25, lw=0.5)
    axis.spines[["top", "right"]].set_visible(False)


def with_legend(figure: Figure, axis: Axes) -> Figure:
    """One legend for all panels, above them, so that it covers no data."""
    handles, labels = axis.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(figure.get_figwidth() / LEGEND_ENTRY)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)
    return figure
