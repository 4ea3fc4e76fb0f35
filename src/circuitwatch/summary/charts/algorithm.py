"""Whether a task's algorithm stays the same: its steps, and the shares of effects that stand for
them, over tokens (2407.10827, figure 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from circuitwatch.catalogue import Quantity
from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData, models_in_order
from circuitwatch.summary.charts.emergence import emerged_row
from circuitwatch.summary.charts.looks import DASHES, GREY, MARKERS, SOLID, Key, colour_of
from circuitwatch.summary.charts.panel import Choice, Curve, Panel, Span
from circuitwatch.summary.heads.algorithm import above_chance_from
from circuitwatch.summary.panels import Specification

LABEL = "each model and task, with when the behaviour emerged"
EMERGES = "when the behaviour emerged (95 % interval)"
MOST_MARKERS = 60
"""Checkpoints of a curve that are marked one by one."""


@dataclass(frozen=True)
class Steps:
    """A task's algorithm.

    Attributes:
        task, words: of which task.
        boxes: what computes, in order.
        arrows: between them, one fewer: words, and the colour of the curve that stands for it.
    """

    task: str
    words: str
    boxes: tuple[str, ...]
    arrows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Algorithm:
    """The steps of each task, and a panel a model (row) and task (column)."""

    steps: tuple[Steps, ...]
    choice: Choice


def algorithm_chart(
    spec: Specification, cells: Sequence[CellData], emergence: pd.DataFrame
) -> Algorithm | None:
    """A row a model, a column a task that has measures of its own: the shares, and shaded when the
    behaviour emerges. None where no task has measures.

    Where a share hangs on who holds a role, the band is the least and the most over the roles'
    cut-offs, and bars are 95 % intervals; else the band is the interval. A thin line a seed,
    without either, where there are several. A panel without numbers says why.
    """
    measures = _measures_of(spec)
    tasks = [task for task in measures if any(cell.task == task for cell in cells)]
    if not tasks:
        return None
    panels = []
    for model in models_in_order(list(cells)):
        own = [_panel(spec, cells, emergence, model, task, measures[task]) for task in tasks]
        ends = [end for panel in own for end in panel.limits]
        panels += [replace(panel, limits=(min(ends), max(ends))) for panel in own]
    keys = [key for task in tasks for key in _keys(spec.facts, task, measures[task])]
    steps = tuple(_steps(spec.facts, task, measures[task]) for task in tasks)
    own_keys = tuple({key.words: key for key in keys}.values())
    return Algorithm(steps, Choice(LABEL, tuple(panels), len(tasks), own_keys))


def _measures_of(spec: Specification) -> dict[str, list[Panel]]:
    """The panels of each task that has measures of its own, these first; then what is measured in
    every task and has a name for a legend.
    """
    section = spec.sections.get("algorithm")
    found: dict[str, list[Panel]] = {}
    for task in spec.lines.tasks():
        panels = [panel for panel in section.panels if panel.task == task] if section else []
        known = spec.facts.task(task).quantities
        own = [panel for panel in panels if panel.quantity.key in known]
        if own:
            found[task] = own + [p for p in panels if p not in own and p.quantity.label]
    return found


def _panel(
    spec: Specification,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    model: str,
    task: str,
    measures: Sequence[Panel],
) -> Panel:
    of_task = [cell for cell in cells if (cell.model, cell.task) == (model, task)]
    thin = len(of_task) > 1
    drawn = []
    for place, measure in enumerate(measures):
        quantity = measure.quantity
        for line in measure.curves:
            if line.model != model:
                continue
            drawn.append(
                Curve(
                    line,
                    colour_of(quantity.colour, place),
                    _called(quantity),
                    dash=_dash(spec.facts, task, quantity),
                    width=0.6 if thin else 1.0,
                    marker=""
                    if thin or line.tokens.size > MOST_MARKERS
                    else quantity.marker or MARKERS[0],
                    band=0.0 if thin else 0.18 if line.least is not None else 0.12,
                )
            )
    spans = [span for cell in of_task if (span := _span(emergence, cell)) is not None]
    return Panel(
        f"{model}, {spec.facts.task(task).words}",
        measures[0].axis.split(",")[0],
        task,
        measures[0].quantity,
        tuple(drawn),
        limits=(
            min(panel.limits[0] for panel in measures),
            max(panel.limits[1] for panel in measures),
        ),
        cut=any(panel.cut for panel in measures),
        model=model,
        spans=tuple(spans),
        empty="" if drawn else _why_empty(of_task),
    )


def _dash(facts: Facts, task: str, quantity: Quantity) -> tuple[float, ...]:
    """Solid for what the task's own algorithm measures."""
    return SOLID if quantity.key in facts.task(task).quantities else DASHES["dashed"]


def _called(quantity: Quantity) -> str:
    return quantity.label or quantity.words


def _keys(facts: Facts, task: str, measures: Sequence[Panel]) -> list[Key]:
    return [
        Key(
            _called(panel.quantity),
            colour_of(panel.quantity.colour, place),
            dash=_dash(facts, task, panel.quantity),
            marker=panel.quantity.marker,
        )
        for place, panel in enumerate(measures)
    ]


def _steps(facts: Facts, name: str, measures: Sequence[Panel]) -> Steps:
    task = facts.task(name)
    colours = {
        panel.quantity.key: colour_of(panel.quantity.colour, place)
        for place, panel in enumerate(measures)
    }
    arrows = []
    for _, words, key in task.steps[:-1]:
        known = facts.quantity(key).colour if key else ""
        arrows.append((words, colours.get(key) or (colour_of(known) if known else GREY)))
    return Steps(name, task.words, tuple(box for box, _, _ in task.steps), tuple(arrows))


def _span(emergence: pd.DataFrame, cell: CellData) -> Span | None:
    """A behaviour's emergence point with its interval, if it has one."""
    row = emerged_row(emergence, cell.model, cell.seed, cell.task)
    if row is None:
        return None
    at = float(row["tokens"])
    low = float(row["tokens_low"]) if pd.notna(row["tokens_low"]) else at
    open_end = pd.isna(row["tokens_high"])
    high = float(row["last_tokens"] if open_end else row["tokens_high"])
    return Span(max(low, 1.0), high, at, EMERGES, open=bool(open_end))


def _why_empty(cells: Sequence[CellData]) -> str:
    if not cells:
        return "this model was not run on this task"
    if all(above_chance_from(cell.curves).empty for cell in cells):
        return "the behaviour was never above chance"
    return "not measured"
