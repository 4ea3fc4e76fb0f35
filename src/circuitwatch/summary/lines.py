"""The curves that figures and report draw, as numbers: each with its interval, its band over the
roles' cut-offs, and the checkpoints that are marked in it.

Both renderers draw from these, so that they can't say different things. Values come from `Curves`,
whatever their source; intervals and marks from the cells among the sources. An interval is the one
that the quantity names; of a curve from elsewhere it is 1.96 standard errors to both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.catalogue import Quantity
from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK, CellData, is_duplicate
from circuitwatch.summary.curves import NORMAL_95, Curves
from circuitwatch.summary.heads.algorithm import above_chance_from
from circuitwatch.summary.overlaps import references

Floats = NDArray[np.float64]
ELSEWHERE = "curves"
"""The panel of quantities that nobody explains (`Facts.quantity`)."""
RECORDED = ("timing", "weights")
"""Groups of scalars that say how a record was made; they are no results."""
NEIGHBOURS = 5
"""Checkpoints whose mean is drawn of what an overlap is compared with: the ceiling of a pair comes
from two pairs of circuits only.
"""
DUPLICATES = "same weights as another"
DOUBTS = (
    ("circuit/out_of_range", True, "faithfulness above 1.2 or below −0.2"),
    ("circuit/score_converged", False, "edge scores not converged"),
)
"""What is doubtful about a circuit where a scalar of its record has that value."""


@dataclass(frozen=True)
class Line:
    """One curve of one model and seed, ascending in tokens.

    Attributes:
        tokens, values: [checkpoint], every value finite.
        low, high: ends of the 95 % interval [checkpoint], NaN where there is none; none where the
            curve has no intervals at all.
        least, most: the same over the roles' cut-offs.
        copies: tokens and values of checkpoints that have the weights of another [copy]; they are
            no part of the curve.
        doubts: what is doubtful about a circuit → at which places of the curve.
    """

    model: str
    seed: int
    task: str
    quantity: str
    tokens: Floats
    values: Floats
    low: Floats | None = None
    high: Floats | None = None
    least: Floats | None = None
    most: Floats | None = None
    copies: tuple[Floats, Floats] = field(default=(np.empty(0), np.empty(0)))
    doubts: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)

    @property
    def name(self) -> tuple[str, int]:
        """Model and seed."""
        return self.model, self.seed

    def at(self, places: NDArray[np.intp]) -> Line:
        """The curve at some of its checkpoints, ascending places [n]."""
        known: dict[str, Any] = {"tokens": self.tokens[places], "values": self.values[places]}
        for name in ("low", "high", "least", "most"):
            if (values := getattr(self, name)) is not None:
                known[name] = values[places]
        doubts = {
            words: np.flatnonzero(np.isin(places, marked)) for words, marked in self.doubts.items()
        }
        return replace(self, **known, doubts=doubts)

    def smoothed(self) -> Line:
        """The mean of NEIGHBOURS neighbouring checkpoints at each, fewer at the ends."""
        means = pd.Series(self.values).rolling(NEIGHBOURS, center=True, min_periods=1).mean()
        return replace(self, values=means.to_numpy(dtype=float))


def shown_tokens(tokens: Any) -> Floats:
    """Tokens for a logarithmic axis: 0 is drawn at half of the first positive count."""
    counts = np.asarray(tokens, dtype=float)
    positive = counts[counts > 0]
    return np.where(counts > 0, counts, float(positive.min()) / 2 if positive.size else 1.0)


class Lines:
    """All curves of some sources that have a place in a figure, by quantity and task."""

    def __init__(
        self, curves: Curves, cells: Sequence[CellData] = (), bands: pd.DataFrame | None = None
    ) -> None:
        """bands: the algorithm's measures at every checkpoint and cut-off (`heads.bands`).

        params: parameters of the models whose number is known.
        """
        self.facts: Facts = curves.facts
        self.models = [str(model) for model in curves.models]
        self._cells = {(cell.model, cell.task, cell.seed): _Record(cell) for cell in cells}
        self._bands = pd.DataFrame() if bands is None else bands
        sizes = curves.table.groupby("model", sort=False)["params"].first().dropna()
        self.params = {str(model): float(count) for model, count in sizes.items()}
        table = curves.table[curves.table["tokens"].notna() & curves.table["value"].notna()]
        drawn = {name: self._is_drawn(name) for name in map(str, table["quantity"].unique())}
        names = {name for name, is_drawn in drawn.items() if is_drawn}
        names |= {other for name in names for other in references(name).values()}
        table = table[table["quantity"].isin(names)]
        self.seeds = sorted({int(seed) for seed in table["seed"].unique()})
        self._lines: dict[tuple[str, str], list[Line]] = {}
        for (model, task, quantity, seed), rows in table.groupby(
            ["model", "task", "quantity", "seed"], sort=False
        ):
            line = self._line(str(model), str(task), self.facts.quantity(quantity), int(seed), rows)
            if line.tokens.size:
                self._lines.setdefault((str(quantity), str(task)), []).append(line)

    def of(self, quantity: str, task: str) -> tuple[Line, ...]:
        """The curves of a quantity in a task, by model size, then seed."""
        return tuple(self._lines.get((quantity, task), ()))

    @cached_property
    def quantities(self) -> list[Quantity]:
        """Those that stand in a panel of their own, in the order of the facts; others by name."""
        found = {quantity for quantity, _ in self._lines if self._is_drawn(quantity)}
        known = [self.facts.quantity(name) for name in sorted(found)]
        return sorted(known, key=lambda quantity: quantity.place)

    def tasks(self, quantity: str | None = None) -> list[str]:
        """Tasks that have a quantity, or any, in the order of the facts; NO_TASK comes last."""
        found = {task for name, task in self._lines if quantity in (None, name)}
        return sorted(found, key=lambda task: (task == NO_TASK, self.facts.task(task).place, task))

    def called(self, line: Line) -> str:
        """A curve's name in a legend: its model, and its seed where there are several."""
        return f"{line.model} seed {line.seed}" if len(self.seeds) > 1 else line.model

    def _is_drawn(self, name: str) -> bool:
        """Whether a quantity has a panel of its own. What records have beside the quantities that
        are explained is for those who read records.
        """
        if name in self.facts.quantities:
            return bool(self.facts.quantities[name].panel)
        group, slash, _ = name.partition("/")
        ours = {known.partition("/")[0] for known in self.facts.quantities} | set(RECORDED)
        if group == "roles":
            return name.endswith("/max")
        return not (slash and group in ours)

    def _line(
        self, model: str, task: str, quantity: Quantity, seed: int, rows: pd.DataFrame
    ) -> Line:
        line = Line(
            model,
            seed,
            task,
            quantity.key,
            rows["tokens"].to_numpy(dtype=float),
            rows["value"].to_numpy(dtype=float),
        )
        record = self._record(model, task, seed, quantity.key)
        known = quantity.panel != ELSEWHERE
        if known and quantity.interval is not None and record is not None:
            low, high = (record.at(end, line.tokens) for end in quantity.interval)
            line = replace(line, low=low, high=high)
        if quantity.panel == "algorithm" and record is not None:
            line = self._over_cutoffs(line, record)
        if line.low is None or not np.isfinite(line.low).any():
            half = rows["stderr"].to_numpy(dtype=float) * NORMAL_95
            has = (quantity.interval is not None or not known) and len(half) == line.values.size
            if has and np.isfinite(half).all():
                line = replace(line, low=line.values - half, high=line.values + half)
            else:
                line = replace(line, low=None, high=None)
        return line if record is None else record.marked(line, quantity)

    def _record(self, model: str, task: str, seed: int, quantity: str) -> _Record | None:
        """The cell that a curve is from; of a quantity of the model the first that has it."""
        if task != NO_TASK:
            return self._cells.get((model, task, seed))
        of_model = (cell for key, cell in self._cells.items() if (key[0], key[2]) == (model, seed))
        return next((cell for cell in of_model if quantity in cell.own), None)

    def _over_cutoffs(self, line: Line, record: _Record) -> Line:
        """A measure of the algorithm where its behaviour is above chance: at the roles' own
        cut-offs with its interval, and the least and the most over all cut-offs where it has any.
        """
        kept = np.isin(line.tokens, record.above_chance)
        own = self._bands
        if len(own):
            names = (line.quantity, line.quantity.removeprefix("algorithm/"))
            own = own[own["quantity"].isin(names) & (own["task"] == line.task)]
            own = own[(own["model"] == line.model) & (own["seed"] == line.seed)]
        if own.empty:
            return line.at(np.flatnonzero(kept))
        default = own[own["cutoff"].isna()].drop_duplicates("tokens").set_index("tokens")
        value, low, high = (
            default[name].reindex(line.tokens).to_numpy(dtype=float)
            for name in ("value", "low", "high")
        )
        over = own[own["cutoff"].notna()].groupby("tokens")["value"]
        ends: dict[str, Any] = {"least": None, "most": None}
        if over.ngroups:
            ends = {
                "least": over.min().reindex(line.tokens).to_numpy(dtype=float),
                "most": over.max().reindex(line.tokens).to_numpy(dtype=float),
            }
        whole = replace(line, values=value, low=low, high=high, **ends)
        return whole.at(np.flatnonzero(kept & np.isfinite(value)))


class _Record:
    """What a cell says of its curves beside their values."""

    def __init__(self, cell: CellData) -> None:
        wrong = is_duplicate(cell.curves)
        self.own, self.wrong = cell.curves[~wrong], cell.curves[wrong]
        self.above_chance = above_chance_from(cell.curves)["tokens"].to_numpy(dtype=float)
        self.doubts = {
            words: self.own.loc[self.own[name] == doubtful, "tokens"].to_numpy(dtype=float)
            for name, doubtful, words in DOUBTS
            if name in self.own
        }

    def at(self, name: str, tokens: Floats) -> Floats | None:
        """A scalar at some token counts; none where no checkpoint has it."""
        if name not in self.own:
            return None
        values = pd.to_numeric(self.own[name], errors="coerce").tolist()
        known = dict(zip(self.own["tokens"].tolist(), values, strict=True))
        return np.array([known.get(count, np.nan) for count in tokens.tolist()], dtype=float)

    def marked(self, line: Line, quantity: Quantity) -> Line:
        """The curve with the checkpoints that are marked in it."""
        if len(self.wrong) and quantity.key in self.wrong:
            wrong = self.wrong.dropna(subset=[quantity.key])
            values = wrong[quantity.key].to_numpy(dtype=float)
            line = replace(line, copies=(wrong["tokens"].to_numpy(dtype=float), values))
        if quantity.panel not in ("circuits", "overlaps"):
            return line
        places = {
            words: np.flatnonzero(np.isin(line.tokens, tokens))
            for words, tokens in self.doubts.items()
        }
        return replace(line, doubts={words: at for words, at in places.items() if at.size})
