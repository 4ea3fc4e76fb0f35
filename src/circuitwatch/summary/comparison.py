"""The sizes beside each other: for each task's behaviour, each head role and each curve from
elsewhere one row with when it emerged in every model, how that goes with size, and where more size
stops to help.

Nothing is fitted here: the emergence points are those of the emergence table, the trends those of
the scaling table. Of several training seeds of a model a row has the median emergence point, as the
trends take it (`seeds.median_emergence_point`): a seed that never got there counts as late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK, CellData
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.rows import EmergenceRow, Row, Rows, ScalingRow
from circuitwatch.summary.seeds import median_emergence_point
from circuitwatch.summary.statistics.knees import MIN_SIZES_KNEE
from circuitwatch.summary.statistics.scaling import MIN_SIZES, TrendStatus
from circuitwatch.summary.statistics.status import Status
from circuitwatch.units import format_interval, format_number, format_tokens

Kind = Literal["behaviour", "curve from elsewhere", "head role", "model"]
"""Of what a row is; `model`: other curves of a whole model, such as its in-context learning."""
KINDS: tuple[Kind, ...] = ("behaviour", "curve from elsewhere", "head role", "model")
SizeStatus = Literal[Status, "in some seeds"]
"""`in some seeds`: it emerged in some, but in too few for a median."""
OF_TOKENS = "tokens of emergence"


@dataclass(frozen=True)
class CircuitSize:
    """A circuit's number of edges, and their share of all edges of the model, in [0, 1]."""

    edges: float
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """One model in a row.

    Attributes:
        params: its parameters, none where nobody says.
        status: of its curve; of several seeds see `SizeStatus`.
        tokens: the emergence point, of several seeds their median; none without one.
        low, high: the 95 % interval of `tokens`, high missing where it lies beyond the last
            checkpoint; of several seeds the earliest and the latest of those that emerged.
        seeds, emerged: number of training seeds, and in how many of them it emerged.
        circuit: of the task, at the last checkpoint that has a circuit; of several seeds the
            median.
    """

    model: str
    params: float | None
    status: SizeStatus
    tokens: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 1
    emerged: int = 0
    circuit: CircuitSize | None = None

    @property
    def of_seeds(self) -> str:
        """In how many seeds it emerged, such as `2 of 3 seeds`; empty where there is one seed."""
        return f"{self.emerged} of {self.seeds} seeds" if self.seeds > 1 else ""

    @property
    def words(self) -> str:
        """`1.2M [1M – 1.5M]`, or the status where there is no emergence point."""
        if self.tokens is None:
            return f"in {self.of_seeds}" if self.status == "in some seeds" else self.status
        interval = format_interval(self.low, self.high)
        seeds = f" ({self.of_seeds})" if self.seeds > 1 else ""
        return format_tokens(self.tokens) + (f" [{interval}]" if interval else "") + seeds


@dataclass(frozen=True, kw_only=True)
class ComparisonRow(Row):
    """One behaviour, role or curve over the sizes.

    Attributes:
        kind, task, quantity: of what; the task is `-` for what is a model's whatever the task.
        sizes: the models that have it, ascending by parameters; those of unknown size last.
        trend_status: of the trend over sizes: `fitted`, or why none was; none where none was
            looked for.
        n_sizes, n_observed: sizes that the trend could use, and those with an emergence point.
        slope, slope_low, slope_high: change of log tokens for a change of log parameters by one,
            with its 95 % interval (`Trend`).
        knee, knee_low, knee_high: parameters beyond which more size doesn't help, with a 95 %
            interval.
        trend, limit: what the slope and the knee say, in words.
    """

    kind: Kind
    task: str
    quantity: str
    sizes: tuple[SizePoint, ...]
    trend_status: TrendStatus | None = None
    n_sizes: int = 0
    n_observed: int = 0
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    knee: float | None = None
    knee_low: float | None = None
    knee_high: float | None = None
    trend: str = ""
    limit: str = ""

    def size(self, model: str) -> SizePoint | None:
        """One model of the row; none where it has no such curve."""
        return next((point for point in self.sizes if point.model == model), None)

    def named(self, facts: Facts) -> str:
        """What the row is about, as a person says it."""
        quantity = facts.words(self.quantity)
        if self.task == NO_TASK:
            return quantity
        task = facts.task(self.task).words
        return task if self.quantity == "behaviour/value" else f"{task}, {quantity}"


@dataclass(frozen=True)
class ComparisonRows(Rows[ComparisonRow]):
    """The rows of the comparison, behaviours first."""

    @property
    def models(self) -> list[str]:
        """Names of all models in the rows, smallest first; those of unknown size last."""
        found = {point.model: point.params for row in self for point in row.sizes}
        return sorted(found, key=lambda model: _place(found[model]))

    def of_kind(self, *kinds: Kind) -> list[ComparisonRow]:
        """The rows of some kinds."""
        return [row for row in self if row.kind in kinds]

    def frame(self) -> pd.DataFrame:
        """As pandas has it: columns `<model> tokens`, `<model> low`, … for each model; the columns
        of seeds and circuits only where there are any.
        """
        if not self.rows:
            return pd.DataFrame()
        columns: dict[str, list[Any]] = {
            name: [getattr(row, name) for row in self] for name in ("kind", "task", "quantity")
        }
        for model in self.models:
            points = [row.size(model) for row in self]
            own: dict[str, list[Any]] = {
                name: [None if point is None else getattr(point, name) for point in points]
                for name in ("tokens", "low", "high", "status")
            }
            if any(point is not None and point.seeds > 1 for point in points):
                own["seeds"] = [None if point is None else point.of_seeds for point in points]
            circuits = [None if point is None else point.circuit for point in points]
            if any(circuits):
                own["circuit edges"] = [one and one.edges for one in circuits]
                own["circuit share"] = [one and one.share for one in circuits]
            columns |= {f"{model} {name}": values for name, values in own.items()}
        rest = ("slope", "slope_low", "slope_high", "trend", "knee", "knee_low", "knee_high")
        columns |= {name: [getattr(row, name) for row in self] for name in (*rest, "limit")}
        return pd.DataFrame(columns)


def circuit_sizes(cells: Iterable[CellData]) -> dict[tuple[str, str], CircuitSize]:
    """(model, task) → the size of the circuit at the last checkpoint that has one, over seeds the
    median; without those that never have one.
    """
    found: dict[tuple[str, str], list[CircuitSize]] = {}
    for cell in cells:
        edges, shares = cell.curve("circuit/edges"), cell.curve("circuit/edges_share")
        if len(edges):
            share = float(shares.iloc[-1]) if len(shares) else None
            size = CircuitSize(float(edges.iloc[-1]), share)
            found.setdefault((cell.model, cell.task), []).append(size)
    return {key: _median_size(sizes) for key, sizes in found.items()}


def _median_size(sizes: Sequence[CircuitSize]) -> CircuitSize:
    shares = [size.share for size in sizes if size.share is not None]
    edges = median(size.edges for size in sizes)
    return CircuitSize(edges, median(shares) if shares else None)


def comparison_rows(
    emergence: Iterable[EmergenceRow],
    scaling: Iterable[ScalingRow],
    circuits: Mapping[tuple[str, str], CircuitSize],
    facts: Facts,
) -> ComparisonRows:
    """One row a behaviour, head role or curve from elsewhere, with all sizes.

    Args:
        emergence: as `curve_tables.emergence_rows` gives it.
        scaling: as `curve_tables.scaling_rows` gives it, of the same.
        circuits: as `circuit_sizes` gives them.
        facts: what is known of the tasks, roles and quantities.

    Returns:
        the rows, behaviours first, each kind in the order of the facts. Of curves from elsewhere
        those that several models have, unless there is only one model.
    """
    groups: dict[tuple[str, str], dict[str, list[EmergenceRow]]] = {}
    models = set()
    for row in emergence:
        models.add(row.model)
        of_models = groups.setdefault((row.task, row.quantity), {})
        of_models.setdefault(row.model, []).append(row)
    trends = {(row.task, row.quantity): row for row in scaling if row.of == OF_TOKENS}
    rows = []
    for (task, quantity), of_models in groups.items():
        kind = _kind(task, quantity, facts)
        alone = kind == "curve from elsewhere" and len(of_models) == 1 < len(models)
        if kind is None or alone:
            continue
        points = [
            _size(seeds, circuits.get((model, task)) if kind == "behaviour" else None)
            for model, seeds in of_models.items()
        ]
        points.sort(key=lambda point: _place(point.params))
        said = _trend_of(trends.get((task, quantity)))
        rows.append(
            ComparisonRow(kind=kind, task=task, quantity=quantity, sizes=tuple(points), **said)
        )
    rows.sort(
        key=lambda row: (
            KINDS.index(row.kind),
            facts.task(row.task).place,
            row.task,
            facts.quantity(row.quantity).place,
        )
    )
    return ComparisonRows(tuple(rows))


def _kind(task: str, quantity: str, facts: Facts) -> Kind | None:
    """Of what a curve is; none where it has no row, as a task's accuracy or its circuits."""
    known = facts.quantity(quantity)
    if known.panel == ELSEWHERE:
        return "curve from elsewhere"
    if task == NO_TASK:
        return "head role" if known.panel == "roles" else "model"
    return "behaviour" if known.unit == "task" else None


def _place(params: float | None) -> float:
    return np.inf if params is None else params


def _size(seeds: Sequence[EmergenceRow], circuit: CircuitSize | None) -> SizePoint:
    """One model, from its rows, one a seed."""
    first, emerged = seeds[0], [row for row in seeds if row.status == "emerged"]
    status: SizeStatus = first.status
    tokens, low, high = (first.tokens, first.low, first.high) if emerged else (None, None, None)
    if len(seeds) > 1:
        middle = median_emergence_point(seeds)
        if middle is not None and middle[1] == "observed":
            points = [row.tokens for row in emerged if row.tokens is not None]
            status, tokens, low, high = "emerged", middle[0], min(points), max(points)
        else:
            statuses: list[SizeStatus] = [row.status for row in seeds]
            status = "in some seeds" if emerged else max(statuses, key=statuses.count)
            tokens = low = high = None
    return SizePoint(
        model=first.model,
        params=float(first.params_total) if np.isfinite(first.params_total) else None,
        status=status,
        tokens=tokens,
        low=low,
        high=high,
        seeds=len(seeds),
        emerged=len(emerged),
        circuit=circuit,
    )


def _trend_of(row: ScalingRow | None) -> dict[str, Any]:
    """The fields of a row that its trend gives."""
    if row is None:
        return {}
    names = ("n_sizes", "n_observed", "slope", "slope_low", "slope_high")
    numbers = {name: getattr(row, name) for name in (*names, "knee", "knee_low", "knee_high")}
    return {
        **numbers,
        "trend_status": row.status,
        "trend": trend_words(row),
        "limit": limit_words(row),
    }


def trend_words(row: ScalingRow) -> str:
    """How emergence goes with size, or why that can't be said."""
    if row.status == "too few sizes":
        return f"too few sizes: {row.n_sizes}, a trend needs {MIN_SIZES}"
    if row.status == "too few observed sizes":
        return f"emerged at {row.n_observed} of {row.n_sizes} sizes, a trend needs {MIN_SIZES}"
    if row.slope_high is not None and row.slope_high < 0:
        return "sooner in larger models"
    if row.slope_low is not None and row.slope_low > 0:
        return "later in larger models"
    return "no clear change with size"


def limit_words(row: ScalingRow) -> str:
    """The size beyond which more size doesn't help, or why that can't be said."""
    match row.knee_status:
        case "levels off":
            low, high = format_tokens(row.knee_low), format_tokens(row.knee_high)
            ends = f"{low or 'the smallest'} – {high or 'beyond the largest'}"
            return f"{format_tokens(row.knee)} parameters [{ends}]"
        case "no knee: a straight line fits as well":
            return "none seen: a straight line fits as well"
        case "not determined by these sizes":
            return f"not determined by {row.n_observed} sizes"
        case _:
            return f"too few sizes: {row.n_observed}, a limit needs {MIN_SIZES_KNEE}"


def slope_words(row: ComparisonRow) -> str:
    """`−0.52 [−1.1 – 0.1]`; empty without a trend."""
    if row.slope is None:
        return ""
    low, high = (format_number(end) or "unbounded" for end in (row.slope_low, row.slope_high))
    return f"{format_number(row.slope)} [{low}, {high}]"
