"""Models beside each other in the terminal: a table with a column a model, in as many blocks below
each other as the width asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from circuitwatch.progress import STYLE
from circuitwatch.units import format_tokens

GAP = STYLE["padding"][1] + 1
"""Columns of the screen between two columns of a table."""
MISSING = "–"
"""What stands where there is nothing to say."""
EDGES = 2
"""Columns of the screen at the two sides of a table."""


@dataclass(frozen=True)
class Line:
    """A row: what it is about, one name a label column, and what each model has; a line without
    values heads those below it. ends: whether a gap follows.
    """

    labels: tuple[str, ...]
    values: tuple[str, ...] = ()
    ends: bool = False


def blocks(widths: Sequence[int], room: int) -> list[slice]:
    """Which columns stand in each block, so that each is at most `room` wide; at least one each.

    widths: of the columns, with the gap.
    """
    found, begin, used = [], 0, 0
    for place, width in enumerate(widths):
        if place > begin and used + width > room:
            found.append(slice(begin, place))
            begin, used = place, 0
        used += width
    return [*found, slice(begin, len(widths))]


def headed(model: str, params: float | None) -> str:
    """A model's heading: its name, and below it its size where anybody says."""
    return model if params is None else f"{model}\n{format_tokens(params)} parameters"


def print_beside(
    console: Console,
    title: str,
    labels: Sequence[str],
    models: Sequence[str],
    lines: Sequence[Line],
) -> None:
    """Print the lines with the models beside each other.

    Args:
        console: where, and how wide.
        title: what the table is headed with.
        labels: headings of the label columns.
        models: headings of the other columns; a heading may have several lines.
        lines: each with a label a column, and a value a model or none.
    """
    texts = [line.labels for line in lines]
    names = sum(
        max([len(head), *(len(text[k]) for text in texts)]) + GAP for k, head in enumerate(labels)
    )
    widths = [
        max(
            [len(part) for part in model.splitlines()]
            + [len(line.values[k]) for line in lines if line.values]
        )
        + GAP
        for k, model in enumerate(models)
    ]
    say(console, title)
    for block in blocks(widths, console.width - names - EDGES):
        table = Table(**STYLE)
        for label in labels:
            table.add_column(label, overflow="fold")
        for model in models[block]:
            table.add_column(escape(model), justify="right", overflow="fold")
        for line in lines:
            values = line.values[block] if line.values else [""] * len(models[block])
            table.add_row(*map(escape, (*line.labels, *values)), end_section=line.ends)
        console.print(table)


def say(console: Console, line: str) -> None:
    """Print a line as it is: the terminal breaks it, so that a path in it can be copied."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
