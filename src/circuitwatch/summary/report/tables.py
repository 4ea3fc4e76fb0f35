"""The report's tables as its templates take them: headings and cells, each with the words that are
shown and the value that it is sorted by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.quantities.overlap import MEASURES
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.report.columns import EMERGENCE, SCALING, Columns
from circuitwatch.summary.report.emergence_words import with_minus
from circuitwatch.summary.report.head_words import task_of_check
from circuitwatch.units import format_interval, format_number, format_tokens

MOST_ROWS = 400
"""Rows of a table that the page shows; the CSV has all."""
ENDS = {"low", "high"}
"""Ends of an interval of tokens in a table that has `tokens_before` too, else of another number."""
NAMES = {"task", "role", "circuit_task", "quantity"}
"""Columns whose names are shown in words."""
KNEES = {
    "levels off": "there is one",
    "no knee: a straight line fits as well": "none seen",
    "not determined by these sizes": "can't be told",
    "too few sizes for a knee": "too few sizes",
}
"""How `knee_status` is shown."""
METRICS = {
    "only the thresholded one jumps": "only accuracy jumps",
    "only the continuous one rises": "only the metric rises",
}
"""How the `finding` on a metric and accuracy is shown."""
LARGE = 1e6
"""Whole numbers from here on are shown as token counts are, such as 1.2M."""
TEXTS = {"note", "warning", "status_words", "why_no_circuit"}


@dataclass(frozen=True)
class Cell:
    """What is shown; kind: a class of the style sheet; sort: the number that it is sorted by, none
    for a text.
    """

    text: str
    kind: str = ""
    sort: str | None = None


@dataclass(frozen=True)
class Of:
    """The model and the task that something is of, for the page's filters; empty for neither."""

    model: str = ""
    task: str = ""


@dataclass(frozen=True)
class Table:
    """Headings and rows.

    Attributes:
        headings, rows: what is shown.
        of: how many rows there are of which only the first are shown.
        of_rows, of_columns: whose each row or column is; empty where they are of all.
    """

    headings: list[str]
    rows: list[list[Cell]]
    of: int
    of_rows: list[Of] = field(default_factory=list)
    of_columns: list[Of] = field(default_factory=list)

    def row_of(self, place: int) -> Of:
        """Whose a row is."""
        return self.of_rows[place] if self.of_rows else Of()

    def column_of(self, place: int) -> Of:
        """Whose a column is."""
        return self.of_columns[place] if self.of_columns else Of()


def table(frame: pd.DataFrame, columns: Columns, facts: Facts) -> Table | None:
    """Some columns of a table with the names they are to have, at most MOST_ROWS rows; a column of
    seeds only where there are several, none that is empty. None for a table without rows.
    """
    if frame.empty:
        return None
    shown = frame.head(MOST_ROWS)
    names = [
        name
        for name in columns
        if name in shown
        and shown[name].replace("", None).notna().any()
        and (name != "seed" or frame["seed"].nunique() > 1)
    ]
    kinds = {name: _kind(name, frame) for name in names}
    rows = [
        [_cell(name, value, kinds[name], facts) for name, value in zip(names, row, strict=True)]
        for row in shown[names].astype(object).itertuples(index=False)
    ]
    headings = [columns[name] or name.replace("_", " ") for name in names]
    return Table(headings, rows, len(frame), _of_rows(shown))


def _of_rows(shown: pd.DataFrame) -> list[Of]:
    """Whose each row of a table is, by its columns `model` and `task`."""
    of = [shown[name].astype(str) if name in shown else [""] * len(shown)
          for name in ("model", "task")]  # fmt: skip
    return [Of(model, "" if task == NO_TASK else task) for model, task in zip(*of, strict=True)]


def emergence_tables(emergence: pd.DataFrame, facts: Facts) -> dict[str, Table]:
    """The emergence table, in parts: `behaviours` (and curves from
    elsewhere), `head roles`, `the model's other curves`, `other curves of the tasks`; those that
    have rows. Models are beside one another, by size as in the table.
    """
    if emergence.empty:
        return {}
    ends = {"interval": "tokens", "seen": "crossing"}
    shown = emergence.assign(
        **{
            column: [
                format_interval(low, high)
                for low, high in zip(
                    emergence[f"{name}_low"], emergence[f"{name}_high"], strict=True
                )
            ]
            for column, name in ends.items()
        },
    )
    part = [_part(str(q), str(t), facts) for q, t in zip(shown["quantity"], shown["task"],
                                                        strict=True)]  # fmt: skip
    shown = shown.assign(
        part=part,
        task_place=[(facts.task(str(t)).place, str(t)) for t in shown["task"]],
        place=[(facts.quantity(str(q)).place, str(q)) for q in shown["quantity"]],
    ).sort_values(["task_place", "place"], kind="stable")
    found: dict[str, Table] = {}
    for name in PARTS:
        own = shown[shown["part"] == name]
        if name == PARTS[0]:
            own = own.drop(columns="head", errors="ignore")
        if (own["task"] == NO_TASK).all():
            own = own.drop(columns="task")
        columns = {**EMERGENCE, "quantity": "role"} if name == PARTS[1] else EMERGENCE
        made = table(own, columns, facts)
        found |= {name: made} if made is not None else {}
    return found


PARTS = ("behaviours", "head roles", "the model's other curves", "other curves of the tasks")


def _part(quantity: str, task: str, facts: Facts) -> str:
    known = facts.quantity(quantity)
    if task == NO_TASK and known.panel != ELSEWHERE:
        return PARTS[1] if known.panel == "roles" else PARTS[2]
    return PARTS[0] if known.unit == "task" or known.panel == ELSEWHERE else PARTS[3]


def scaling_table(scaling: pd.DataFrame, facts: Facts) -> tuple[Table | None, int]:
    """The trends over size, without the rows that have too few sizes to say anything, and how many
    those are.
    """
    if scaling.empty:
        return None, 0
    silent = scaling["status"] != "fitted"
    return table(scaling[~silent], SCALING, facts), int(silent.sum())


def _kind(column: str, frame: pd.DataFrame) -> Literal["tokens", "share", "whole", "number"]:
    """How the numbers of a column are written: whole where all of them are."""
    if "tokens" in column.split("_") or (column in ENDS and "tokens_before" in frame):
        return "tokens"
    if column.endswith("share") and column != "strongest_share":
        return "share"
    known = pd.to_numeric(frame[column], errors="coerce").dropna().astype(float)
    whole = "jaccard" not in column and (known == known.round()).all()
    return "whole" if whole else "number"


def _cell(column: str, value: Any, kind: str, facts: Facts) -> Cell:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return Cell("", sort="")
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, str):
        style = f"status-{value.split(':')[0].split()[0]}" if column == "status" and value else ""
        return Cell(_words(column, value, facts), style or ("note" if column in TEXTS else ""))
    number = float(value)
    if kind == "tokens" or (kind == "whole" and LARGE <= number < math.inf):
        text = format_tokens(number) or "0"
    elif kind == "share":
        text = f"{100 * number:.1f} %"
    else:
        text = format_number(int(number) if kind == "whole" and math.isfinite(number) else number)
    return Cell(text, "number", str(number))


def _words(column: str, value: str, facts: Facts) -> str:
    """A stored word as people read it."""
    if column in NAMES and value != NO_TASK:
        own = facts.quantity(f"algorithm/{value}")
        if column == "quantity" and own.key in facts.quantities:
            return own.label or own.words
        return facts.words(value)
    if column == "measure":
        return MEASURES.get(value, value)
    if column == "finding":
        return METRICS.get(value, value)
    if column == "knee_status":
        return KNEES.get(value, value)
    if column == "confirmed_at_end" and value:
        checked = (part.partition(": ") for part in value.split("; "))
        return "; ".join(f"{task_of_check(task, facts)}: {heads}" for task, _, heads in checked)
    return with_minus(value) if column in ("heads", "note") else value
