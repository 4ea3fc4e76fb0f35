"""The summary's tables: what a row of each says, with its types; how each is headed, and how it is
read.

A row takes over the dataclass of the statistics that it is of, so that what was computed is never
taken apart and put together again. Data frames are made at the edge (`Rows.frame`): for files,
figures and the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar, overload

import pandas as pd

from circuitwatch.summary.statistics.changes import Change
from circuitwatch.summary.statistics.lags import Agreement
from circuitwatch.summary.statistics.scaling import Kind, Trend
from circuitwatch.summary.statistics.stability import SetStability, Stability
from circuitwatch.summary.statistics.status import Emergence


class Row:
    """A row of a table.

    columns: the fields whose columns come first, in their order; at_end: those that come last; the
    others have the order of the fields. renamed: fields whose columns are called something else.
    optional: fields that have no column where no row has them.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    at_end: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[dict[str, str]] = {}
    optional: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def names(cls) -> list[str]:
        """The fields in the order of the columns."""
        every = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        middle = [name for name in every if name not in (*cls.columns, *cls.at_end)]
        return [*cls.columns, *middle, *cls.at_end]


@dataclass(frozen=True, kw_only=True)
class EmergenceRow(Emergence, Row):
    """When a curve rose (or fell): what `Emergence` says, and of which curve.

    Attributes:
        model, task, quantity, seed: the curve; the task is `-` for what is a model's whatever the
            task, such as a head role.
        params_total: parameters of the model, embeddings included; NaN where nobody says.
        params_non_embedding: the same without embeddings, where a cell says.
        finished: whether its cell is finished; true for other sources.
        source: where it is from.
        head: of a role, the strongest head at the last checkpoint.
    """

    columns = (
        *("model", "task", "seed", "quantity", "status", "rule", "level", "tokens", "low", "high"),
    )
    at_end = ("params_total", "finished", "source", "note", "head", "params_non_embedding")
    renamed: ClassVar[dict[str, str]] = {"low": "tokens_low", "high": "tokens_high"}

    model: str
    task: str
    quantity: str
    seed: int
    params_total: float
    source: str
    finished: bool = True
    head: str | None = None
    params_non_embedding: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScalingRow(Trend, Row):
    """How something changes with model size: what `Trend` says, and of what.

    Attributes:
        task, quantity: of which curves.
        of: `tokens of emergence`, `value of the model`, or `mean size over checkpoints with a
            circuit`.
        models, left_out: the models used, and those that could not be, with spaces between.
        …_holm, …_bh, …_tests: the p-value adjusted for all tests of the table (Holm 1979; Benjamini
            and Hochberg 1995), and how many these are.
    """

    columns = ("task", "quantity", "of", "models", "left_out")

    task: str
    quantity: str
    of: str
    models: str
    left_out: str
    spearman_p_holm: float | None = None
    spearman_p_bh: float | None = None
    spearman_p_tests: int = 0
    pearson_p_holm: float | None = None
    pearson_p_bh: float | None = None
    pearson_p_tests: int = 0


@dataclass(frozen=True, kw_only=True)
class SeedsRow(Row):
    """Spread of something over the training seeds of one model.

    Attributes:
        seeds: how many there are.
        emerged, never, already: of an emergence, in how many seeds.
        tokens_median: tokens that half of the seeds have emerged by, tokens_median_is: `observed`,
            or a bound: `right-censored`, `left-censored`.
        tokens_min, tokens_max: of the seeds that emerged.
        known: of a number of another table, how many seeds have it; median, min, max: of these.
    """

    optional = (
        *("emerged", "never", "already", "tokens_median", "tokens_median_is", "tokens_min"),
        *("tokens_max", "known", "median", "min", "max"),
    )

    model: str
    task: str
    quantity: str
    seeds: int
    emerged: int | None = None
    never: int | None = None
    already: int | None = None
    tokens_median: float | None = None
    tokens_median_is: Kind | None = None
    tokens_min: float | None = None
    tokens_max: float | None = None
    known: int | None = None
    median: float | None = None
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, kw_only=True)
class LagRow(Row):
    """Whether a role emerged before the behaviour that it serves.

    Attributes:
        verdict: `before`, `after`, or `inconclusive` (the note says why).
        ratio: tokens of the behaviour over tokens of the role, with its 95 % interval.
        same_checkpoints: whether the checkpoints around the two crossings overlap.
    """

    model: str
    seed: int
    task: str
    role: str
    verdict: str
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    same_checkpoints: bool | None
    note: str


@dataclass(frozen=True, kw_only=True)
class AgreementRow(Agreement, Row):
    """Whether a role comes before the behaviour at every size: what `Agreement` says.

    p_adjusted: p adjusted for the number of rows (Benjamini and Hochberg 1995).
    """

    columns = ("task", "role", "before", "after", "untold", "p", "p_adjusted")

    task: str
    role: str
    p_adjusted: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChangeRow(Change, Row):
    """A change of a curve's course: what `Change` says, and of which curve."""

    columns = ("model", "task", "seed", "quantity")

    model: str
    task: str
    seed: int
    quantity: str


@dataclass(frozen=True, kw_only=True)
class StabilityRow(Stability, Row):
    """How steady a curve is after its emergence: what `Stability` says, and of which curve."""

    columns = ("model", "task", "quantity", "seed")

    model: str
    task: str
    quantity: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class CircuitStabilityRow(SetStability, Row):
    """How much a cell's circuits change: what `SetStability` says.

    Attributes:
        compared: what each circuit is compared with, the checkpoint before or the last circuit.
        measure: the index of overlap.
        all_prompts: mean overlap of the circuits of all prompts, which has no noise ceiling.
        turnover_n, gained, lost, kept, ever, always: of the edges from one checkpoint to the next
            (`stability.Turnover`), in the row of edges and the checkpoint before.
    """

    columns = ("model", "task", "seed", "compared", "measure", "all_prompts")
    optional = ("turnover_n", "gained", "lost", "kept", "ever", "always")

    model: str
    task: str
    seed: int
    compared: str
    measure: str
    all_prompts: float
    turnover_n: int | None = None
    gained: float | None = None
    lost: float | None = None
    kept: float | None = None
    ever: int | None = None
    always: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetricsRow(Row):
    """A task's metric and its accuracy side by side: what `MetricComparison` says of the widths of
    their rises.
    """

    model: str
    task: str
    seed: int
    finding: str
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    warning: str


T = TypeVar("T", bound=Row)


@dataclass(frozen=True)
class Rows(Sequence[T], Generic[T]):
    """The rows of a table."""

    rows: tuple[T, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[T]) -> Rows[T]:
        """A table of some rows."""
        return cls(tuple(rows))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Rows[T]: ...
    def __getitem__(self, index: int | slice) -> T | Rows[T]:
        """A row, or a table of several."""
        return Rows(self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def __iter__(self) -> Iterator[T]:
        """The rows."""
        return iter(self.rows)

    def frame(self) -> pd.DataFrame:
        """As pandas has it, one row a row; without columns where there are no rows, and without
        the optional ones that no row has anything in.
        """
        if not self.rows:
            return pd.DataFrame()
        kind = type(self.rows[0])
        columns = {name: [getattr(row, name) for row in self.rows] for name in kind.names()}
        return pd.DataFrame(
            {
                kind.renamed.get(name, name): values
                for name, values in columns.items()
                if name not in kind.optional or any(value is not None for value in values)
            }
        )


@dataclass(frozen=True)
class Table:
    """A table of the summary by its file's name.

    Attributes:
        name: of its file, without the ending.
        heading: what it is headed with.
        reading: how it is read, in a few sentences.
        content: its rows, or a data frame where the columns depend on the tasks.
    """

    name: str
    heading: str
    reading: str
    content: Rows[Any] | pd.DataFrame

    @property
    def rows(self) -> Sequence[Any]:
        """Its rows: typed, or dictionaries where the columns depend on the tasks."""
        if isinstance(self.content, Rows):
            return self.content
        return self.content.to_dict("records")

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self.content)

    def frame(self) -> pd.DataFrame:
        """It as pandas has it."""
        return self.content.frame() if isinstance(self.content, Rows) else self.content


HEADINGS: dict[str, tuple[str, str]] = {
    "emergence": (
        "When each curve emerged",
        "tokens is where a curve has risen by half, from lower to upper, or passes its threshold. "
        "tokens_low and tokens_high are its 95 % bootstrap interval; interval says what they rest "
        "on. crossing_low and crossing_high are the two checkpoints around the first crossing "
        "that holds. status: emerged; already, above at the first checkpoint; never, not by the "
        "last one, which is a limit and not a late date; transient, it rose and fell; ambiguous, "
        "for the reason given. For a quantity that falls as a model learns, such as a loss, all "
        "this is about its fall.",
    ),
    "comparison": (
        "Sizes beside each other",
        "A row for each behaviour, head role and curve from elsewhere, a group of columns a model, "
        "smallest first: tokens of emergence with the 95 % interval, or the status where there is "
        "no emergence point; of several seeds the median and, as low and high, the earliest and "
        "the latest; and the size of the task's circuit at the last checkpoint that has one. slope "
        "is that of the scaling table: −1 means that a model twice as large needs half the tokens. "
        "knee is the number of parameters beyond which more size doesn't help; limit says it, or "
        "why it can't be said.",
    ),
    "scaling": (
        "Across model sizes",
        "slope is the power of the number of parameters that something goes with: at −1 a model "
        "twice as large needs half as many tokens. knee is the size beyond which more changes "
        "nothing. p-values are exact and adjusted for all tests of the table (Holm, "
        "Benjamini–Hochberg).",
    ),
    "cells": (
        "Every cell at its last checkpoint",
        "One row a cell (model, task, seed). Columns that begin with mean_ are means over its "
        "checkpoints with a circuit.",
    ),
    "seeds": (
        "Across seeds",
        "tokens_median is where half of the training seeds had emerged; a seed that never emerged "
        "counts as later than all that did. It is no mean of curves.",
    ),
    "overlap": (
        "Overlap of circuits",
        "Each circuit with the one before, and with the last (final). resampled is the overlap of "
        "circuits from different prompts. Read it between chance and ceiling, which is what "
        "circuits from two samples of prompts share at one checkpoint.",
    ),
    "roles": (
        "Which heads hold the roles",
        "A head holds a role from the role's threshold on. compensation is how much of what some "
        "heads lose others gain; it says something only above compensation_chance.",
    ),
    "turnover": (
        "Which head holds a role, and when",
        "One row for each head that ever holds a role: from when to when, how often, and in which "
        "task patching it confirms the role.",
    ),
    "handovers": (
        "Changes of a role's strongest head",
        "The two checkpoints between which another head became the strongest of its role, and the "
        "scores of both.",
    ),
    "algorithm": (
        "Whether the algorithm stays the same",
        "Range and trend of each share while the behaviour is above chance. A verdict counts only "
        "if every cut-off from which heads may hold a role gives the same.",
    ),
    "algorithm_bands": (
        "The algorithm's shares at every cut-off",
        "cutoff is missing where every role has its own threshold.",
    ),
    "transfer": (
        "Circuits of one checkpoint in the model of another",
        "Mean faithfulness of earlier circuits in later models and of later circuits in earlier "
        "models, beside each circuit in its own model. A circuit with other edges that still does "
        "the task is interchangeable.",
    ),
    "specificity": (
        "Circuits of one task on the prompts of another",
        "A circuit is specific where it does its own task and no other.",
    ),
    "lags": (
        "Which came first, role or behaviour",
        "ratio is the behaviour's tokens over the role's, with its 95 % interval: above 1 the role "
        "came first.",
    ),
    "agreement": (
        "Whether a role comes first at every size",
        "In how many sizes the role came before the behaviour, after it, or neither can be told, "
        "and a sign test over the sizes. smallest_p is the least p that so few sizes can give.",
    ),
    "changes": (
        "Where curves change course",
        "The token counts at which a curve's slope in log tokens changes, each with its 95 % "
        "interval, and the values and slopes on its two sides.",
    ),
    "stability": (
        "Curves after they emerged",
        "spread is how far a curve strays from its line, drift the slope of that line per tenfold "
        "of tokens, largest_fall the largest loss from the highest value so far: all as shares of "
        "the rise.",
    ),
    "circuit_stability": (
        "How much circuits change",
        "stability is where the overlap of circuits from different prompts lies between chance (0) "
        "and the noise ceiling (1). At about 1 a circuit changes no more from one checkpoint to "
        "the next than from one sample of prompts to another.",
    ),
    "metrics": (
        "Whether a jump is made by counting right answers",
        "ratio is the width of accuracy's rise over that of the task's own metric. Where only "
        "accuracy rises sharply, the jump is made by its threshold, right or wrong.",
    ),
}
"""The tables by their files' names: heading, and how they are read."""
