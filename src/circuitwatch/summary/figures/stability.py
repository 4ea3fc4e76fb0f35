"""Figures of what stays: the algorithm's shares over tokens, and circuits of one checkpoint, or of
one task, on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from circuitwatch.summary.figures.shared import (
    COLUMN,
    TEXT,
    TITLE,
    finish,
    in_words,
    shown_tokens,
    token_ticks,
)
from circuitwatch.summary.heads.algorithm import above_chance_from
from circuitwatch.summary.heads.bands import BANDED, MEASURES, band_of
from circuitwatch.summary.heads.transfer import matrix, over_checkpoints
from circuitwatch.summary.tables import CellData, models_in_order
from circuitwatch.units import format_tokens

MEASURE_STYLES: dict[str, tuple[str, str, str]] = {
    "B": ("#0072b2", "o", "B: name movers → logits"),
    "C": ("#e69f00", "s", "C: S-inhib. → name movers"),
    "D": ("#009e73", "^", "D: induction, dupl. → S-inhib."),
    "year_attention": ("#cc79a7", "o", "attention to the start year"),
    "year_lens": ("#56b4e9", "s", "logit lens at the start year"),
    "mlp_push": ("#d55e00", "^", "MLPs raise later years"),
    "unexplained": ("#000000", "x", "no role (unexplained)"),
}
SHOWN = (-0.5, 1.6)
"""Shares beyond these are cut off, so that one odd checkpoint doesn't flatten the panel."""
MAP = "RdBu"
MOST_TICKS = 4


def algorithm_figure(
    cells: Sequence[CellData], emergence: pd.DataFrame, bands: pd.DataFrame
) -> Figure:
    """Above, the circuits that the measures are of; then a row a model, a column a task: the
    shares, and in grey when the behaviour emerges.

    Of B, C and D the shaded band is the least and the most over the roles' cut-offs, and bars are
    95 % intervals; of the others the band is the interval. A thin line a seed, without either,
    where there are several. A panel without numbers says why.
    """
    models = models_in_order(list(cells))
    tasks = [task for task in MEASURES if any(cell.task == task for cell in cells)]
    columns = max(len(tasks), 1)
    figure = Figure(figsize=(COLUMN, 1.2 * len(models) + 1.15), layout="constrained")
    grid = figure.add_gridspec(1 + len(models), columns, height_ratios=[0.75, *[1.2] * len(models)])
    for column, task in enumerate(tasks):
        _draw_algorithm(figure.add_subplot(grid[0, column]), task)
    axes = np.array(
        [
            [figure.add_subplot(grid[1 + row, column]) for column in range(columns)]
            for row in range(len(models))
        ]
    )
    shown: dict[str, Any] = {}
    limits: list[list[float]] = [[0.0, 1.0] for _ in models]
    for column, task in enumerate(tasks):
        ends = []
        for row, model in enumerate(models):
            axis = axes[row, column]
            own = [cell for cell in cells if (cell.model, cell.task) == (model, task)]
            drawn: list[float] = []
            for cell in own:
                ends += _emergence_band(axis, emergence, cell, shown)
                drawn += _measures(axis, cell, bands, shown, thin=len(own) > 1)
            ends += drawn
            if not drawn:
                axis.text(
                    0.5,
                    0.5,
                    _why_empty(own),
                    transform=axis.transAxes,
                    ha="center",
                    va="center",
                    fontsize=TEXT,
                )
            finish(axis, f"{model}, {in_words(task)}", "share" if column == 0 else "")
            axis.set_xlabel("training tokens" if row == len(models) - 1 else "", fontsize=TEXT)
            axis.tick_params(labelleft=column == 0)
            limits[row] += list(axis.dataLim.intervaly) if drawn else []
        for axis in axes[:, column]:
            axis.set_xlim(*((min(ends) * 0.85, max(ends) * 1.18) if ends else (1, 10)))
            token_ticks(axis)
    for own_axes, known in zip(axes, limits, strict=True):
        for axis in own_axes:
            axis.set_ylim(max(min(known), SHOWN[0]) - 0.04, min(max(known), SHOWN[1]) + 0.04)
    if any(cell.task == "ioi" for cell in cells):
        shown["over cut-offs 0.1–0.9 (B, C, D)"] = Patch(fc=MEASURE_STYLES["B"][0], alpha=0.25)
    order = [words for _, _, words in MEASURE_STYLES.values()]
    names = sorted(shown, key=lambda name: order.index(name) if name in order else len(order))
    if names:
        figure.legend(
            [shown[name] for name in names],
            names,
            loc="outside lower center",
            ncols=2,
            fontsize=TEXT,
            frameon=False,
            handlelength=1.4,
            columnspacing=0.9,
        )
    return figure


def _draw_algorithm(axis: Axes, task: str) -> None:
    """The circuit of a task as boxes and arrows; each arrow is the path whose share a curve of that
    colour shows.
    """
    steps: dict[str, tuple[list[str], list[str]]] = {
        "ioi": (["induction,\nduplicate", "S-inhib.", "name\nmovers", "logits"], ["D", "C", "B"]),
        "greater_than": (
            ["start\nyear", "year\nheads", "MLPs", "logits"],
            ["year_attention", "year_lens", "mlp_push"],
        ),
    }
    boxes, arrows = steps[task]
    places = np.linspace(0.1, 0.9, len(boxes))
    for place, words in zip(places, boxes, strict=True):
        axis.text(
            place,
            0.3,
            words,
            ha="center",
            va="center",
            fontsize=TEXT - 1.5,
            bbox={"boxstyle": "round,pad=0.25", "fc": "#f2f2f2", "ec": "#999999", "lw": 0.5},
        )
    for (left, right), name in zip(pairwise(places), arrows, strict=True):
        colour = MEASURE_STYLES[name][0]
        axis.annotate(
            "",
            (right - 0.03, 0.62),
            (left + 0.03, 0.62),
            arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2},
        )
        words = {"year_attention": "attend", "year_lens": "say year", "mlp_push": "raise"}.get(
            name, name
        )
        axis.text(
            (left + right) / 2,
            0.7,
            words,
            ha="center",
            va="bottom",
            fontsize=TEXT - 1,
            color=colour,
        )
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_axis_off()
    axis.set_title(in_words(task), loc="left", fontsize=TITLE, fontweight="bold", pad=1)


def transfer_figure(
    transfer: pd.DataFrame, specificity: pd.DataFrame, cells: Sequence[CellData]
) -> Figure:
    """A row a model: for each task faithfulness by circuit's checkpoint (up) and model's checkpoint
    (right), then task × task.

    White is the corrupted behaviour, full blue the whole model's, red worse than corrupted; grey
    was not evaluated; dots are circuits on their own checkpoint. Over several seeds each square is
    the median of those that have it.
    """
    models = [model for model in models_in_order(list(cells)) if model in set(transfer["model"])]
    tasks = sorted(over_checkpoints(transfer)["task"].unique())
    columns = len(tasks) + bool(len(specificity))
    figure = Figure(figsize=(2 * COLUMN, 1.75 * len(models) + 0.55), layout="constrained")
    widths = [1.0] * len(tasks) + [1.35] * bool(len(specificity))
    axes = figure.subplots(
        len(models), columns, squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    picture: AxesImage | None = None
    for row, model in enumerate(models):
        for column, task in enumerate(tasks):
            own = over_checkpoints(
                transfer[(transfer["model"] == model) & (transfer["task"] == task)]
            )
            axis = axes[row, column]
            if own.empty:
                axis.set_axis_off()
                axis.set_title(
                    f"{model}\n{in_words(task)}: no circuit",
                    loc="left",
                    fontsize=TITLE - 0.5,
                    fontweight="bold",
                )
                continue
            picture = _matrix(axis, own)
            axis.set_title(
                f"{model}\n{in_words(task)}", loc="left", fontsize=TITLE - 0.5, fontweight="bold"
            )
            axis.set_xlabel("model at (tokens)", fontsize=TEXT)
            axis.set_ylabel("circuit of (tokens)" if column == 0 else "", fontsize=TEXT)
        if len(specificity):
            own = specificity[specificity["model"] == model]
            _task_table(axes[row, -1], own)
            axes[row, -1].set_title(
                f"{model}\ntasks, {_when(own)}", loc="left", fontsize=TITLE - 0.5, fontweight="bold"
            )
    if picture is not None:
        bar = figure.colorbar(
            picture, ax=axes, extend="both", location="bottom", shrink=0.5, pad=0.03, aspect=40
        )
        bar.set_label("faithfulness (0: corrupted, 1: whole model)", fontsize=TEXT)
        bar.ax.tick_params(labelsize=TEXT)
    return figure


def _measures(
    axis: Axes, cell: CellData, bands: pd.DataFrame, shown: dict[str, Any], *, thin: bool
) -> list[float]:
    """Draw a cell's shares; returns where they begin and end."""
    there = above_chance_from(cell.curves)
    x = pd.Series(shown_tokens(cell.curves["tokens"]).to_numpy(), index=cell.curves["step"])
    ends: list[float] = []
    for name in (*MEASURES[cell.task], "unexplained"):
        known = band_of(bands, cell, name).reindex(there["step"]).dropna(subset=["value"])
        if known.empty:
            continue
        colour, marker, words = MEASURE_STYLES[name]
        at = x[known.index]
        style: dict[str, Any] = {
            "color": colour,
            "lw": 0.6 if thin else 1.0,
            "ls": "-" if name in MEASURES[cell.task] else (0, (4, 2)),
        }
        (line,) = axis.plot(
            at, known["value"], marker=None if thin or len(known) > 60 else marker, ms=2, **style
        )
        if not thin and name in BANDED:
            axis.fill_between(at, known["least"], known["most"], color=colour, alpha=0.18, lw=0)
            axis.vlines(at, known["low"], known["high"], color=colour, lw=0.5, alpha=0.7)
        elif not thin:
            axis.fill_between(at, known["low"], known["high"], color=colour, alpha=0.12, lw=0)
        shown[words] = line
        ends += [float(at.min()), float(at.max())]
    return ends


def _emergence_band(
    axis: Axes, emergence: pd.DataFrame, cell: CellData, shown: dict[str, Any]
) -> list[float]:
    """The moment of a behaviour's emergence as a line and its interval as a band; returns their
    ends.
    """
    found = emergence[
        (emergence["model"] == cell.model)
        & (emergence["seed"] == cell.seed)
        & (emergence["task"] == cell.task)
        & (emergence["quantity"] == "behaviour/value")
        & (emergence["status"] == "emerged")
    ]
    if found.empty:
        return []
    row = found.iloc[0]
    low = float(row["tokens_low"]) if pd.notna(row["tokens_low"]) else float(row["tokens"])
    high = float(row["tokens_high"]) if pd.notna(row["tokens_high"]) else float(row["last_tokens"])
    axis.axvspan(max(low, 1.0), high, color="#999999", alpha=0.3, lw=0)
    axis.axvline(float(row["tokens"]), color="#555555", lw=1.0, ls=(0, (4, 2)))
    shown["behaviour emerges (95 %)"] = Patch(fc="#999999", alpha=0.4)
    return [max(low, 1.0), high]


def _why_empty(cells: Sequence[CellData]) -> str:
    if not cells:
        return "no such cell"
    if all(above_chance_from(cell.curves).empty for cell in cells):
        return "behaviour never above chance"
    return "not measured"


def _matrix(axis: Axes, own: pd.DataFrame) -> AxesImage:
    """Faithfulness [circuit, model], one square a checkpoint, the earliest at the bottom left."""
    table = matrix(own).dropna(how="all").dropna(axis=1, how="all")
    picture = _squares(axis, table.to_numpy(dtype=float), origin="lower")
    for at, place in ((table.columns, axis.set_xticks), (table.index, axis.set_yticks)):
        chosen = np.unique(
            np.linspace(0, len(at) - 1, min(MOST_TICKS, len(at))).round().astype(int)
        )
        place(chosen, [format_tokens(at[i]) or "0" for i in chosen], fontsize=TEXT - 1)
    axis.tick_params(axis="x", rotation=45)
    on_its_own = table.index.intersection(table.columns)
    axis.scatter(
        table.columns.get_indexer(on_its_own),
        table.index.get_indexer(on_its_own),
        s=2.5,
        color="#000000",
        lw=0,
    )
    return picture


def _task_table(axis: Axes, own: pd.DataFrame) -> None:
    """Faithfulness [circuit's task, prompts' task], with its numbers."""
    values = "last" if own["last"].notna().any() else "mean"
    table = own.pivot_table(
        index="circuit_task", columns="task", values=values, aggfunc="median", dropna=False
    )
    numbers = table.to_numpy(dtype=float)
    _squares(axis, numbers, origin="upper")
    for (row, column), value in np.ndenumerate(numbers):
        if np.isfinite(value):
            dark = abs(value) > 0.6
            axis.text(
                column,
                row,
                f"{round(value, 2) + 0.0:.2f}".replace("-", "−"),
                ha="center",
                va="center",
                fontsize=TEXT - 1.5,
                color="#ffffff" if dark else "#000000",
            )
    axis.set_xticks(
        range(len(table.columns)), [in_words(name) for name in table.columns], fontsize=TEXT - 1
    )
    axis.set_yticks(
        range(len(table.index)), [in_words(name) for name in table.index], fontsize=TEXT - 1
    )
    axis.tick_params(axis="x", rotation=45)
    for text in axis.get_xticklabels():
        text.set(ha="right", rotation_mode="anchor")
    axis.set_xlabel("prompts of", fontsize=TEXT)
    axis.set_ylabel("circuit of", fontsize=TEXT)


def _when(own: pd.DataFrame) -> str:
    last = own["last_tokens"].dropna()
    return f"at {format_tokens(last.max())}" if len(last) else "mean"


def _squares(axis: Axes, values: Any, origin: Any) -> AxesImage:
    colours = matplotlib.colormaps[MAP].with_extremes(bad="#cccccc")
    picture = axis.imshow(
        np.ma.masked_invalid(values),
        origin=origin,
        cmap=colours,
        norm=CenteredNorm(0, halfrange=1),
        aspect="auto",
        interpolation="nearest",
    )
    axis.spines[:].set_visible(False)
    return picture
