"""Which quantities stand in which panel of which section, with titles, units, limits, and what they
are compared with: said once, for the figures and for the report.

A section is what quantities with the same `panel` make together. Where every task has the same
quantities (behaviour, circuits, overlaps, curves from elsewhere) it is a choice of quantities with
a panel a task; all others, such as a user's, have one panel for each quantity and task. A new
section needs nothing here: a quantity that names a new panel makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd

from circuitwatch.catalogue import Quantity
from circuitwatch.facts import Facts, plain
from circuitwatch.summary.cells import NO_TASK, CellData
from circuitwatch.summary.charts.looks import CEILING_DASH, CHANCE_DASH, EFFECT_DASH, Dash
from circuitwatch.summary.charts.panel import SHOWN, Choice, Curve, Kind, Panel
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.lines import ELSEWHERE, Line, Lines
from circuitwatch.summary.overlaps import references

TITLES = {
    "behaviour": "Behaviour over tokens",
    "circuits": "Circuit size over tokens",
    "overlaps": "Overlap of circuits over tokens",
    "roles": "Head roles over tokens",
    "algorithm": "Does the algorithm stay the same?",
    "text": "Loss and in-context learning on text",
    ELSEWHERE: "Curves from elsewhere",
}
"""Sections in their order; others come after these, under the name that their quantities give."""
BY_QUANTITY = ("behaviour", "circuits", "overlaps", ELSEWHERE)
"""Sections whose quantities are chosen from; each has a panel a task."""
FULL_RANGE = ("roles", "overlaps", "algorithm")
"""Sections whose panels show the whole range of their quantity, so that they can be compared."""
BY_SIZE = "by model size"
"""The choice of a section whose panels have a curve for each model."""
METRIC, EFFECT = "behaviour/value", "behaviour/effect"
COMPARED: tuple[tuple[Kind, Dash], ...] = (("ceiling", CEILING_DASH), ("chance", CHANCE_DASH))
"""What an overlap is compared with."""
MARGIN = 0.04
"""Empty space above and below the curves, as a share of the panel's height."""


@dataclass(frozen=True)
class Section:
    """What the quantities with the same `panel` make together."""

    name: str
    title: str
    choices: tuple[Choice, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Those of all its choices."""
        return tuple(panel for choice in self.choices for panel in choice.panels)


@dataclass(frozen=True)
class Specification:
    """The sections by name, in order, and the models by size with their colours."""

    lines: Lines
    sections: dict[str, Section]
    colours: dict[str, str]

    @property
    def facts(self) -> Facts:
        """What is known of the tasks, roles and quantities."""
        return self.lines.facts

    def panels(self, quantity: str) -> dict[str, Panel]:
        """The panels of a quantity by task, in order; empty if nothing has it."""
        every = (panel for section in self.sections.values() for panel in section.panels)
        return {panel.task: panel for panel in every if panel.quantity.key == quantity}


def specification(
    curves: Curves, cells: Sequence[CellData] = (), bands: pd.DataFrame | None = None
) -> Specification:
    """What there is to draw of some curves over tokens; cells are those among their sources, bands
    as `heads.bands` makes them.
    """
    lines = Lines(curves, cells, bands)
    by_panel: dict[str, list[Quantity]] = {}
    for quantity in lines.quantities:
        by_panel.setdefault(quantity.panel, []).append(quantity)
    order = [*TITLES, *sorted(by_panel.keys() - TITLES.keys())]
    colours = model_colours(lines.models)
    sections = {
        name: Section(name, section_title(name), _choices(name, by_panel[name], lines, colours))
        for name in order
        if name in by_panel
    }
    return Specification(lines, sections, colours)


def section_title(name: str) -> str:
    """What a section is called."""
    words = plain(name)
    return TITLES.get(name) or words[:1].upper() + words[1:]


def model_colours(models: Sequence[str]) -> dict[str, str]:
    """A colour for each model, dark to light with size."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.8, max(len(models), 2)))
    return {
        model: matplotlib.colors.to_hex(shade) for model, shade in zip(models, shades, strict=False)
    }


def axis_of(quantity: Quantity, facts: Facts, task: str) -> str:
    """A quantity and its unit, for an axis; of a behaviour the task's metric."""
    unit = facts.unit(quantity.key, task)
    if quantity.unit == "task":
        return unit
    words = quantity.label or quantity.words
    return words if unit in ("", "share") or unit in words else f"{words} ({unit})"


def _choices(
    name: str, quantities: Sequence[Quantity], lines: Lines, colours: Mapping[str, str]
) -> tuple[Choice, ...]:
    panels = [
        [_panel(quantity, task, lines, colours) for task in lines.tasks(quantity.key)]
        for quantity in quantities
    ]
    if name in BY_QUANTITY:
        return tuple(
            Choice(quantity.words, tuple(own))
            for quantity, own in zip(quantities, panels, strict=True)
        )
    return (Choice(BY_SIZE, tuple(panel for own in panels for panel in own)),)


def _panel(quantity: Quantity, task: str, lines: Lines, colours: Mapping[str, str]) -> Panel:
    facts = lines.facts
    curves = lines.of(quantity.key, task)
    beside = lines.of(EFFECT, task) if quantity.key == METRIC else ()
    drawn = [
        Curve(line.smoothed(), colours[line.model], "", kind, dash, 0.7, band=0.0)
        for kind, dash in COMPARED
        for line in lines.of(references(quantity.key).get(kind, ""), task)
    ]
    drawn += [
        Curve(line, colours[line.model], "", "effect", EFFECT_DASH, 0.8, band=0.1)
        for line in beside
    ]
    drawn += [Curve(line, colours[line.model], lines.called(line)) for line in curves]
    if task == NO_TASK:
        title, axis = quantity.words, facts.unit(quantity.key, task) or quantity.words
    elif quantity.panel in BY_QUANTITY:
        title, axis = facts.task(task).words, axis_of(quantity, facts, task)
    else:
        unit = facts.unit(quantity.key, task)
        title, axis = quantity.words, ", ".join(filter(None, [unit, facts.task(task).words]))
    levels = _levels(facts.of_task(quantity.key, task))
    limits, cut = _limits(quantity, [*curves, *beside], [level for level, _ in levels])
    return Panel(title, axis, task, quantity, tuple(drawn), levels, limits, cut)


def _levels(quantity: Quantity) -> tuple[tuple[float, str], ...]:
    """Chance, and the level from which a quantity counts as there, where they are known."""
    found: list[tuple[float, str]] = []
    if quantity.chance is not None:
        found.append((quantity.chance, "chance"))
    if isinstance(quantity.rise, int | float):
        words = "threshold of the role" if quantity.panel == "roles" else "level of emergence"
        found.append((float(quantity.rise), words))
    return tuple(found)


def _limits(
    quantity: Quantity, curves: Iterable[Line], levels: Sequence[float]
) -> tuple[tuple[float, float], bool]:
    """Ends of a panel's vertical axis, and whether they cut anything off.

    An end of the quantity's range is shown if it is no further from the curves than these reach.
    """
    drawn = [np.array(levels, dtype=float)]
    for line in curves:
        parts = (line.values, line.low, line.high, line.least, line.most, line.copies[1])
        drawn += [part for part in parts if part is not None]
    every = np.concatenate(drawn)
    every = every[np.isfinite(every)]
    if not every.size:
        return (0.0, 1.0), False
    low, high = float(every.min()), float(every.max())
    whole = quantity.panel in FULL_RANGE
    least, most = quantity.range
    reach = high - low
    if least is not None and (whole or low - least <= reach):
        low = min(low, least)
    if most is not None and (whole or most - high <= reach):
        high = max(high, most)
    cut = False
    if quantity.panel == "algorithm":
        cut = low < SHOWN[0] or high > SHOWN[1]
        low, high = max(low, SHOWN[0]), min(high, SHOWN[1])
    room = MARGIN * ((high - low) or abs(high) or 1.0)
    return (low - room, high + room), cut
