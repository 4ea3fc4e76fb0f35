"""Head roles beside the behaviour that they serve, a panel a model and task (2407.10827, figure
3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from circuitwatch.summary.cells import NO_TASK, CellData
from circuitwatch.summary.charts.looks import DASHES, INK, SOLID, Key, colour_of
from circuitwatch.summary.charts.panel import Choice, Curve, Panel
from circuitwatch.summary.heads.algorithm import above_chance_from
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.holders import confirmed_holders
from circuitwatch.summary.lines import Line
from circuitwatch.summary.panels import METRIC, Specification

LABEL = "each model, beside the behaviours that its roles serve"
OF_MAXIMUM, OF_RANGE = "behaviour ÷ its maximum", "behaviour, from least to most"
LOWEST = -0.5
"""A behaviour far below chance is cut off here, so that the roles keep most of the panel."""
WIDEST = 4
"""Panels of a row."""


def roles_choice(
    spec: Specification, cells: Sequence[CellData], histories: Sequence[RoleHistory] = ()
) -> Choice | None:
    """A row a model, a panel a task that has roles: the strongest head of each role that serves it,
    and the task's behaviour as a share of its maximum, or between its least and its most where its
    metric has no chance to start from; a last panel for roles that serve none.

    A thin line a seed where there are several. The legend says what the strongest holder that was
    confirmed at the last checkpoint does there, in any of the models: helps, hurts. None without a
    role's curve.
    """
    facts = spec.facts
    lines = {role: spec.lines.of(facts.role(role).quantity.key, NO_TASK) for role in _roles(spec)}
    models = [m for m in spec.lines.models if any(m == line.model for own in lines.values()
                                                  for line in own)]  # fmt: skip
    if not models:
        return None
    columns = _columns(spec, cells, list(lines))
    signs = _signs(spec, histories)
    found = []
    for model in models:
        for task, roles in columns:
            drawn = [
                curve for role in roles for curve in _of_role(role, lines[role], model, signs, spec)
            ]
            behaviour = _behaviour(spec, cells, model, task)
            words = facts.task(task).words if task else "other roles" * (len(columns) > 1)
            title = f"{model}, {words}" if words else model
            never = "" if behaviour or not task else " (never above chance)"
            quantity = facts.role(roles[0]).quantity
            axis = "score of the strongest head"
            found.append(
                Panel(
                    title + never,
                    axis,
                    task or NO_TASK,
                    quantity,
                    (*drawn, *behaviour),
                    model=model,
                    empty="" if drawn else "none of these roles was measured in this model",
                )
            )
    lowest = min(
        (float(curve.line.values.min()) for panel in found for curve in panel.drawn), default=0.0
    )
    limits = (max(min(lowest, 0.0), LOWEST) - 0.06, 1.06)
    panels = tuple(replace(panel, limits=limits, cut=lowest < LOWEST) for panel in found)
    return Choice(LABEL, panels, len(columns), tuple(_keys(panels, list(lines), spec, signs)))


def _roles(spec: Specification) -> list[str]:
    """Roles that have a curve, in the order of the facts."""
    section = spec.sections.get("roles")
    keys = [] if section is None else [panel.quantity.key for panel in section.panels]
    return [key.split("/")[1] for key in keys if key.startswith("roles/")]


def _columns(
    spec: Specification, cells: Sequence[CellData], roles: Sequence[str]
) -> list[tuple[str, list[str]]]:
    """(task, its roles); tasks of the cells that any of the roles serves, at most WIDEST, then
    roles that serve none of these.
    """
    there = {cell.task for cell in cells}
    found = []
    for task in (task for task in spec.lines.tasks() if task in there):
        own = [role for role in spec.facts.task(task).roles if role in roles]
        found += [(task, own)] if own else []
    shown = found[:WIDEST]
    rest = [role for role in roles if not any(role in own for _, own in shown)]
    return shown + ([("", rest)] if rest else [])


def _of_role(
    name: str, lines: Sequence[Line], model: str, signs: dict[str, str], spec: Specification
) -> list[Curve]:
    role = spec.facts.role(name)
    own = [line for line in lines if line.model == model]
    label = f"{role.words} ({signs[name]})" if name in signs else role.words
    return [
        Curve(
            line,
            colour_of(role.colour),
            label,
            dash=DASHES.get(role.line, SOLID),
            width=0.6 if len(own) > 1 else 1.0,
            band=0.0,  # of many roles they would hide each other
        )
        for line in own
    ]


def _behaviour(
    spec: Specification, cells: Sequence[CellData], model: str, task: str
) -> list[Curve]:
    """The curves of a task's behaviour, scaled; of one that is never above chance none, as noise
    would be blown up to full height.
    """
    of_task = [cell for cell in cells if (cell.model, cell.task) == (model, task)]
    lines = [
        line
        for line in spec.lines.of(METRIC, task)
        if line.model == model and _is_above_chance(of_task, line)
    ]
    found = []
    for line in lines:
        scale, values = _scaled(line.values, spec.facts.task(task).chance)
        scaled = replace(
            line, values=values, low=None, high=None, copies=(np.empty(0), np.empty(0))
        )
        width = 0.7 if len(lines) > 1 else 1.0
        found.append(Curve(scaled, INK, scale, "behaviour", DASHES["dashed"], width, band=0.0))
    return found


def _is_above_chance(cells: Sequence[CellData], line: Line) -> bool:
    own = [cell for cell in cells if cell.seed == line.seed]
    return any(len(above_chance_from(cell.curves)) for cell in own)


def _scaled(values: NDArray[np.float64], chance: float | None) -> tuple[str, NDArray[np.float64]]:
    """How a behaviour is brought to the roles' scale from 0 to 1, and its values there."""
    most, least = float(values.max()), float(values.min())
    if chance is not None and most > chance:
        return OF_MAXIMUM, (values - chance) / (most - chance)
    return OF_RANGE, (values - least) / ((most - least) or 1.0)


def _signs(spec: Specification, histories: Sequence[RoleHistory]) -> dict[str, str]:
    """Role → what its strongest confirmed holder at the last checkpoint does, each sign that occurs
    once.
    """
    found: dict[str, dict[str, None]] = {}
    for history in histories:
        for task in history.checks:
            for words in confirmed_holders(history, task)[:1]:
                found.setdefault(history.role, {})[words.split()[1]] = None
    return {role: " or ".join(sorted(signs)) for role, signs in found.items()}


def _keys(
    panels: Sequence[Panel], roles: Sequence[str], spec: Specification, signs: dict[str, str]
) -> list[Key]:
    """The legend in the order of the roles, behaviours last."""
    drawn = {curve.label: curve for panel in panels for curve in panel.drawn}
    words = [spec.facts.role(role).words for role in roles]
    labels = [
        f"{name} ({signs[role]})" if role in signs else name
        for role, name in zip(roles, words, strict=True)
    ]
    order = [label for label in [*labels, OF_MAXIMUM, OF_RANGE] if label in drawn]
    return [Key(label, drawn[label].colour, dash=drawn[label].dash) for label in order]
