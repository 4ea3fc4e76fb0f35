"""How numbers, intervals and trends are written in the answers of a sweep (`questions`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from circuitwatch.catalogue import LAST_PLACE
from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.report.emergence_words import MINUS, begin, knee_words
from circuitwatch.summary.rows import ScalingRow
from circuitwatch.summary.statistics.scaling import MIN_SIZES
from circuitwatch.units import counted, format_tokens

MISSING = "–"
"""What stands for a number that does not exist."""
FEW_SIZES = "not enough sizes"


def trends(rows: Sequence[ScalingRow], facts: Facts) -> list[str]:
    """Trends in sentences; where there is none at all, one sentence says why."""
    if rows and all(row.status != "fitted" for row in rows):
        most = max(row.n_observed for row in rows)
        return [
            f"{begin(FEW_SIZES)} for a trend with model size: it needs {MIN_SIZES} sizes with a "
            f"value, and there are at most {most}."
        ]
    return [f"{begin(of_what(row, facts))}: {trend_words(row)}." for row in rows]


def trend_words(row: ScalingRow) -> str:
    """A trend over sizes in words, or that there are not enough sizes."""
    if row.status != "fitted":
        return f"{FEW_SIZES} ({row.n_observed} with a value; a trend needs {MIN_SIZES})"
    ends = (
        number(row.slope_low, missing="unbounded"),
        number(row.slope_high, missing="unbounded"),
    )
    return (
        f"goes with parameters to the power {number(row.slope)} [{', '.join(ends)}] over "
        f"{counted(row.n_sizes, 'size')}; {knee_words(pd.Series(vars(row)))}"
    )


def of_what(row: ScalingRow, facts: Facts) -> str:
    """The task and the quantity that a trend is of."""
    words = facts.quantity(row.quantity).words
    return words if row.task == NO_TASK else f"{facts.task(row.task).words}, {words}"


def who_of(row: Any) -> tuple[str, str, str]:
    """Model, parameters and seed of a row."""
    return row.model, format_tokens(row.params_total) or MISSING, str(row.seed)


def by_task(rows: Iterable[Sequence[str]], facts: Facts) -> tuple[tuple[str, ...], ...]:
    """The rows, each of which begins with a task's words, by task in the catalogue's order."""
    every = [tuple(cell or MISSING for cell in row) for row in rows]
    place = {task.words: task.place for task in facts.tasks.values()}
    return tuple(sorted(every, key=lambda row: (place.get(row[0], LAST_PLACE), row[0])))


def number(value: Any, digits: int = 2, missing: str = MISSING) -> str:
    """A number as people read it; what is missing has no number."""
    if value is None or pd.isna(value):
        return missing
    return f"{float(value):.{digits}f}".replace("-", MINUS)


def span(low: Any, high: Any) -> str:
    """An interval behind a number; nothing where an end is missing."""
    known = not (low is None or high is None or pd.isna(low) or pd.isna(high))
    return f" [{number(low)}, {number(high)}]" if known else ""


def span_of(low: Any, high: Any) -> str:
    """From the least to the greatest."""
    return f"{number(low)} to {number(high)}"


def count_of(value: Any) -> str:
    """A whole number."""
    return MISSING if pd.isna(value) else str(int(value))


def text_of(value: Any) -> str:
    """Words of a table, where there are any."""
    return MISSING if not isinstance(value, str) or not value else value
