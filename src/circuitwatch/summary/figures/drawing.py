"""Which figures there are: those of cells, those of curves from elsewhere, and those of the tables;
each only where there is something to draw.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, count

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from circuitwatch.catalogue import Quantity
from circuitwatch.summary.cells import CellData, models_in_order
from circuitwatch.summary.figures.algorithm import algorithm_figure
from circuitwatch.summary.figures.circuits import circuit_figure
from circuitwatch.summary.figures.curves import (
    behaviour_figure,
    circuits_figure,
    curves_figure,
    overlaps_figure,
)
from circuitwatch.summary.figures.roles import role_sizes_figure, roles_figure
from circuitwatch.summary.figures.sizes import circuit_sizes_figure, emergence_figure
from circuitwatch.summary.figures.timeline import timeline_figure
from circuitwatch.summary.figures.transfer import transfer_figure
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.panels import METRIC, Panel, Section, Specification

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
    spec: Specification,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    scaling: pd.DataFrame,
    heads: HeadTables,
    notes: list[str] | None = None,
) -> dict[str, Figure]:
    """The figures that there is something for, by name; cells in order.

    behaviour, roles, roles_by_size, timeline, circuits, overlaps, algorithm, transfer; circuit (the
    largest model's last ones, by layer); emergence (against model size, also of what other sources
    give), circuit_sizes (against model size); text, and one for any other panel that quantities
    name; curves_<quantity> of other sources.
    """
    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar sign in a name is one
        return _drawn(spec, cells, emergence, scaling, heads, [] if notes is None else notes)


def _drawn(
    spec: Specification,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    scaling: pd.DataFrame,
    heads: HeadTables,
    notes: list[str],
) -> dict[str, Figure]:
    facts = spec.facts
    drawn: dict[str, Figure | None] = {"behaviour": behaviour_figure(spec)}
    if heads.histories:
        drawn["roles"] = roles_figure(spec, cells, heads.histories)
        drawn["timeline"] = timeline_figure(heads.histories, cells, emergence, facts)
    drawn["roles_by_size"] = role_sizes_figure(spec)
    drawn["circuits"] = circuits_figure(spec)
    drawn["overlaps"] = overlaps_figure(spec)
    if any(cell.circuits for cell in cells):
        largest = models_in_order(list(cells))[-1]
        seed = min(cell.seed for cell in cells if cell.model == largest)
        own = [cell for cell in cells if (cell.model, cell.seed) == (largest, seed)]
        own.sort(key=lambda cell: (facts.task(cell.task).place, cell.task))
        drawn["circuit"] = circuit_figure(own)
    drawn["algorithm"] = algorithm_figure(spec, cells, emergence)
    if len(heads.transfer):
        drawn["transfer"] = transfer_figure(heads.transfer, heads.specificity, cells, facts)
    if len(emergence):
        drawn["emergence"] = emergence_figure(emergence, scaling, METRIC, spec)
        asked = [str(quantity) for quantity in dict.fromkeys(emergence["quantity"])]
        elsewhere = [q for q in asked if facts.quantity(q).panel == ELSEWHERE]
        for quantity in elsewhere[:MOST_FIGURES]:
            name = _free(f"emergence_{_file(quantity)}", drawn)
            drawn[name] = emergence_figure(emergence, scaling, quantity, spec)
    drawn["circuit_sizes"] = circuit_sizes_figure(scaling, "circuit/nodes", spec)
    for section in spec.sections.values():
        if section.name not in OWN_FIGURES:
            drawn |= _of_section(section, spec, notes, drawn)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _of_section(
    section: Section, spec: Specification, notes: list[str], taken: Collection[str]
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
        return {_free(name, taken): curves_figure(spec, own)} if own else {}
    if len(by_quantity) > MOST_FIGURES:
        notes.append(
            f"figures of curves from elsewhere show the first {MOST_FIGURES} quantities; "
            f"the report has all"
        )
    drawn: dict[str, Figure | None] = {}
    for quantity, panels in list(by_quantity.items())[:MOST_FIGURES]:
        name = _free(f"curves_{_file(quantity)}", [*taken, *drawn])
        drawn[name] = curves_figure(spec, _most(panels, quantity, notes))
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
