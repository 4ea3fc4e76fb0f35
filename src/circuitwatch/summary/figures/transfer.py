"""Circuits of one checkpoint, or of one task, imposed on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData, models_in_order
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TITLE
from circuitwatch.summary.heads.transfer import matrix, over_checkpoints
from circuitwatch.units import format_tokens

MAP = "RdBu"
MOST_TICKS = 4


def transfer_figure(
    transfer: pd.DataFrame,
    specificity: pd.DataFrame,
    cells: Sequence[CellData],
    facts: Facts,
) -> Figure:
    """A row a model: for each task faithfulness by circuit's checkpoint (up) and model's checkpoint
    (right), then task × task.

    White is the corrupted behaviour, full blue the whole model's, red worse than corrupted; grey
    was not evaluated; dots are circuits on their own checkpoint. Over several seeds each square is
    the median of those that have it.
    """
    models = [model for model in models_in_order(list(cells)) if model in set(transfer["model"])]
    tasks = sorted(
        over_checkpoints(transfer)["task"].unique(),
        key=lambda task: (facts.task(task).place, task),
    )
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
                    f"{model}\n{facts.task(task).words}: no circuit",
                    loc="left",
                    fontsize=TITLE - 0.5,
                    fontweight="bold",
                )
                continue
            picture = _matrix(axis, own)
            axis.set_title(
                f"{model}\n{facts.task(task).words}",
                loc="left",
                fontsize=TITLE - 0.5,
                fontweight="bold",
            )
            axis.set_xlabel("model at (tokens)", fontsize=TEXT)
            axis.set_ylabel("circuit of (tokens)" if column == 0 else "", fontsize=TEXT)
        if len(specificity):
            own = specificity[specificity["model"] == model]
            _task_table(axes[row, -1], own, facts)
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


def _task_table(axis: Axes, own: pd.DataFrame, facts: Facts) -> None:
    """Faithfulness [circuit's task, prompts' task], with its numbers."""
    values = "last" if own["last"].notna().any() else "mean"
    table = own.pivot_table(
        index="circuit_task", columns="task", values=values, aggfunc="median", dropna=False
    )
    order = sorted(table.index, key=lambda task: (facts.task(task).place, task))
    table = table.reindex(index=order, columns=[task for task in order if task in table.columns])
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
        range(len(table.columns)),
        [facts.task(name).words for name in table.columns],
        fontsize=TEXT - 1,
    )
    axis.set_yticks(
        range(len(table.index)), [facts.task(name).words for name in table.index], fontsize=TEXT - 1
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
