"""Circuits of one checkpoint, or of one task, imposed on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from circuitwatch.summary.charts.looks import FAITH, MISSING
from circuitwatch.summary.charts.matrices import Matrix
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TITLE

MOST_TICKS = 4
DARK = 0.6
"""Squares beyond this have white numbers."""


def transfer_figure(rows: Sequence[Sequence[Matrix]]) -> Figure | None:
    """A row a model: faithfulness by the circuit's checkpoint (up) and the model's (right) for each
    task, then task × task. None without a row.

    White is the corrupted behaviour, full blue the whole model's, red worse than corrupted; grey
    was not evaluated; dots are circuits on their own checkpoint.
    """
    if not rows:
        return None
    columns = max(map(len, rows))
    figure = Figure(figsize=(2 * COLUMN, 1.75 * len(rows) + 0.55), layout="constrained")
    wide = [1.35 if any(row[k:] and row[k].numbers for row in rows) else 1.0 for k in
            range(columns)]  # fmt: skip
    axes = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"width_ratios": wide})
    picture: AxesImage | None = None
    for row, beside in zip(rows, axes, strict=True):
        for place, axis in enumerate(beside):
            if place >= len(row):
                axis.set_axis_off()
                continue
            drawn = _draw(axis, row[place], first=place == 0)
            picture = drawn or picture
    if picture is not None:
        bar = figure.colorbar(
            picture, ax=axes, extend="both", location="bottom", shrink=0.5, pad=0.03, aspect=40
        )
        bar.set_label("faithfulness (0: corrupted, 1: whole model)", fontsize=TEXT)
        bar.ax.tick_params(labelsize=TEXT)
    return figure


def _draw(axis: Axes, one: Matrix, *, first: bool) -> AxesImage | None:
    model, _, what = one.title.partition(", ")
    style: dict[str, Any] = {"fontsize": TITLE - 0.5, "fontweight": "bold"}
    axis.set_title(f"{model}\n{what}", loc="left", **style)
    if not one.values.size:
        axis.set_axis_off()
        axis.text(0, 0.9, one.empty, transform=axis.transAxes, fontsize=TEXT, va="top")
        return None
    colours = LinearSegmentedColormap.from_list("faith", list(FAITH)).with_extremes(bad=MISSING)
    picture = axis.imshow(
        np.ma.masked_invalid(one.values),
        origin="lower" if one.upwards else "upper",
        cmap=colours,
        norm=CenteredNorm(0, halfrange=1),
        aspect="auto",
        interpolation="nearest",
    )
    axis.spines[:].set_visible(False)
    if one.numbers:
        for (row, column), value in np.ndenumerate(one.values):
            if np.isfinite(value):
                colour = "#ffffff" if abs(value) > DARK else "#000000"
                said: dict[str, Any] = {
                    "ha": "center",
                    "va": "center",
                    "fontsize": TEXT - 1.5,
                    "color": colour,
                }
                axis.text(column, row, f"{round(value, 2) + 0.0:.2f}".replace("-", "−"), **said)
    for names, place in ((one.columns, axis.set_xticks), (one.rows, axis.set_yticks)):
        most = len(names) if one.numbers else min(MOST_TICKS, len(names))
        chosen = np.unique(np.linspace(0, len(names) - 1, most).round().astype(int))
        place(chosen, [names[k] for k in chosen], fontsize=TEXT - 1)
    axis.tick_params(axis="x", rotation=45)
    if one.numbers:
        for text in axis.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    own = np.array(one.diagonal).reshape(-1, 2)
    axis.scatter(own[:, 1], own[:, 0], s=2.5, color="#000000", lw=0)
    axis.set_xlabel(one.column_axis, fontsize=TEXT)
    axis.set_ylabel(one.row_axis if first or one.numbers else "", fontsize=TEXT)
    return picture
