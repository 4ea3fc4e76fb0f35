"""The comparison of the sizes as the report's templates take it: a column a model."""

from __future__ import annotations

from collections.abc import Sequence

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.comparison import (
    ComparisonRow,
    ComparisonRows,
    Kind,
    SizePoint,
    slope_words,
)
from circuitwatch.summary.report.tables import MOST_ROWS, Cell, Of, Table
from circuitwatch.summary.statistics.knees import MIN_SIZES_KNEE
from circuitwatch.units import format_tokens

SORTED = {"already": "-1", "in some seeds": "1e29", "never": "1e30"}
"""Where a status without an emergence point is sorted among tokens; others come last."""


def comparison_table(
    rows: ComparisonRows, facts: Facts, kinds: Sequence[Kind] | None = None
) -> Table | None:
    """The rows of some kinds, by default of all, at most MOST_ROWS.

    A column a model, smallest first, with `tokens [interval]` or the status; then the slope, what
    it says, where more size stops to help, and the size of the circuit in each model that has any.
    Columns that would be empty are left out, and those that would only say that the sizes are too
    few. None without rows.
    """
    chosen = rows.of_kind(*kinds) if kinds is not None else list(rows)
    if not chosen:
        return None
    shown, models = chosen[:MOST_ROWS], ComparisonRows(tuple(chosen)).models
    sized = [
        model
        for model in models
        if any((point := row.size(model)) is not None and point.circuit for row in shown)
    ]
    params = {point.model: point.params for row in chosen for point in row.sizes}
    headings = ["task or role"]
    headings += [_headed(model, params[model]) for model in models]
    sloped = any(row.slope is not None for row in shown)
    headings += ["slope (log–log)"] if sloped else []
    # where no row says more than that the sizes are too few, that is said once, elsewhere
    trended = any(row.trend_status == "fitted" for row in shown)
    limited = any(row.knee is not None for row in shown) or (trended and _enough(shown))
    headings += ["with size"] * trended + ["size helps up to"] * limited
    headings += [f"circuit in {model}" for model in sized]
    cells = []
    for row in shown:
        line = [Cell(row.named(facts))]
        line += [_size_cell(row.size(model)) for model in models]
        line += [_slope_cell(row)] if sloped else []
        line += [Cell(row.trend, "note")] * trended + [_limit_cell(row)] * limited
        line += [_circuit_cell(row.size(model)) for model in sized]
        cells.append(line)
    of_models = dict(zip([_headed(model, params[model]) for model in models], models, strict=True))
    of_models |= {f"circuit in {model}": model for model in sized}
    return Table(
        headings,
        cells,
        len(chosen),
        [Of(task="" if row.task == NO_TASK else row.task) for row in shown],
        [Of(model=of_models.get(heading, "")) for heading in headings],
    )


def _enough(rows: Sequence[ComparisonRow]) -> bool:
    """Whether any row has enough sizes to ask where more size stops to help."""
    return any(row.n_observed >= MIN_SIZES_KNEE for row in rows)


def _headed(model: str, params: float | None) -> str:
    return model if params is None else f"{model} ({format_tokens(params)})"


def _size_cell(point: SizePoint | None) -> Cell:
    if point is None:
        return Cell("", sort="")
    if point.tokens is None:
        kind = "status-some" if point.status == "in some seeds" else f"status-{point.status}"
        return Cell(point.words, kind, SORTED.get(point.status, ""))
    return Cell(point.words, "number", str(point.tokens))


def _slope_cell(row: ComparisonRow) -> Cell:
    return Cell(slope_words(row), "number", "" if row.slope is None else str(row.slope))


def _limit_cell(row: ComparisonRow) -> Cell:
    return Cell(row.limit, "note", "" if row.knee is None else str(row.knee))


def _circuit_cell(point: SizePoint | None) -> Cell:
    size = None if point is None else point.circuit
    if size is None:
        return Cell("", sort="")
    if size.share is None:
        return Cell(f"{size.edges:.0f} edges", "number", str(size.edges))
    return Cell(f"{size.share:.1%} ({size.edges:.0f})", "number", str(size.share))
