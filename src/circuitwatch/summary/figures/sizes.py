"""Figures against model size: when something emerges, with intervals and limits, and how large its
circuits are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.figures.shared import (
    TEXT,
    finish,
    panels,
)
from circuitwatch.summary.panels import Specification
from circuitwatch.units import format_tokens

MOST_PANELS = 12
"""Tasks of a figure: those of the most models."""
MEAN = "mean size over checkpoints with a circuit"


def emergence_figure(
    emergence: pd.DataFrame, scaling: pd.DataFrame, quantity: str, spec: Specification
) -> Figure | None:
    """One panel a task: tokens of emergence against parameters; none without an emergence point or
    a limit of two sizes.

    A dot with its 95 % interval where it emerged; a hollow triangle for a limit, up: not by the
    last checkpoint, down: there at the first; the dashed line is the trend that counts them as
    such.
    """
    rows = emergence[(emergence["quantity"] == quantity) & emergence["params_total"].notna()]
    limits = rows["status"].isin(["emerged", "never"]) | (
        (rows["status"] == "already") & (rows["first_tokens"] > 0)
    )
    rows = rows[limits]
    sizes = rows.groupby("task")["model"].nunique().sort_values(ascending=False, kind="stable")
    tasks = sorted(sizes.index[:MOST_PANELS], key=lambda task: (spec.facts.task(task).place, task))
    if not tasks or rows["model"].nunique() < 2:
        return None
    figure, axes = panels(len(tasks), 2)
    facts, shade = spec.facts, spec.colours
    for task, axis in zip(tasks, axes, strict=True):
        own = rows[rows["task"] == task]
        for _, row in own.iterrows():
            colour = shade[row["model"]]
            if row["status"] == "emerged":
                high = row["tokens_high"] if pd.notna(row["tokens_high"]) else row["last_tokens"]
                low = row["tokens_low"] if row["tokens_low"] > 0 else row["tokens"] / 2
                axis.plot([row["params_total"]] * 2, [low, high], color=colour, lw=1.2)
                axis.plot(row["params_total"], row["tokens"], "o", color=colour, ms=4)
            else:
                up = row["status"] == "never"
                at = row["last_tokens"] if up else row["first_tokens"]
                axis.plot(row["params_total"], at, "^" if up else "v", mfc="none", mec=colour, ms=5)
        _trend_line(axis, scaling, task, quantity, "tokens of emergence", own["params_total"])
        words = facts.words(quantity) if task == NO_TASK else facts.task(task).words
        _finish_sizes(axis, words, "tokens of emergence")
    return figure


def circuit_sizes_figure(
    scaling: pd.DataFrame, quantity: str, spec: Specification
) -> Figure | None:
    """One panel a task: the mean of a circuit's size against parameters, a dot a model and seed.

    None for fewer than two sizes.
    """
    facts, params = spec.facts, spec.lines.params
    points = {
        task: [line for line in panel.curves if line.model in params]
        for task, panel in spec.panels(quantity).items()
    }
    points = {task: lines for task, lines in points.items() if lines}
    if len({params[line.model] for lines in points.values() for line in lines}) < 2:
        return None
    figure, axes = panels(len(points), 2)
    for (task, lines), axis in zip(points.items(), axes, strict=True):
        x = [params[line.model] for line in lines]
        means = [float(line.values.mean()) for line in lines]
        shades = [spec.colours[line.model] for line in lines]
        axis.scatter(x, means, c=shades, s=14, zorder=3)
        _trend_line(axis, scaling, task, quantity, MEAN, x)
        _finish_sizes(axis, facts.task(task).words, f"mean {facts.words(quantity)}")
    return figure


def _trend_line(
    axis: Axes,
    scaling: pd.DataFrame,
    task: str,
    quantity: str,
    of: str,
    params: pd.Series | Sequence[float],
) -> None:
    """The fitted line, with its slope, where there is one."""
    if scaling.empty:
        return
    found = scaling[
        (scaling["task"] == task) & (scaling["quantity"] == quantity) & (scaling["of"] == of)
    ]
    if found.empty or found.iloc[0]["status"] != "fitted":
        return
    row = found.iloc[0]
    x = np.array([min(params), max(params)], dtype=float)
    axis.plot(
        x,
        np.exp(row["intercept"] + row["slope"] * np.log(x)),
        color="#777777",
        lw=0.8,
        ls=(0, (4, 2)),
        zorder=1,
    )
    ends = [
        f"{row[name]:.2f}" if pd.notna(row[name]) else "?" for name in ("slope_low", "slope_high")
    ]
    said = f"slope {row['slope']:.2f} [{ends[0]}, {ends[1]}]".replace("-", "−")
    axis.text(
        0.98,
        0.98,
        said,
        transform=axis.transAxes,
        ha="right",
        va="top",
        fontsize=TEXT - 0.5,
        color="#555555",
    )


def _finish_sizes(axis: Axes, title: str, quantity: str) -> None:
    axis.margins(x=0.12, y=0.2)
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    between = (
        (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        if high < 6 * low
        else (1.0, 2.0, 5.0)
        if high < 100 * low
        else (1.0,)
    )
    axis.yaxis.set_major_locator(LogLocator(subs=between, numticks=6))
    axis.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: format_tokens(value) if value >= 1000 else f"{value:.3g}")
    )
    axis.yaxis.set_minor_formatter(NullFormatter())
    finish(axis, title, quantity, "parameters")
