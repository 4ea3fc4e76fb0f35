"""Which figures there are: those of cells, those of curves from elsewhere, and those of the tables;
each only where there is something to draw.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, count

import matplotlib
from matplotlib.figure import Figure

from circuitwatch.catalogue import Quantity
from circuitwatch.summary.cells import CellData, models_in_order
from circuitwatch.summary.charts.panel import Panel
from circuitwatch.summary.charts.together import CIRCUIT_SIZE, Charts
from circuitwatch.summary.figures.algorithm import algorithm_figure
from circuitwatch.summary.figures.circuits import circuit_figure
from circuitwatch.summary.figures.curves import (
    behaviour_figure,
    circuits_figure,
    curves_figure,
    overlaps_figure,
)
from circuitwatch.summary.figures.emergence import emergence_figure, sizes_figure
from circuitwatch.summary.figures.roles import role_sizes_figure, roles_figure
from circuitwatch.summary.figures.timeline import timeline_figure
from circuitwatch.summary.figures.transfer import transfer_figure
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.panels import METRIC, Section

MOST_PANELS = 12
"""Panels of one figure of curves: those of the most models."""
MOST_FIGURES = 12
"""Figures of curves from elsewhere; the report has all."""
FEWEST = 2
"""Checkpoints of a curve that is drawn."""
OWN_FIGURES = ("roles", "algorithm")
"""Sections that have figures of their own kind."""
BESIDE = ("behaviour/", "circuit/", "overlap/")
"""Groups of quantities of which the figures show those that the paper does; the report has all."""


def draw_figures(
    charts: Charts, cells: Sequence[CellData], notes: list[str] | None = None
) -> dict[str, Figure]:
    """The figures that there is something for, by name; cells in order.

    emergence (sizes beside each other), emergence_by_size, behaviour, roles, roles_by_size,
    timeline, circuits, overlaps, algorithm, transfer; circuit (the largest model's last ones, by
    layer); circuit_sizes (against model size); text, and one for any other panel that quantities
    name; curves_<quantity> and emergence_<quantity> of other sources.
    """
    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar sign in a name is one
        return _drawn(charts, cells, [] if notes is None else notes)


def _drawn(charts: Charts, cells: Sequence[CellData], notes: list[str]) -> dict[str, Figure]:
    spec = charts.spec
    facts, colours = spec.facts, spec.colours
    drawn: dict[str, Figure | None] = {
        "emergence": emergence_figure(charts.emergence, colours),
        "behaviour": behaviour_figure(spec),
    }
    if charts.roles is not None:
        drawn["roles"] = roles_figure(charts.roles)
    if any(cell.roles is not None and len(cell.roles) for cell in cells):
        drawn["timeline"] = timeline_figure(charts.timelines)
    drawn["roles_by_size"] = role_sizes_figure(spec)
    drawn["circuits"] = circuits_figure(spec)
    drawn["overlaps"] = overlaps_figure(spec)
    if any(cell.circuits for cell in cells):
        largest = models_in_order(list(cells))[-1]
        seed = min(cell.seed for cell in cells if cell.model == largest)
        own = [cell for cell in cells if (cell.model, cell.seed) == (largest, seed)]
        own.sort(key=lambda cell: (facts.task(cell.task).place, cell.task))
        drawn["circuit"] = circuit_figure(own)
    if charts.algorithm is not None:
        drawn["algorithm"] = algorithm_figure(charts.algorithm)
    drawn["transfer"] = transfer_figure(charts.matrices)
    drawn["emergence_by_size"] = sizes_figure(charts.sizes.get(METRIC, [])[:MOST_PANELS], colours)
    drawn["circuit_sizes"] = sizes_figure(charts.sizes.get(CIRCUIT_SIZE, []), colours)
    elsewhere = [quantity for quantity in charts.sizes if facts.quantity(quantity).panel ==
                 ELSEWHERE]  # fmt: skip
    for quantity in elsewhere[:MOST_FIGURES]:
        name = _free(f"emergence_{_file(quantity)}", drawn)
        drawn[name] = sizes_figure(charts.sizes[quantity][:MOST_PANELS], colours)
    for section in spec.sections.values():
        if section.name not in OWN_FIGURES:
            drawn |= _of_section(section, notes, drawn)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _of_section(
    section: Section, notes: list[str], taken: Collection[str]
) -> dict[str, Figure | None]:
    """The figures of quantities that stand in no figure yet: of curves from elsewhere one for each,
    of a section's own quantities one for all.
    """
    by_quantity: dict[str, list[Panel]] = {}
    for panel in section.panels:
        longest = max((line.tokens.size for line in panel.curves), default=0)
        if longest >= FEWEST and not _has_figure(panel.quantity):
            by_quantity.setdefault(panel.quantity.key, []).append(panel)
    if section.name != ELSEWHERE:
        every = [panel for panels in by_quantity.values() for panel in panels]
        own = _most(every, section.title, notes)
        name = _file(section.name)
        return {_free(name, taken): curves_figure(own)} if own else {}
    if len(by_quantity) > MOST_FIGURES:
        notes.append(
            f"figures of curves from elsewhere show the first {MOST_FIGURES} quantities; "
            f"the report has all"
        )
    drawn: dict[str, Figure | None] = {}
    for quantity, panels in list(by_quantity.items())[:MOST_FIGURES]:
        name = _free(f"curves_{_file(quantity)}", [*taken, *drawn])
        drawn[name] = curves_figure(_most(panels, quantity, notes))
    return drawn


def _has_figure(quantity: Quantity) -> bool:
    return quantity.key.startswith(BESIDE) and quantity.panel != ELSEWHERE


def _most(panels: Sequence[Panel], what: str, notes: list[str]) -> list[Panel]:
    """At most MOST_PANELS panels, those with the most models, in their order."""
    chosen = sorted(
        range(len(panels)), key=lambda place: -len({line.model for line in panels[place].curves})
    )[:MOST_PANELS]
    if len(panels) > MOST_PANELS:
        notes.append(
            f"the figure of {what} shows {MOST_PANELS} of {len(panels)} panels; the report has all"
        )
    return [panels[place] for place in sorted(chosen)]


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or with a number where other quantities have given it already."""
    numbered = (f"{name}_{k}" for k in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)


def _file(quantity: str) -> str:
    """A quantity as part of a file's name."""
    return "".join(
        character if character.isalnum() or character in "-_." else "_" for character in quantity
    )
