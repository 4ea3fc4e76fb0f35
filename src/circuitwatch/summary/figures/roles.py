"""Head roles beside the behaviour that they serve (2407.10827, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from circuitwatch.catalogue import Role
from circuitwatch.summary.cells import NO_TASK, CellData
from circuitwatch.summary.figures.curves import curves_figure, mark
from circuitwatch.summary.figures.shared import (
    COLUMN,
    LINES,
    TEXT,
    finish,
    line_style,
    shown_tokens,
)
from circuitwatch.summary.heads.algorithm import above_chance_from
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.holders import confirmed_holders
from circuitwatch.summary.lines import Line
from circuitwatch.summary.panels import METRIC, Specification

OF_MAXIMUM, OF_RANGE = "behaviour ÷ max.", "behaviour, least to most"
BEHAVIOUR: dict[str, Any] = {"color": "#000000", "ls": (0, (4, 2)), "lw": 1.0}
LOWEST = -0.5
"""A behaviour far below chance is cut off here, so that the roles keep most of the panel."""
WIDEST = 4
"""Panels of a row."""


def roles_figure(
    spec: Specification, cells: Sequence[CellData], histories: Sequence[RoleHistory] = ()
) -> Figure | None:
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
    figure = Figure(
        figsize=(max(COLUMN, COLUMN / 2 * len(columns)), 1.3 * len(models) + 0.75),
        layout="constrained",
    )
    axes = figure.subplots(len(models), len(columns), squeeze=False, sharex=True, sharey=True)
    handles: dict[str, Any] = {}
    lowest = 0.0
    for row, model in enumerate(models):
        for column, (task, roles) in enumerate(columns):
            axis = axes[row, column]
            for role in roles:
                own = [line for line in lines[role] if line.model == model]
                handles |= _role_lines(axis, facts.role(role), own)
            of_task = [cell for cell in cells if (cell.model, cell.task) == (model, task)]
            shown = [
                line
                for line in spec.lines.of(METRIC, task)
                if line.model == model and _is_above_chance(of_task, line)
            ]
            for line in shown:
                scale, values = _scaled(line.values, facts.task(task).chance)
                style = BEHAVIOUR | ({"lw": 0.7} if len(shown) > 1 else {})
                axis.plot(shown_tokens(line.tokens), values, **style, zorder=1.9)
                lowest = min(lowest, float(values.min()))
                handles[scale] = Line2D([], [], **BEHAVIOUR)
            words = facts.task(task).words if task else "other roles" * (len(columns) > 1)
            title = f"{model}, {words}" if words else model
            finish(axis, title if shown or not task else f"{title}\n(never above chance)", "")
            marked = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
            handles |= {name: marked[name] for name in marked if not name.startswith("_")}
            axis.set_xlabel("training tokens" if row == len(models) - 1 else "", fontsize=TEXT)
            axis.set_ylabel("strongest head's score" if column == 0 else "", fontsize=TEXT)
    axes[0, 0].set_ylim(max(lowest, LOWEST) - 0.06, 1.06)  # all share it
    _legend(figure, handles, {facts.role(role).words: place for place, role in enumerate(lines)},
            _signs(spec, histories))  # fmt: skip
    return figure


def role_sizes_figure(spec: Specification) -> Figure | None:
    """One panel a role: its strongest head's score by model size, and as a dotted line the score
    from which the role is held.
    """
    section = spec.sections.get("roles")
    return None if section is None else curves_figure(spec, section.panels)


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


def _role_lines(axis: Axes, role: Role, lines: Sequence[Line]) -> dict[str, Line2D]:
    thin = len(lines) > 1
    handles = {}
    for line in lines:
        style: dict[str, Any] = {"lw": 0.6} if thin else line_style(line.tokens.size)
        (drawn,) = axis.plot(
            shown_tokens(line.tokens),
            line.values,
            color=role.colour,
            ls=LINES.get(role.line, "-"),
            **style,
        )
        mark(axis, line, role.colour)
        handles[role.words] = drawn
    return handles


def _is_above_chance(cells: Sequence[CellData], line: Line) -> bool:
    """Whether a behaviour is ever above chance; of one that isn't noise would be blown up to full
    height.
    """
    own = [cell for cell in cells if cell.seed == line.seed]
    return any(len(above_chance_from(cell.curves)) for cell in own)


def _scaled(values: NDArray[np.float64], chance: float | None) -> tuple[str, NDArray[np.float64]]:
    """How a behaviour is brought to the roles' scale from 0 to 1, and its values there."""
    most, least = float(values.max()), float(values.min())
    if chance is not None and most > chance:
        return OF_MAXIMUM, (values - chance) / (most - chance)
    return OF_RANGE, (values - least) / ((most - least) or 1.0)


def _signs(spec: Specification, histories: Sequence[RoleHistory]) -> dict[str, str]:
    """Role in words → what its strongest confirmed holder at the last checkpoint does, each sign
    that occurs once.
    """
    found: dict[str, dict[str, None]] = {}
    for history in histories:
        for task in history.checks:
            for words in confirmed_holders(history, task)[:1]:
                role = spec.facts.role(history.role).words
                found.setdefault(role, {})[words.split()[1]] = None
    return {role: " or ".join(sorted(signs)) for role, signs in found.items()}


def _legend(
    figure: Figure, handles: dict[str, Any], order: dict[str, int], signs: dict[str, str]
) -> None:
    names = sorted(handles, key=lambda name: order.get(name, len(order)))
    figure.legend(
        [handles[name] for name in names],
        [f"{name} ({signs[name]})" if name in signs else name for name in names],
        loc="outside upper center",
        ncols=2,
        handlelength=1.4,
        columnspacing=0.8,
        fontsize=TEXT - 0.5,
        frameon=False,
    )
