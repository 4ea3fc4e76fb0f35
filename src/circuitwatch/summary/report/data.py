"""What the page draws, as JSON: the charts of `summary.charts`, small enough to lie in the page
(`circuits` has the circuits).

A head's score at a checkpoint is one character; `packing` says what curves are. Colours, names,
limits and legends are those of the charts, as the figures have them; the modules in templates/js
are the other half, and read exactly this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.charts.algorithm import Steps
from circuitwatch.summary.charts.emergence import Emergence, Point, Sizes, limit_keys
from circuitwatch.summary.charts.looks import FAITH, INPUTS, MISSING, Key, on_dark
from circuitwatch.summary.charts.matrices import Matrix
from circuitwatch.summary.charts.panel import Choice, Panel
from circuitwatch.summary.charts.timeline import STATES, RoleRows, Timeline
from circuitwatch.summary.charts.together import Charts
from circuitwatch.summary.panels import METRIC
from circuitwatch.summary.report.packing import Packed, evenly, number

LEVELS = 23
"""Steps of a head's score in the timeline; its states times this fit one printable character."""
FIRST_CHARACTER = 33
MOST_CHECKPOINTS = 32
"""Checkpoints of a transfer matrix, along each side, that the page draws, evenly spread."""
COLOUR = re.compile("#[0-9a-f]{6}")
MOST_POINTS = 200_000
"""Points of curves in the page; beyond, every curve is thinned evenly in log tokens."""


def report_data(charts: Charts) -> tuple[dict[str, Any], list[str]]:
    """Everything but the circuits, as JSON can hold it; and notes of what was thinned out."""
    spec = charts.spec
    facts, models = spec.facts, spec.lines.models
    choices = {name: charts.choices(name) for name in spec.sections}
    every = [panel for own in choices.values() for choice in own for panel in choice.panels]
    points = sum(curve.line.tokens.size for panel in every for curve in panel.drawn)
    keep = max(2, int(MOST_POINTS / points * 160)) if points > MOST_POINTS else None
    page = Packed(models, keep)
    sections = [
        {"id": name, "choices": [_choice(choice, page) for choice in own]}
        for name, own in choices.items()
    ]
    data: dict[str, Any] = {
        "models": [
            {"name": m, "params": number(spec.lines.params.get(m), 9), "colour": spec.colours[m]}
            for m in models
        ],
        "tasks": [
            {"name": task, "words": facts.task(task).words}
            for task in spec.lines.tasks()
            if task != NO_TASK
        ],
        "sections": sections,
        "steps": [_steps(steps) for steps in (charts.algorithm.steps if charts.algorithm else ())],
        "emergence": [_emergence(chart, models) for chart in charts.emergence],
        "limitKeys": [_key(key) for key in limit_keys()],
        "sizes": [
            {"q": quantity, "words": _sizes_words(quantity, panels, charts), "panels": panels}
            for quantity, panels in _sizes(charts, models)
        ],
        "states": [list(state) for state in STATES],
        "timelines": [_timeline(one, page) for one in charts.timelines],
        "matrices": [[_matrix(one, models) for one in row] for row in charts.matrices],
        "faith": {"colours": list(FAITH), "missing": MISSING},
        "inputs": [list(pair) for pair in INPUTS.items()],
        "code": {"levels": LEVELS, "first": FIRST_CHARACTER},
        "axes": page.axes,
        "looks": page.looks,
        "series": page.series,
    }
    thinned = [f"curves in the report are thinned to {keep} checkpoints"] if keep else []
    return data, thinned


def dark_colours(data: Any) -> dict[str, str]:
    """The counterpart on dark paper of every colour in the page's data."""
    found: dict[str, str] = {}

    def search(part: Any) -> None:
        if isinstance(part, dict):
            for value in part.values():
                search(value)
        elif isinstance(part, list):
            if not part or isinstance(part[0], dict | list | str):
                for value in part:
                    search(value)
        elif isinstance(part, str) and COLOUR.fullmatch(part):
            found[part] = on_dark(part)

    search({name: part for name, part in data.items() if name not in ("series", "axes", "files")})
    return found


def as_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace(
        "<", "\\u003c"
    )


def _without_empty(made: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in made.items() if value not in (None, "", False, [], ())}


def _key(key: Key) -> dict[str, Any]:
    return _without_empty(asdict(key) | {"dash": list(key.dash)})


def _choice(choice: Choice, page: Packed) -> dict[str, Any]:
    return {
        "label": choice.label,
        "notes": choice.notes,
        "keys": [_key(key) for key in choice.keys],
        "panels": [_panel(panel, page) for panel in choice.panels],
    }


def _panel(panel: Panel, page: Packed) -> dict[str, Any]:
    made: dict[str, Any] = {
        "t": None if panel.task == NO_TASK else panel.task,
        "m": page.models.index(panel.model) if panel.model else None,
        "title": panel.title,
        "axis": panel.axis,
        "limits": [number(end, 6) for end in panel.limits],
        "curves": [page.drawn(curve) for curve in panel.drawn],
        "levels": [{"y": level, "words": words} for level, words in panel.levels],
        "spans": [
            {"low": number(span.low), "high": number(span.high), "at": number(span.at),
             "words": span.words, "open": span.open}
            for span in panel.spans
        ],
        "empty": panel.empty,
    }  # fmt: skip
    needed = ("curves", "limits")
    return {k: value for k, value in made.items() if k in needed or value not in (None, "", [])}


def _steps(steps: Steps) -> dict[str, Any]:
    return {
        "t": steps.task,
        "words": steps.words,
        "boxes": list(steps.boxes),
        "arrows": [list(arrow) for arrow in steps.arrows],
    }


def _emergence(chart: Emergence, models: list[str]) -> dict[str, Any]:
    return {
        "title": chart.title,
        "limits": [number(end, 6) for end in chart.limits],
        "keys": [_key(key) for key in chart.keys],
        "more": chart.more,
        "groups": [
            {
                "words": group.words,
                "t": None if group.task == NO_TASK else group.task,
                "q": group.quantity,
                "rows": [
                    {"m": models.index(model), "points": [_point(point) for point in points]}
                    for model, points in group.rows
                ],
            }
            for group in chart.groups
        ],
    }


def _point(point: Point) -> dict[str, Any]:
    made = asdict(point)
    made.pop("model")
    made |= {name: number(made[name]) for name in ("at", "low", "high")}
    return _without_empty(made)


def _sizes(charts: Charts, models: list[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Behaviours first."""
    order = sorted(charts.sizes, key=lambda quantity: quantity != METRIC)
    return [
        (quantity, [_size(one, models) for one in charts.sizes[quantity]]) for quantity in order
    ]


def _size(one: Sizes, models: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "title": one.title,
        "axis": one.axis,
        "t": None if one.task == NO_TASK else one.task,
        "dots": [_point(dot.point) | {"m": models.index(dot.point.model)} for dot in one.dots],
        "unplaced": list(one.unplaced),
    }
    if one.trend is not None:
        slope, intercept, words = one.trend
        made["trend"] = {
            "slope": number(slope),
            "intercept": number(intercept, 8),
            "words": words,
        }
    return made


def _sizes_words(quantity: str, panels: Sequence[Mapping[str, Any]], charts: Charts) -> str:
    """What a choice of sizes is called; of circuit sizes it is no emergence."""
    words = charts.spec.facts.words(quantity)
    of_tokens = panels and "tokens" in panels[0]["axis"]
    return f"when emerged: {words}" if of_tokens else f"size: {words}"


def _timeline(one: Timeline, page: Packed) -> dict[str, Any]:
    return {
        "m": page.models.index(one.model),
        "s": one.seed,
        "title": one.title,
        "limits": [number(end, 6) for end in one.limits],
        "roles": [_role(role, page) for role in one.roles],
        "moments": [
            {"t": moment.task, "words": moment.words, "at": number(moment.tokens),
             "dash": list(moment.dash)}
            for moment in one.moments
        ],
    }  # fmt: skip


def _role(role: RoleRows, page: Packed) -> dict[str, Any]:
    rows = []
    for row in role.rows:
        level = (np.clip(np.nan_to_num(row.scores), 0, 1) * (LEVELS - 1)).round().astype(int)
        characters = FIRST_CHARACTER + row.states * LEVELS + level
        rows.append([row.head, "".join(map(chr, characters.tolist()))])
    return {
        "words": role.words,
        "t": role.task,
        "colour": role.colour,
        "a": page.axis(role.tokens.tolist()),
        "heads": rows,
        "more": role.more,
    }


def _matrix(one: Matrix, models: list[str]) -> dict[str, Any]:
    """Over checkpoints thinned to MOST_CHECKPOINTS."""
    rows, columns = (
        np.arange(n) if one.numbers else evenly(n, MOST_CHECKPOINTS) for n in one.values.shape
    )
    diagonal = {place: number for number, place in enumerate(rows.tolist())}
    across = {place: number for number, place in enumerate(columns.tolist())}
    return {
        "m": models.index(one.model),
        "t": one.task,
        "title": one.title,
        "rows": [one.rows[place] for place in rows],
        "columns": [one.columns[place] for place in columns],
        "tokens": [number(one.tokens[place], 12) for place in columns] if one.tokens else [],
        "v": [[number(v, 3) for v in line] for line in one.values[np.ix_(rows, columns)].tolist()],
        "axes": [one.row_axis, one.column_axis],
        "said": [one.row_words, one.column_words],
        "upwards": one.upwards,
        "numbers": one.numbers,
        "diagonal": [
            [diagonal[row], across[column]]
            for row, column in one.diagonal
            if row in diagonal and column in across
        ],
        "empty": one.empty,
    }
