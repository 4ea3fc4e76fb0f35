"""Panels of curves over training tokens, by model size: behaviour, circuits and their overlap,
roles, text, curves from elsewhere, and whatever panel a quantity asks for (`summary.panels`).

Of an overlap it draws that of circuits found from different resamples of the prompts, beside what
these share within a checkpoint (the noise ceiling) and by chance: one kind of thing, so that the
lines can be compared. Where the cells have no resamples it is the overlap of the circuits of all
prompts, which has no ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitwatch.summary.figures.shared import (
    TEXT,
    finish,
    line_style,
    panels,
    shown_tokens,
    with_legend,
)
from circuitwatch.summary.lines import DUPLICATES, Line
from circuitwatch.summary.panels import EFFECT, METRIC, Panel, Specification

CIRCUITS = ("circuit/edges_share", "overlap/edge_jaccard")
OVERLAPS = ("overlap/node_jaccard", "overlap/edge_jaccard_final")
"""What the figures `circuits` and `overlaps` show of each task, side by side."""
EFFECT_LINE: dict[str, Any] = {"ls": (0, (3, 1.5)), "lw": 0.8}
RING: dict[str, Any] = {"marker": "o", "mfc": "none", "ms": 3.6, "mew": 0.7}
REFERENCES = {
    "ceiling": ((0, (4, 2)), "noise ceiling"),
    "chance": ((0, (1, 1.5)), "by chance"),
}
"""Style and words of what an overlap is compared with."""


def behaviour_figure(spec: Specification) -> Figure | None:
    """One panel a task: the metric, and dashed beside it the effect of the deciding word; bands are
    bootstrap intervals over prompts.

    Only where both bands lie above chance is the behaviour above chance.
    """
    return curves_figure(spec, list(spec.panels(METRIC).values()))


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


def curves_figure(
    spec: Specification, chosen: Sequence[Panel | None], columns: int = 2
) -> Figure | None:
    """Some panels, in so many columns; none for no panel. A missing one leaves its place empty."""
    if not any(panel is not None for panel in chosen):
        return None
    figure, axes = panels(len(chosen), columns)
    for panel, axis in zip(chosen, axes, strict=True):
        if panel is None:
            axis.set_axis_off()
        else:
            draw_panel(axis, panel, spec)
    there = [panel for panel in chosen if panel is not None]
    more: dict[str, Any] = {}
    for kind, (dashes, words) in REFERENCES.items():
        if any(getattr(panel, kind) for panel in there):
            more[words] = Line2D([], [], color="#777777", lw=0.8, ls=dashes)
    if any(line.least is not None for panel in there for line in panel.curves):
        more["over the roles' cut-offs"] = Patch(fc="#777777", alpha=0.25)
    below: dict[str, Any] = {}
    if any(panel.beside for panel in there):
        effect = spec.facts.quantity(EFFECT)
        below[effect.label or effect.words] = Line2D([], [], color="#555555", **EFFECT_LINE)
    for words in dict.fromkeys(w for p in there for line in p.curves for w in line.doubts):
        below[words] = Line2D([], [], ls="none", color="#555555", **RING)
    if below:
        figure.legend(
            list(below.values()),
            list(below),
            loc="outside lower center",
            fontsize=TEXT,
            frameon=False,
            handlelength=2,
        )
    with_legend(figure, axes, more)
    return figure


def draw_panel(axis: Axes, panel: Panel, spec: Specification) -> None:
    """Draw a panel by model size."""
    for level, _ in panel.levels:
        axis.axhline(level, color="#999999", lw=0.6, ls=":")
    for kind, (dashes, _) in REFERENCES.items():
        for line in getattr(panel, kind):
            colour = spec.colours[line.model]
            at = shown_tokens(line.tokens)
            axis.plot(at, line.values, color=colour, lw=0.7, ls=dashes, alpha=0.75)
    for line in panel.beside:
        _draw(axis, line, spec.colours[line.model], band=0.1, style=EFFECT_LINE)
    longest = max((line.tokens.size for line in panel.curves), default=0)
    for line in panel.curves:
        style = line_style(longest) | {"label": spec.lines.called(line)}
        _draw(axis, line, spec.colours[line.model], band=0.2, style=style)
        mark(axis, line, spec.colours[line.model])
    tokens = [shown_tokens(line.tokens) for line in panel.curves]
    if tokens:
        every = np.concatenate(tokens)
        axis.set_xlim(float(every.min()) * 0.8, float(every.max()) * 1.25)
    axis.set_ylim(*panel.limits)
    finish(axis, panel.title, panel.axis)


def mark(axis: Axes, line: Line, colour: str) -> None:
    """Cross out a curve's checkpoints that have the weights of another, and ring those whose
    circuit is doubtful.
    """
    known = axis.get_legend_handles_labels()[1]
    tokens, values = line.copies
    if tokens.size:
        axis.scatter(
            shown_tokens(tokens),
            values,
            marker="x",
            color="#d55e00",
            s=14,
            lw=0.9,
            zorder=3,
            label=None if DUPLICATES in known else DUPLICATES,
        )
    for places in line.doubts.values():
        at = shown_tokens(line.tokens)[places]
        axis.plot(at, line.values[places], ls="none", color=colour, **RING, zorder=3)


def _draw(axis: Axes, line: Line, colour: str, *, band: float, style: dict[str, Any]) -> None:
    at = shown_tokens(line.tokens)
    axis.plot(at, line.values, color=colour, **style)
    if line.least is not None and line.most is not None:
        axis.fill_between(at, line.least, line.most, color=colour, alpha=band, lw=0)
        if line.low is not None and line.high is not None:
            axis.vlines(at, line.low, line.high, color=colour, lw=0.5, alpha=0.7)
    elif line.low is not None and line.high is not None:
        axis.fill_between(at, line.low, line.high, color=colour, alpha=band, lw=0)


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
    return curves_figure(spec, chosen, len(quantities))


def _like_with_like(panel: Panel | None, resampled: Panel | None) -> Panel | None:
    """The overlap of different resamples in the place of that of all prompts, where every curve of
    the one is there of the other.
    """
    if panel is None or resampled is None:
        return panel
    has = {line.name for line in resampled.curves}
    return resampled if {line.name for line in panel.curves} <= has else panel
