"""Head roles beside the behaviour that they serve (2407.10827, figure 3)."""

from __future__ import annotations

from matplotlib.figure import Figure

from circuitwatch.summary.charts.panel import Choice
from circuitwatch.summary.figures.curves import curves_figure, draw_panel, legends
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TOKENS, wrapped
from circuitwatch.summary.panels import Specification


def roles_figure(choice: Choice) -> Figure:
    """A row a model, a panel a task that has roles; all share their axes."""
    columns = choice.columns
    rows = len(choice.panels) // columns
    figure = Figure(
        figsize=(max(COLUMN, COLUMN / 2 * columns), 1.3 * rows + 0.95), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for place, panel in enumerate(choice.panels):
        row, column = divmod(place, columns)
        axis = axes[row, column]
        draw_panel(axis, panel)
        axis.set_xlabel(TOKENS if row == rows - 1 else "", fontsize=TEXT)
        axis.set_ylabel(wrapped(panel.axis) if column == 0 else "", fontsize=TEXT)
    legends(figure, choice)
    return figure


def role_sizes_figure(spec: Specification) -> Figure | None:
    """One panel a role: its strongest head's score by model size, and as a dotted line the score
    from which the role is held.
    """
    section = spec.sections.get("roles")
    return None if section is None else curves_figure(section.panels)
