"""Whether a task's algorithm stays: its steps as boxes and arrows, and below them the shares of
effects that stand for these, a row a model, a column a task.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitwatch.summary.charts.algorithm import Algorithm, Steps
from circuitwatch.summary.figures.curves import draw_panel, legends
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TITLE, TOKENS, wrapped


def algorithm_figure(chart: Algorithm) -> Figure:
    """Each arrow has the colour of the curve that stands for it."""
    columns = chart.choice.columns
    rows = len(chart.choice.panels) // columns
    figure = Figure(
        figsize=(max(COLUMN, COLUMN / 2 * columns), 1.2 * rows + 1.45), layout="constrained"
    )
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[0.75, *[1.2] * rows])
    for column, steps in enumerate(chart.steps):
        _draw_steps(figure.add_subplot(grid[0, column]), steps)
    for place, panel in enumerate(chart.choice.panels):
        row, column = divmod(place, columns)
        axis = figure.add_subplot(grid[1 + row, column])
        draw_panel(axis, panel)
        axis.set_xlabel(TOKENS if row == rows - 1 else "", fontsize=TEXT)
        axis.set_ylabel(wrapped(panel.axis) if column == 0 else "", fontsize=TEXT)
        axis.tick_params(labelleft=column == 0)
    legends(figure, chart.choice)
    return figure


def _draw_steps(axis: Axes, steps: Steps) -> None:
    places = np.linspace(0.1, 0.9, max(len(steps.boxes), 2))
    style: dict[str, Any] = {"ha": "center"}
    box = {"boxstyle": "round,pad=0.25", "fc": "#f2f2f2", "ec": "#999999", "lw": 0.5}
    for place, words in zip(places, steps.boxes, strict=False):
        said = "\n".join(wrapped(part) for part in words.split("\n"))
        axis.text(place, 0.3, said, va="center", fontsize=TEXT - 1.5, bbox=box, **style)
    for (left, right), (words, colour) in zip(pairwise(places), steps.arrows, strict=False):
        arrow = {"arrowstyle": "->", "color": colour, "lw": 1.2}
        axis.annotate("", (right - 0.03, 0.62), (left + 0.03, 0.62), arrowprops=arrow)
        middle = (left + right) / 2
        axis.text(middle, 0.7, words, va="bottom", fontsize=TEXT - 1, color=colour, **style)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_axis_off()
    axis.set_title(steps.words, loc="left", fontsize=TITLE, fontweight="bold", pad=1)
