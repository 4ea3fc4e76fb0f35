"""When things emerged: sizes beside each other over training tokens, and against model size.

An interval that goes on beyond what was seen ends in an arrow; a hollow triangle is a limit and
points to where the emergence point must lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitwatch.summary.charts.emergence import Emergence, Point, Sizes, limit_keys
from circuitwatch.summary.figures.shared import (
    COLUMN,
    MOST_TICKS,
    TEXT,
    count_ticks,
    finish,
    legend,
    panels,
    wrapped,
)

ROW = 0.105
"""Inches of one size."""
BETWEEN = 0.6
"""Of a row, between two groups."""
SEEDS = 0.5
"""Of a row, that the seeds of a model spread over."""
MARKERS = {"": "o", "after": ">", "before": "<"}
ARROW = {"arrowstyle": "-|>", "lw": 1.0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 5}


def emergence_figure(charts: Sequence[Emergence], colours: Mapping[str, str]) -> Figure | None:
    """One panel a chart: of each thing that emerged a row a size, the smallest above. None without
    a chart.
    """
    if not charts:
        return None
    lengths = [_length(chart) for chart in charts]
    figure = Figure(
        figsize=(COLUMN, sum(lengths) * ROW + 0.42 * len(charts) + 0.75), layout="constrained"
    )
    axes = figure.subplots(len(charts), 1, squeeze=False, height_ratios=lengths)[:, 0]
    for chart, length, axis in zip(charts, lengths, axes, strict=True):
        _draw(axis, chart, length, colours)
    keys = {key.words: key for chart in charts for key in chart.keys}
    legend(figure, [*keys.values()])
    legend(figure, limit_keys(), below=True)
    return figure


def sizes_figure(chosen: Sequence[Sizes], colours: Mapping[str, str]) -> Figure | None:
    """One panel a task: tokens of emergence, or another number, against parameters; the dashed line
    is the trend, which counts limits as such. None without a panel.
    """
    if not chosen:
        return None
    figure, axes = panels(len(chosen), 2)
    for one, axis in zip(chosen, axes, strict=True):
        _draw_sizes(axis, one, colours)
    if any(dot.point.limit for one in chosen for dot in one.dots):
        legend(figure, limit_keys(), below=True)
    return figure


def _length(chart: Emergence) -> float:
    return sum(len(group.rows) + BETWEEN for group in chart.groups)


def _draw(axis: Axes, chart: Emergence, length: float, colours: Mapping[str, str]) -> None:
    y, ticks, names = 0.0, [], []
    low, high = chart.limits
    axis.set_xlim(low * 0.85, high * 1.35)
    for group in chart.groups:
        ticks.append(y + (len(group.rows) - 1) / 2)
        names.append(wrapped(group.words))
        for model, points in group.rows:
            for k, point in enumerate(points):
                aside = (k - (len(points) - 1) / 2) * SEEDS / max(len(points) - 1, 1)
                _draw_point(axis, point, y + aside, colours[model], low, several=len(points) > 1)
            y += 1
        y += BETWEEN
        if group is not chart.groups[-1]:
            axis.axhline(y - (1 + BETWEEN) / 2, color="#dddddd", lw=0.4)
    axis.set_ylim(length - 0.5, -0.7)
    finish(axis, chart.title, "")
    axis.set_yticks(ticks, names)
    axis.tick_params(axis="y", length=0, labelsize=TEXT)
    axis.grid(visible=False, axis="y")


def _draw_point(
    axis: Axes, point: Point, y: float, colour: str, low: float, *, several: bool
) -> None:
    size = 2.2 if several else 3.2
    if point.at is None:
        style: dict[str, Any] = {"fontsize": TEXT - 1.5, "va": "center", "color": "#555555"}
        if not several:
            axis.text(low, y, f"{point.model}: {point.words}", **style)
        return
    if point.low is not None and point.high is not None:
        axis.plot([point.low, point.high], [y, y], color=colour, lw=0.8 if several else 1.3)
    left, right = axis.get_xlim()
    ends = ((point.open_low, point.low or point.at, left), (point.open_high, point.high or point.at,
                                                            right))  # fmt: skip
    for is_open, end, edge in ends:
        if is_open:
            axis.annotate("", (edge, y), (end, y), arrowprops=ARROW | {"color": colour})
    hollow: dict[str, Any] = {"mfc": "#ffffff"} if point.limit else {}
    axis.plot(point.at, y, MARKERS[point.limit], color=colour, ms=size, zorder=3, **hollow)


def _draw_sizes(axis: Axes, one: Sizes, colours: Mapping[str, str]) -> None:
    every = [dot.point for dot in one.dots]
    ends = [end for point in every for end in (point.at, point.low, point.high) if end]
    x = [dot.params for dot in one.dots]
    axis.set_yscale("log")
    axis.set_xlim(min(x) * 0.75, max(x) * 1.35)
    axis.set_ylim(min(ends) * 0.75, max(ends) * 1.4)
    for dot in one.dots:
        _draw_dot(axis, dot.params, dot.point, colours[dot.point.model])
    if one.trend is not None:
        slope, intercept, words = one.trend
        at = np.array([min(x), max(x)])
        style: dict[str, Any] = {"color": "#777777", "lw": 0.8, "ls": (0, (4, 2)), "zorder": 1}
        axis.plot(at, np.exp(intercept + slope * np.log(at)), **style)
        corner: dict[str, Any] = {"ha": "right", "va": "top", "transform": axis.transAxes}
        axis.text(0.98, 0.98, words, fontsize=TEXT - 0.5, color="#555555", **corner)
    finish(axis, one.title, one.axis, "parameters (log)")
    count_ticks(axis.yaxis, *axis.get_ylim(), MOST_TICKS)
    if one.unplaced:
        left: dict[str, Any] = {"ha": "left", "va": "bottom", "transform": axis.transAxes}
        said = "\n".join(one.unplaced[:2])
        axis.text(0.02, 0.02, said, fontsize=TEXT - 1.5, color="#555555", **left)


def _draw_dot(axis: Axes, params: float, point: Point, colour: str) -> None:
    assert point.at is not None
    if point.low is not None and point.high is not None:
        axis.plot([params] * 2, [point.low, point.high], color=colour, lw=1.2)
    bottom, top = axis.get_ylim()
    low, high = point.low or point.at, point.high or point.at
    for is_open, end, edge in ((point.open_low, low, bottom), (point.open_high, high, top)):
        if is_open:
            style = ARROW | {"color": colour}
            axis.annotate("", (params, edge), (params, end), arrowprops=style)
    marker = {"": "o", "after": "^", "before": "v"}[point.limit]
    hollow: dict[str, Any] = {"mfc": "#ffffff"} if point.limit else {}
    axis.plot(params, point.at, marker, color=colour, ms=4, zorder=3, **hollow)
