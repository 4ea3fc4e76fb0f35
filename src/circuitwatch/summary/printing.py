"""What of a summary is printed: when things emerged, what was left out, and where the report is.

A few curves have a row each. Of many, of several models, the models stand beside each other, a row
for each task and quantity: the quantities that emerged first.
"""

from __future__ import annotations

import pandas as pd
import rich.box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from circuitwatch.facts import Facts
from circuitwatch.progress import wide_console
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.report.findings import circuit_warnings
from circuitwatch.summary.writing import SummaryResult
from circuitwatch.units import format_interval, format_tokens

MOST_ROWS = 60
"""Curves of behaviours, and of head roles, that have a row each; of more, models stand beside each
other.
"""
MOST_BESIDE = 40
"""Rows of models beside each other."""
NAMES = 42
"""Columns of the screen for the names of a row."""


def print_summary(result: SummaryResult) -> None:
    """Print when things emerged, what was left out, and where the report is."""
    console = Console() if Console().is_terminal else wide_console()
    emergence, file = result.emergence, result.folder / "emergence.csv"
    roles = emergence["task"] == NO_TASK if len(emergence) else pd.Series(dtype=bool)
    parts = (emergence[~roles], emergence[roles]) if len(emergence) else (emergence,)
    beside = [len(part) > MOST_ROWS and part["model"].nunique() > 1 for part in parts]
    rows = _table("emergence")
    _add_columns(rows, several=len(emergence) > 0 and emergence["seed"].nunique() > 1)
    hidden = 0
    for part, models_beside in zip(parts, beside, strict=True):
        if not models_beside:
            _add_rows(rows, part.head(MOST_ROWS), result.facts)
            hidden += max(len(part) - MOST_ROWS, 0)
    if rows.row_count or not any(beside):
        console.print(rows)
    for part, models_beside in zip(parts, beside, strict=True):
        if models_beside:
            hidden += _print_beside(console, part, result.facts)
    if hidden:
        _say(console, f"{hidden} more curves in {file}")
    unfinished = result.cells[~result.cells["finished"]] if len(result.cells) else result.cells
    if len(unfinished):
        named = ", ".join(unfinished["model"] + " × " + unfinished["task"])
        console.print(f"not finished: {named}", highlight=False, markup=False)
    for note in result.notes:
        _say(console, f"note: {note}")
    for warning in [*result.comparisons.warnings(), *circuit_warnings(result.cells, result.facts)]:
        _say(console, f"warning: {warning}")
    _say(console, f"report: {result.folder / 'report.html'}")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _add_columns(table: Table, *, several: bool) -> None:
    names = ("model", *(["seed"] if several else []), "task", "quantity", "status", "tokens")
    for name in (*names, "95 % interval", "seen between", "at the end"):
        wraps = name in ("task", "quantity")
        right = name in ("tokens", "at the end")
        table.add_column(name, justify="right" if right else "left", no_wrap=not wraps)


def _add_rows(table: Table, part: pd.DataFrame, facts: Facts) -> None:
    """A row for each curve."""
    several = any(column.header == "seed" for column in table.columns)
    for _, row in part.iterrows():
        interval, seen = (
            format_interval(row[f"{name}_low"], row[f"{name}_high"])
            for name in ("tokens", "crossing")
        )
        table.add_row(
            escape(row["model"]),
            *([str(row["seed"])] if several else []),
            escape(row["task"]),
            escape(facts.words(str(row["quantity"]))),
            row["status"],
            format_tokens(row["tokens"]),
            interval,
            seen,
            f"{row['final']:.2f}",
        )
    table.add_section()


def _print_beside(console: Console, part: pd.DataFrame, facts: Facts) -> int:
    """Print models beside each other, and return how many curves are not shown."""
    sizes = part.groupby("model", sort=False)["params_total"].first().sort_values(kind="stable")
    models = list(sizes.index)
    each = max(len(model) for model in models) + 2
    shown = models[-max((console.width - NAMES) // each, 1) :]
    emerged = part["status"] == "emerged"
    counts = emerged.groupby([part["task"], part["quantity"]], sort=False).sum()
    order = counts[counts > 0].sort_values(ascending=False, kind="stable").index
    table = _table("tokens of emergence, by model size")
    table.add_column("task")
    table.add_column("quantity")
    for model in shown:
        table.add_column(escape(model), justify="right", overflow="fold")
    of = {key: rows for key, rows in part.groupby(["task", "quantity"], sort=False)}
    for task, quantity in list(order)[:MOST_BESIDE]:
        rows = of[task, quantity]
        cells = [_cell(rows[rows["model"] == model]) for model in shown]
        table.add_row(escape(task), escape(facts.words(quantity)), *cells)
    if len(order):
        console.print(table)
    printed = len(list(order)[:MOST_BESIDE])
    never = len(counts) - len(order)
    if never:
        _say(console, f"{never} of {len(counts)} quantities emerged in no model")
    if len(shown) < len(models):
        _say(console, f"not shown, for want of room: {', '.join(models[: -len(shown)])}")
    beside = part.set_index(["task", "quantity"]).index.isin(list(order)[:printed])
    return int((~(beside & part["model"].isin(shown).to_numpy())).sum())


def _cell(rows: pd.DataFrame) -> str:
    """When it emerged in a model, over its seeds the median; else its status."""
    if rows.empty:
        return ""
    points = rows.loc[rows["status"] == "emerged", "tokens"]
    if len(points):
        share = f" ({len(points)}/{len(rows)})" if len(points) < len(rows) else ""
        return f"{format_tokens(float(points.median()))}{share}"
    return f"[dim]{rows['status'].mode().iloc[0]}[/dim]"
