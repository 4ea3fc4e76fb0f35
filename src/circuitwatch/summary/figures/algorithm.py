"""Whether a task's algorithm stays: the shares that stand for it, over tokens (2407.10827,
figure 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from circuitwatch.catalogue import Quantity
from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData, models_in_order
from circuitwatch.summary.figures.shared import (
    COLUMN,
    MARKERS,
    TEXT,
    TITLE,
    colour_of,
    finish,
    shown_tokens,
    token_ticks,
    wrapped,
)
from circuitwatch.summary.heads.algorithm import above_chance_from
from circuitwatch.summary.lines import Line
from circuitwatch.summary.panels import METRIC, Panel, Specification

MOST_MARKERS = 60
"""Checkpoints of a curve that are marked one by one."""
EMERGES = "behaviour emerges (95 %)"


def algorithm_figure(
    spec: Specification, cells: Sequence[CellData], emergence: pd.DataFrame
) -> Figure | None:
    """Above, the steps of the algorithm that the measures are of; then a row a model, a column a
    task that has measures: the shares, and in grey when the behaviour emerges.

    Where a share hangs on who holds a role, the shaded band is the least and the most over the
    roles' cut-offs, and bars are 95 % intervals; else the band is the interval. A thin line a seed,
    without either, where there are several. A panel without numbers says why. None where no task
    has measures.
    """
    measures = _measures_of(spec)
    tasks = [task for task in measures if any(cell.task == task for cell in cells)]
    if not tasks:
        return None
    models = models_in_order(list(cells))
    columns = len(tasks)
    figure = Figure(
        figsize=(max(COLUMN, COLUMN / 2 * columns), 1.2 * len(models) + 1.15), layout="constrained"
    )
    grid = figure.add_gridspec(1 + len(models), columns, height_ratios=[0.75, *[1.2] * len(models)])
    for column, task in enumerate(tasks):
        own = {panel.quantity.key: _colour(panel, k) for k, panel in enumerate(measures[task])}
        _draw_steps(figure.add_subplot(grid[0, column]), spec.facts, task, own)
    axes = np.array(
        [
            [figure.add_subplot(grid[1 + row, column]) for column in range(columns)]
            for row in range(len(models))
        ]
    )
    handles: dict[str, Any] = {}
    limits: list[list[float]] = [[] for _ in models]
    for column, task in enumerate(tasks):
        ends: list[float] = []
        for row, model in enumerate(models):
            axis = axes[row, column]
            of_task = [cell for cell in cells if (cell.model, cell.task) == (model, task)]
            thin = len(of_task) > 1
            for cell in of_task:
                ends += _emergence_band(axis, emergence, cell, handles)
            reached = [
                _draw_measure(axis, line, panel, colour, spec, handles, thin=thin)
                for panel, colour in ((p, _colour(p, k)) for k, p in enumerate(measures[task]))
                for line in panel.curves
                if line.model == model
            ]
            limits[row] += [end for panel in measures[task] for end in panel.limits]
            ends += [end for pair in reached for end in pair]
            if not reached:
                style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": TEXT}
                axis.text(0.5, 0.5, _why_empty(of_task), transform=axis.transAxes, **style)
            words = f"{model}, {spec.facts.task(task).words}"
            finish(axis, words, measures[task][0].axis.split(",")[0] if column == 0 else "")
            axis.set_xlabel("training tokens" if row == len(models) - 1 else "", fontsize=TEXT)
            axis.tick_params(labelleft=column == 0)
        for axis in axes[:, column]:
            axis.set_xlim(*((min(ends) * 0.85, max(ends) * 1.18) if ends else (1, 10)))
            token_ticks(axis)
    for of_model, known in zip(axes, limits, strict=True):
        for axis in of_model:
            axis.set_ylim(min(known), max(known))
    order = [_called(panel.quantity) for task in tasks for panel in measures[task]]
    names = sorted(handles, key=lambda name: order.index(name) if name in order else len(order))
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside lower center",
        ncols=2,
        fontsize=TEXT,
        frameon=False,
        handlelength=1.4,
        columnspacing=0.9,
    )
    return figure


def _measures_of(spec: Specification) -> dict[str, list[Panel]]:
    """The panels of each task that has measures of its own, these first; then what is measured in
    every task and has a name for a legend.
    """
    section = spec.sections.get("algorithm")
    found: dict[str, list[Panel]] = {}
    for task in spec.lines.tasks():
        panels = [panel for panel in section.panels if panel.task == task] if section else []
        known = spec.facts.task(task).quantities
        own = [panel for panel in panels if panel.quantity.key in known]
        if own:
            found[task] = own + [p for p in panels if p not in own and p.quantity.label]
    return found


def _colour(panel: Panel, place: int) -> str:
    return colour_of(panel.quantity, place)


def _called(quantity: Quantity) -> str:
    return quantity.label or quantity.words


def _draw_steps(axis: Axes, facts: Facts, name: str, colours: dict[str, str]) -> None:
    """A task's algorithm as boxes and arrows; each arrow is the path whose share a curve of that
    colour shows.
    """
    task = facts.task(name)
    places = np.linspace(0.1, 0.9, max(len(task.steps), 2))
    for place, (box, _, _) in zip(places, task.steps, strict=False):
        axis.text(
            place,
            0.3,
            "\n".join(wrapped(part) for part in box.split("\n")),
            ha="center",
            va="center",
            fontsize=TEXT - 1.5,
            bbox={"boxstyle": "round,pad=0.25", "fc": "#f2f2f2", "ec": "#999999", "lw": 0.5},
        )
    for (left, right), (_, words, key) in zip(pairwise(places), task.steps, strict=False):
        colour = colours.get(key) or facts.quantity(key).colour or "#777777"
        arrow = {"arrowstyle": "->", "color": colour, "lw": 1.2}
        axis.annotate("", (right - 0.03, 0.62), (left + 0.03, 0.62), arrowprops=arrow)
        style: dict[str, Any] = {
            "ha": "center",
            "va": "bottom",
            "fontsize": TEXT - 1,
            "color": colour,
        }
        axis.text((left + right) / 2, 0.7, words, **style)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_axis_off()
    axis.set_title(task.words, loc="left", fontsize=TITLE, fontweight="bold", pad=1)


def _draw_measure(
    axis: Axes,
    line: Line,
    panel: Panel,
    colour: str,
    spec: Specification,
    handles: dict[str, Any],
    *,
    thin: bool,
) -> tuple[float, float]:
    """Draw a share; returns where it begins and ends."""
    own = panel.quantity.key in spec.facts.task(panel.task).quantities
    at = shown_tokens(line.tokens)
    marker = panel.quantity.marker or MARKERS[0]
    (drawn,) = axis.plot(
        at,
        line.values,
        color=colour,
        lw=0.6 if thin else 1.0,
        ls="-" if own else (0, (4, 2)),
        marker=None if thin or at.size > MOST_MARKERS else marker,
        ms=2,
    )
    handles.setdefault(_called(panel.quantity), drawn)
    if not thin and line.least is not None and line.most is not None:
        axis.fill_between(at, line.least, line.most, color=colour, alpha=0.18, lw=0)
        handles["over cut-offs 0.1–0.9"] = Patch(fc=colour, alpha=0.25)
        if line.low is not None and line.high is not None:
            axis.vlines(at, line.low, line.high, color=colour, lw=0.5, alpha=0.7)
    elif not thin and line.low is not None and line.high is not None:
        axis.fill_between(at, line.low, line.high, color=colour, alpha=0.12, lw=0)
    return float(at.min()), float(at.max())


def _emergence_band(
    axis: Axes, emergence: pd.DataFrame, cell: CellData, handles: dict[str, Any]
) -> list[float]:
    """A behaviour's emergence point as a line and its interval as a band; returns their ends."""
    if emergence.empty:
        return []
    found = emergence[
        (emergence["model"] == cell.model)
        & (emergence["seed"] == cell.seed)
        & (emergence["task"] == cell.task)
        & (emergence["quantity"] == METRIC)
        & (emergence["status"] == "emerged")
    ]
    if found.empty:
        return []
    row = found.iloc[0]
    low = float(row["tokens_low"]) if pd.notna(row["tokens_low"]) else float(row["tokens"])
    high = float(row["tokens_high"]) if pd.notna(row["tokens_high"]) else float(row["last_tokens"])
    axis.axvspan(max(low, 1.0), high, color="#999999", alpha=0.3, lw=0)
    axis.axvline(float(row["tokens"]), color="#555555", lw=1.0, ls=(0, (4, 2)))
    handles[EMERGES] = Patch(fc="#999999", alpha=0.4)
    return [max(low, 1.0), high]


def _why_empty(cells: Sequence[CellData]) -> str:
    if not cells:
        return "no such cell"
    if all(above_chance_from(cell.curves).empty for cell in cells):
        return "behaviour never above chance"
    return "not measured"
