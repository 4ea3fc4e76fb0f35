"""Panels of curves over training tokens: behaviour, circuits and their overlap, roles, the
algorithm's shares, text, curves from elsewhere, and whatever panel a quantity asks for
(`summary.panels`).

Of an overlap the paper's pairs draw that of circuits found from different resamples of the prompts,
beside what these share within a checkpoint (the noise ceiling) and by chance: one kind of thing, so
that the lines can be compared. Where the cells have no resamples it is the overlap of the circuits
of all prompts, which has no ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitwatch.summary.charts.looks import FAINT, WARNING
from circuitwatch.summary.charts.panel import Choice, Curve, Panel
from circuitwatch.summary.figures.shared import (
    RING,
    TEXT,
    dashes,
    finish,
    legend,
    panels,
    wrapped,
)
from circuitwatch.summary.lines import shown_tokens
from circuitwatch.summary.panels import METRIC, Specification

CIRCUITS = ("circuit/edges_share", "overlap/edge_jaccard")
OVERLAPS = ("overlap/node_jaccard", "overlap/edge_jaccard_final")
"""What the figures `circuits` and `overlaps` show of each task, side by side."""
MOST_DOTS = 30
"""Checkpoints of a curve that are drawn as dots."""


def draw_panels(choice: Choice, *, empty: Sequence[int] = ()) -> Figure | None:
    """Draw what a section shows: its panels in its columns, with one legend; none without a panel.

    empty: places that stay free among those of the panels.
    """
    if not choice.panels:
        return None
    figure, axes = panels(len(choice.panels) + len(empty), choice.columns)
    for place in empty:
        axes[place].set_axis_off()
    free = [axis for place, axis in enumerate(axes) if place not in empty]
    for panel, axis in zip(choice.panels, free, strict=True):
        draw_panel(axis, panel)
    legends(figure, choice)
    return figure


def legends(figure: Figure, choice: Choice) -> None:
    """Who is drawn how above the panels, and below them what else is in them."""
    keys = choice.keys
    legend(figure, [key for key in keys if key.mark == "line"])
    legend(figure, [key for key in keys if key.mark != "line"], below=True)


def behaviour_figure(spec: Specification) -> Figure | None:
    """One panel a task: the metric, and dashed beside it the effect of the deciding word; bands are
    bootstrap intervals over prompts.

    Only where both bands lie above chance is the behaviour above chance.
    """
    return curves_figure(list(spec.panels(METRIC).values()))


def circuits_figure(spec: Specification) -> Figure | None:
    """A row a task: the circuit's share of all edges, and the overlap of its edges with the circuit
    before (2407.10827, figure 5).
    """
    return _pairs(spec, CIRCUITS)


def overlaps_figure(spec: Specification) -> Figure | None:
    """A row a task: the overlap of nodes with the circuit before, and that of edges with the last
    circuit.
    """
    return _pairs(spec, OVERLAPS)


def curves_figure(chosen: Sequence[Panel | None], columns: int = 2) -> Figure | None:
    """Some panels, in so many columns; none for no panel. A missing one leaves its place empty."""
    there = tuple(panel for panel in chosen if panel is not None)
    empty = [place for place, panel in enumerate(chosen) if panel is None]
    return draw_panels(Choice("", there, columns), empty=empty)


def draw_panel(axis: Axes, panel: Panel) -> None:
    """Draw one panel."""
    for level, _ in panel.levels:
        axis.axhline(level, color=FAINT, lw=0.6, ls=":")
    for span in panel.spans:
        axis.axvspan(span.low, span.high, color=FAINT, alpha=0.3, lw=0)
        axis.axvline(span.at, color="#555555", lw=1.0, ls=dashes((4, 2)))
    longest = max((curve.line.tokens.size for curve in panel.drawn), default=0)
    for curve in panel.drawn:
        _draw(axis, curve, dots=longest <= MOST_DOTS)
    low, high = panel.tokens
    axis.set_xlim(low * 0.85, high * 1.18)
    axis.set_ylim(*panel.limits)
    if panel.empty:
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": TEXT}
        axis.text(0.5, 0.5, wrapped(panel.empty), transform=axis.transAxes, **style)
    finish(axis, panel.title, panel.axis)
    if not panel.drawn:
        axis.set_xticks([])


def _draw(axis: Axes, curve: Curve, *, dots: bool) -> None:
    line, at = curve.line, shown_tokens(curve.line.tokens)
    marker, size = curve.marker, 2.0
    if dots and curve.kind == "curve" and not marker:
        marker, size = ".", 2.5
    style: dict[str, Any] = {"color": curve.colour, "lw": curve.width, "ls": dashes(curve.dash)}
    zorder = 1.9 if curve.kind == "behaviour" else 2
    axis.plot(at, line.values, marker=marker, ms=size, zorder=zorder, **style)
    if curve.band and line.least is not None and line.most is not None:
        axis.fill_between(at, line.least, line.most, color=curve.colour, alpha=curve.band, lw=0)
        if line.low is not None and line.high is not None:
            axis.vlines(at, line.low, line.high, color=curve.colour, lw=0.5, alpha=0.7)
    elif curve.band and line.low is not None and line.high is not None:
        axis.fill_between(at, line.low, line.high, color=curve.colour, alpha=curve.band, lw=0)
    if curve.kind == "curve":
        _mark(axis, curve)


def _mark(axis: Axes, curve: Curve) -> None:
    """Cross out checkpoints that have the weights of another, and ring those whose circuit is
    doubtful.
    """
    tokens, values = curve.line.copies
    if tokens.size:
        crosses: dict[str, Any] = {"marker": "x", "color": WARNING, "s": 14, "lw": 0.9}
        axis.scatter(shown_tokens(tokens), values, zorder=3, **crosses)
    for places in curve.line.doubts.values():
        at = shown_tokens(curve.line.tokens)[places]
        axis.plot(at, curve.line.values[places], ls="none", color=curve.colour, **RING, zorder=3)


def _pairs(spec: Specification, quantities: Sequence[str]) -> Figure | None:
    """A row a task, a column a quantity."""
    columns = [spec.panels(quantity) for quantity in quantities]
    other = [spec.panels(f"{quantity}_resampled") for quantity in quantities]
    tasks = [task for task in spec.lines.tasks() if any(task in own for own in columns)]
    chosen = [
        _like_with_like(own.get(task), resampled.get(task))
        for task in tasks
        for own, resampled in zip(columns, other, strict=True)
    ]
    return curves_figure(chosen, len(quantities))


def _like_with_like(panel: Panel | None, resampled: Panel | None) -> Panel | None:
    """The overlap of different resamples in the place of that of all prompts, where every curve of
    the one is there of the other.
    """
    if panel is None or resampled is None:
        return panel
    has = {line.name for line in resampled.curves}
    return resampled if {line.name for line in panel.curves} <= has else panel
