"""What of a summary is printed: the sizes beside each other, what is doubtful or was left out, and
where the report is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from circuitwatch.beside import EDGES, GAP, MISSING, Line, headed, print_beside, say
from circuitwatch.facts import Facts
from circuitwatch.progress import table_console
from circuitwatch.summary.comparison import (
    ComparisonRow,
    ComparisonRows,
    SizePoint,
    slope_words,
)
from circuitwatch.summary.report.findings import circuit_warnings
from circuitwatch.summary.writing import SummaryResult
from circuitwatch.units import format_tokens

SECTIONS = (
    ("behaviours", ("behaviour",)),
    ("curves from elsewhere", ("curve from elsewhere",)),
    ("head roles", ("head role",)),
    ("the models' other curves", ("model",)),
)
"""Headings of the table → the kinds of rows below each."""
MOST_ROWS = 40
"""Rows of a section; of more, those that emerged in most models."""
LONGEST_NAME = 42
"""Characters of a row's name."""
MOST_LIMITS = 3
"""Lines on the size beyond which more size doesn't help."""
MOST_NOTES = 5
"""Notes, and warnings, that are printed; all are in the report."""


def print_summary(result: SummaryResult) -> None:
    """Print the sizes beside each other, what is doubtful, and where the report is."""
    console = table_console()
    rows = result.comparison
    hidden = len(result.emergence)
    if rows:
        shown = _sections(rows)
        _print_comparison(console, rows.models, shown, result)
        hidden -= sum(point.seeds for _, part in shown for row in part for point in row.sizes)
        for line in _with_size(rows):
            say(console, line)
    if hidden:
        say(console, f"{hidden} more curves in {result.folder / 'emergence.csv'}")
    unfinished = result.cells[~result.cells["finished"]] if len(result.cells) else result.cells
    if len(unfinished):
        named = ", ".join(unfinished["model"] + " × " + unfinished["task"])
        say(console, f"not finished: {named}")
    warnings = [*result.comparisons.warnings(), *circuit_warnings(result.cells, result.facts)]
    for kind, lines in (("note", result.notes), ("warning", warnings)):
        for line in lines[:MOST_NOTES]:
            say(console, f"{kind}: {line}")
        if len(lines) > MOST_NOTES:
            say(console, f"{len(lines) - MOST_NOTES} more {kind}s are in the report")
    say(console, f"report: {result.folder / 'report.html'}")


def _sections(rows: ComparisonRows) -> list[tuple[str, list[ComparisonRow]]]:
    """The rows that are shown below each heading; of too many those that emerged in most models, in
    the order of the table.
    """
    found = []
    for heading, kinds in SECTIONS:
        part = rows.of_kind(*kinds)  # type: ignore[arg-type]
        if len(part) > MOST_ROWS:
            often = {id(row): sum(point.emerged > 0 for point in row.sizes) for row in part}
            best = sorted(part, key=lambda row: -often[id(row)])[:MOST_ROWS]
            chosen = {id(row) for row in best}
            part = [row for row in part if id(row) in chosen]
        if part:
            found.append((heading, part))
    return found


def _print_comparison(
    console: Console,
    models: Sequence[str],
    sections: Sequence[tuple[str, Sequence[ComparisonRow]]],
    result: SummaryResult,
) -> None:
    """Print when things emerged and how large circuits are, with intervals where there is room."""
    rows = [row for _, part in sections for row in part]
    sloped = any(row.slope is not None for row in rows)
    params = {point.model: point.params for row in rows for point in row.sizes}
    heads = [headed(model, params.get(model)) for model in models]
    names = _names(sections, result.facts)
    points = [point for row in rows for point in row.sizes]
    widest = {
        model: max([len(p.words) for p in points if p.model == model], default=0)
        for model in models
    }
    room = console.width - max(len(name) for name in names.values()) - GAP - EDGES
    has_room = sum(max(widest[m], *map(len, h.splitlines())) + GAP for m, h in
                   zip(models, heads, strict=True)) <= room  # fmt: skip
    lines: list[Line] = []
    for heading, part in sections:
        own = [Line((heading,))]
        for row in part:
            values = [_said(row.size(model), has_room) for model in models]
            values += [slope_words(row)] if sloped else []
            own.append(Line((names[id(row)],), tuple(values)))
        lines += [*own[:-1], replace(own[-1], ends=True)]
    lines += _circuits(rows, models, names, sloped)
    title = "Tokens of emergence, models by size"
    title += " [95 % interval]" if has_room else "; intervals are in comparison.csv"
    print_beside(console, title, ("",), heads + ["slope (log–log)"] * sloped, lines)


def _circuits(
    rows: Sequence[ComparisonRow], models: Sequence[str], names: dict[int, str], sloped: bool
) -> list[Line]:
    """The size of the last circuit of each task, below a heading; none without circuits."""
    lines = []
    for row in rows:
        if row.quantity != "behaviour/value":
            continue
        sizes = [None if (p := row.size(model)) is None else p.circuit for model in models]
        if any(sizes):
            values = [
                MISSING if size is None else f"{size.edges:.0f} edges"
                if size.share is None else f"{size.share:.1%}"
                for size in sizes
            ]  # fmt: skip
            lines.append(Line((names[id(row)],), (*values, *[""] * sloped)))
    return [Line(("last circuit, share of all edges",)), *lines] if lines else []


def _names(sections: Sequence[tuple[str, Sequence[ComparisonRow]]], facts: Facts) -> dict[int, str]:
    """What rows are called below their headings; a task's other curve follows its behaviour."""
    names = {}
    for _, part in sections:
        before = ""
        for row in part:
            is_second = row.kind == "behaviour" and row.task == before
            words = facts.words(row.quantity) if is_second else row.named(facts)
            name = f"{'    ' if is_second else '  '}{words}"
            names[id(row)] = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
            before = row.task
    return names


def _said(point: SizePoint | None, with_interval: bool) -> str:
    if point is None:
        return MISSING
    if with_interval or point.tokens is None:
        return point.words
    share = f" ({point.emerged}/{point.seeds})" if point.emerged < point.seeds else ""
    return format_tokens(point.tokens) + share


def _with_size(rows: ComparisonRows) -> list[str]:
    """What can be said of the size beyond which more doesn't help, the commonest first; nothing
    where there is no trend, of which a note says why.
    """
    said: dict[str, list[ComparisonRow]] = {}
    for row in rows:
        if row.trend_status == "fitted":
            said.setdefault(row.limit, []).append(row)
    most = sorted(said.items(), key=lambda item: -len(item[1]))[:MOST_LIMITS]
    every = sum(map(len, said.values()))
    return [
        f"size beyond which more doesn't help: {words} ({len(found)} of {every} rows)"
        for words, found in most
    ]
