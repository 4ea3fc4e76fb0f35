"""What the report's figures are drawn from, small enough to lie in the page: the panels of
`summary.panels`, heads' timelines, transfer (`circuits` has the circuits).

Curves are numbers of four digits over shared lists of token counts. A head's score at a checkpoint
is one character. `report.js` is the other half: it reads exactly this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.figures.timeline import MOST_HEADS, role_label, states
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.heads.transfer import matrix, over_checkpoints
from circuitwatch.summary.heads.turnover import holding, tenure
from circuitwatch.summary.lines import Line
from circuitwatch.summary.panels import Choice, Panel, Specification

LEVELS = 23
"""Steps of a head's score in the timeline; its four states (not held, held, confirmed and helps,
and hurts) times this fit one printable character.
"""
FIRST_CHARACTER = 33
MOST_CHECKPOINTS = 32
"""Checkpoints of a transfer matrix, along each side, that the report draws, evenly spread."""
MOST_POINTS = 200_000
"""Points of curves in the report; beyond, every curve is thinned evenly in log tokens."""


@dataclass
class _Page:
    """What the page has once, whoever draws it: models, lists of token counts, curves."""

    models: list[str]
    keep: int | None = None
    axes: list[list[float]] = field(default_factory=list)
    series: list[dict[str, Any]] = field(default_factory=list)
    _places: dict[tuple[float, ...], int] = field(default_factory=dict)
    _known: dict[int, int] = field(default_factory=dict)

    def axis(self, tokens: Sequence[float]) -> int:
        """The place of a list of token counts."""
        key = tuple(float(count) for count in tokens)
        if key not in self._places:
            self._places[key] = len(self.axes)
            self.axes.append([int(count) if count == int(count) else count for count in key])
        return self._places[key]

    def lines(self, lines: Sequence[Line], *, compared: bool = False) -> list[int]:
        """The places of some curves; compared: they are what others are compared with, smoothed,
        and no data of their own.
        """
        return [self._line(line, compared) for line in lines]

    def _line(self, line: Line, compared: bool) -> int:
        if id(line) in self._known:
            return self._known[id(line)]
        self._known[id(line)] = len(self.series)
        n = line.tokens.size
        if self.keep is not None and n > self.keep:
            line = line.at(_evenly(n, self.keep))
        made: dict[str, Any] = {
            "m": self.models.index(line.model),
            "t": line.task,
            "q": line.quantity,
            "s": line.seed,
            "a": self.axis(line.tokens.tolist()),
            "y": _numbers(line.values),
        }
        for name in ("low", "high", "least", "most"):
            if (values := getattr(line, name)) is not None:
                made[name] = _numbers(values)
        if line.copies[0].size:
            made["copies"] = [line.copies[0].tolist(), _numbers(line.copies[1])]
        if line.doubts:
            made["doubts"] = {words: places.tolist() for words, places in line.doubts.items()}
        if compared:
            made["compared"] = 1
        self.series.append(made)
        return len(self.series) - 1


def report_data(
    spec: Specification, emergence: pd.DataFrame, scaling: pd.DataFrame, heads: HeadTables
) -> tuple[dict[str, Any], list[str]]:
    """Everything but the circuits, as JSON can hold it; and notes of what was thinned out.

    Args:
        spec: the panels.
        emergence: one row a curve.
        scaling: trends over size.
        heads: timelines and transfer.
    """
    facts, models = spec.facts, spec.lines.models
    every = [p for section in spec.sections.values() for p in section.panels]
    points = sum(line.tokens.size for panel in every for line in panel.curves)
    keep = max(2, int(MOST_POINTS / points * 160)) if points > MOST_POINTS else None
    page = _Page(models, keep)
    sections = [
        {"id": section.name, "choices": [_choice(choice, page) for choice in section.choices]}
        for section in spec.sections.values()
    ]
    asked = [str(q) for q in dict.fromkeys(emergence["quantity"])] if len(emergence) else []
    data = {
        "models": [
            {"name": m, "params": number(spec.lines.params.get(m), 9), "colour": spec.colours[m]}
            for m in models
        ],
        "tasks": [
            {"name": task, "words": facts.task(task).words}
            for task in spec.lines.tasks()
            if task != NO_TASK
        ],
        "quantities": {quantity: facts.words(quantity) for quantity in asked},
        "sections": sections,
        "timeline": _timeline(heads, page, facts),
        "transfer": _transfer(heads.transfer, models),
        "specificity": _specificity(heads.specificity, models, facts),
        "emergence": _emergence(emergence, models),
        "trends": _trends(scaling),
        "axes": page.axes,
        "series": page.series,
    }
    thinned = [f"curves in the report are thinned to {keep} checkpoints"] if keep else []
    return data, thinned


def as_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace(
        "<", "\\u003c"
    )


def number(value: Any, digits: int = 4) -> float | None:
    """A number as short as four digits are; none for what is missing."""
    if value is None or value != value or value in (np.inf, -np.inf):
        return None
    short = float(f"{float(value):.{digits}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [number(value) for value in values.tolist()]


def _choice(choice: Choice, page: _Page) -> dict[str, Any]:
    return {
        "label": choice.label,
        "notes": choice.notes,
        "panels": [_panel(panel, page) for panel in choice.panels],
    }


def _panel(panel: Panel, page: _Page) -> dict[str, Any]:
    made: dict[str, Any] = {
        "t": None if panel.task == NO_TASK else panel.task,
        "title": panel.title,
        "axis": panel.axis,
        "limits": [number(end, 6) for end in panel.limits],
        "series": page.lines(panel.curves),
    }
    if panel.levels:
        made["levels"] = [{"y": level, "words": words} for level, words in panel.levels]
    if panel.beside:
        made["beside"] = page.lines(panel.beside)
    for kind in ("ceiling", "chance"):
        if lines := getattr(panel, kind):
            made[kind] = page.lines(lines, compared=True)
    return made


def _timeline(heads: HeadTables, page: _Page, facts: Facts) -> list[dict[str, Any]]:
    """A line a role of a model and seed: its heads, those that hold it longest, with one character
    a checkpoint.
    """
    lines = []
    for history in heads.histories:
        held_ever = tenure(history.scores, history.threshold)
        if held_ever.empty or history.model not in page.models:
            continue
        names = held_ever.loc[
            held_ever["checkpoints"].rank(ascending=False, method="first") <= MOST_HEADS, "head"
        ]
        held = holding(history.scores, history.threshold)
        for task in history.checks or (None,):
            state = states(history, held, task)
            rows = []
            for name in names:
                level = (
                    (history.scores[name].clip(0, 1) * (LEVELS - 1)).round().astype(int).to_numpy()
                )
                code = "".join(
                    chr(FIRST_CHARACTER + int(s) * LEVELS + int(v))
                    for s, v in zip(state[name], level, strict=True)
                )
                rows.append([str(name), code])
            lines.append(
                {
                    "m": page.models.index(history.model),
                    "s": history.seed,
                    "role": role_label(history, task, facts),
                    "colour": facts.role(history.role).colour,
                    "a": page.axis(history.scores.index.get_level_values("tokens").tolist()),
                    "heads": rows,
                    "more": len(held_ever) - len(rows),
                }
            )
    return lines


def _transfer(transfer: pd.DataFrame, models: list[str]) -> list[dict[str, Any]]:
    """Faithfulness [circuit's checkpoint][model's] of each model and task, over seeds their
    median.
    """
    made = []
    own = over_checkpoints(transfer) if len(transfer) else transfer
    for (model, task), rows in own.groupby(["model", "task"], sort=False) if len(own) else ():
        if model not in models:
            continue
        table = matrix(rows)
        table = table.iloc[
            _evenly(len(table), MOST_CHECKPOINTS), _evenly(table.shape[1], MOST_CHECKPOINTS)
        ]
        made.append(
            {
                "m": models.index(str(model)),
                "t": task,
                "rows": [int(t) for t in table.index],
                "columns": [int(t) for t in table.columns],
                "v": [[number(v, 3) for v in row] for row in table.to_numpy(dtype=float)],
            }
        )
    return made


def _specificity(
    specificity: pd.DataFrame, models: list[str], facts: Facts
) -> list[dict[str, Any]]:
    made = []
    for model, rows in specificity.groupby("model", sort=False) if len(specificity) else ():
        value = "last" if rows["last"].notna().any() else "mean"
        table = rows.pivot_table(
            index="circuit_task", columns="task", values=value, aggfunc="median", dropna=False
        )
        order = sorted(table.index, key=lambda task: (facts.task(task).place, task))
        table = table.reindex(index=order, columns=[t for t in order if t in table.columns])
        made.append(
            {
                "m": models.index(str(model)),
                "at": number(rows["last_tokens"].max()) if value == "last" else None,
                "rows": [facts.task(task).words for task in table.index],
                "columns": [facts.task(task).words for task in table.columns],
                "v": [[number(v, 3) for v in row] for row in table.to_numpy(dtype=float)],
            }
        )
    return made


def _emergence(emergence: pd.DataFrame, models: list[str]) -> list[dict[str, Any]]:
    names = {
        "tokens": "x",
        "tokens_low": "low",
        "tokens_high": "high",
        "first_tokens": "first",
        "last_tokens": "last",
    }
    return [
        {
            "m": models.index(row["model"]),
            "t": row["task"],
            "q": row["quantity"],
            "s": int(row["seed"]),
            "status": row["status"],
        }
        | {short: number(row[name]) for name, short in names.items()}
        for _, row in emergence.iterrows()
    ]


def _trends(scaling: pd.DataFrame) -> list[dict[str, Any]]:
    if scaling.empty:
        return []
    fitted = scaling[(scaling["of"] == "tokens of emergence") & (scaling["status"] == "fitted")]
    return [
        {
            "t": row["task"],
            "q": row["quantity"],
            "slope": number(row["slope"]),
            "intercept": number(row["intercept"], 8),
        }
        for _, row in fitted.iterrows()
    ]


def _evenly(n: int, most: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))
