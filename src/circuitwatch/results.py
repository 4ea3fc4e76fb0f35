"""The results of watching as one object, for notebooks and for the summary: each record is read
once, each curve fitted once and only when it is asked for.

    import circuitwatch as cw

    r = cw.open("multirun/demo")
    r.emergence.frame()                             # when each curve rose, as a data frame
    r.curves(task="ioi", quantity="behaviour")      # curves, with tokens and values as arrays
    r.circuit("nano-400k", "ioi").draw()            # the last circuit
    r.tables["lags"].frame()                        # any table of the summary, by its file's name

Sources are folders of sweeps, tables (CSV, TSV, Parquet), results of lm-evaluation-harness, and
runs of W&B (`wandb:entity/project`), in any mix. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from circuitwatch.checkpoints.suites import Suite, conf_dir, read_suites
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.limits import MOST_RESAMPLES, require_whole
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.comparison import ComparisonRows, circuit_sizes, comparison_rows
from circuitwatch.summary.curve_tables import emergence_rows, scaling_rows
from circuitwatch.summary.curves import KEYS, CurveKey, Curves
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.heads.tables import HeadTables, head_tables
from circuitwatch.summary.importers import Request, Sources, kind_of, read_sources
from circuitwatch.summary.overlaps import overlap_table
from circuitwatch.summary.rows import HEADINGS, EmergenceRow, Rows, ScalingRow, SeedsRow, Table
from circuitwatch.summary.seeds import seeds_table
from circuitwatch.summary.tables import CellRow, behaviours_first, cells_table, with_cells
from circuitwatch.summary.together import Compared, compare
from circuitwatch.summary.views import MeasuredCurve, MeasuredCurves, RecordedCircuit

__all__ = ["Results", "open"]

SHOWN = 12
"""Names that a message lists; of more it says how many."""


def open(
    *sources: str | Path,
    columns: Mapping[str, str] | None = None,
    tokens_per_step: float | Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | None = None,
    direction: Mapping[str, Literal["falls", "rises"]] | None = None,
    n_bootstrap: int = 200,
    suites: Sequence[Suite] | None = None,
) -> Results:
    """Read results.

    Args:
        sources: folders of sweeps, tables, results and logs of the formats that
            `summary.importers.formats` lists, `wandb:…`.
        columns: our column → the file's, for tables that call it something else, or a constant in
            quotes, `{"model": '"mine"'}`.
        tokens_per_step: for sources that give steps and no tokens; one number, or model → number,
            in which the empty name stands for all other models.
        thresholds: a quantity, or task/quantity → the level whose crossing is asked for, instead
            of what the quantity says.
        direction: a quantity that circuitwatch doesn't know, or a pattern such as `*_bpb` → whether
            it falls or rises as a model learns; told by its name by default.
        n_bootstrap: bootstrap samples of each curve.
        suites: what is known of published models; the program's own by default.

    Returns:
        the results; nothing is fitted yet.

    Raises:
        UserError: nothing to read, with the reason for each source.
    """
    if not sources or any(not isinstance(s, str | Path) or not str(s) for s in sources):
        raise UserError(
            "open: give one or several sources, each a folder, a file or wandb:entity/project"
        )
    require_whole(n_bootstrap, "n_bootstrap", 0, MOST_RESAMPLES)
    named = tuple(map(str, sources))
    if suites is None:
        suites = read_suites([conf_dir()]) if _need_suites(named) else ()
    for name, word in (direction or {}).items():
        if word not in ("falls", "rises"):
            raise UserError(f"open: direction {name}: {word!r} is neither 'falls' nor 'rises'")
    request = Request(
        named,
        Path(),
        dict(columns or {}),
        tokens_per_step,
        dict(thresholds or {}),
        {name: word == "falls" for name, word in (direction or {}).items()},
    )
    return Results(
        read_sources(request, suites), thresholds=request.thresholds, n_bootstrap=n_bootstrap
    )


def _need_suites(sources: Sequence[str]) -> bool:
    """Whether any source may leave sizes or tokens to be looked up: cells say both."""
    try:
        return any(kind_of(source) != "cells" for source in sources)
    except UserError:
        return True


class Results:
    """What was read, and what follows from it.

    Attributes:
        cells: the cells among the sources, by model size, model, task and seed, each once.
        all_curves: every curve of every source in one long table.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        thresholds: Mapping[str, float] | None = None,
        n_bootstrap: int = 200,
    ) -> None:
        self.all_curves: Curves = sources.curves
        self.cells: list[CellData] = list(sources.cells)
        self._fits = Fits(sources.curves, thresholds, n_bootstrap=n_bootstrap)
        self._notes: list[str] = []

    def __repr__(self) -> str:
        """What was read, in short."""
        models, cells = ", ".join(self.models), len(self.cells)
        curves = len(self.all_curves.table[list(KEYS)].drop_duplicates())
        return f"<Results: {curves} curves of {models or 'no model'}; {cells} cells>"

    @property
    def facts(self) -> Facts:
        """What is known of the tasks, roles and quantities."""
        return self.all_curves.facts

    @property
    def models(self) -> list[str]:
        """Names of the models, smallest first."""
        return self.all_curves.models

    @property
    def notes(self) -> list[str]:
        """What was left out, changed or doubtful, one line each."""
        return list(dict.fromkeys([*self.all_curves.notes, *self._notes]))

    def fit(self, progress: Callable[[int, int], None] | None = None) -> Rows[EmergenceRow]:
        """Fit every curve now; progress is called with (curves done, curves in all)."""
        if "emergence" not in self.__dict__:
            rows = behaviours_first(emergence_rows(self._fits, progress))
            self.__dict__["emergence"] = with_cells(rows, self.cells)
        return self.emergence

    @cached_property
    def emergence(self) -> Rows[EmergenceRow]:
        """When each curve rose (or fell)."""
        return self.fit()

    @cached_property
    def scaling(self) -> Rows[ScalingRow]:
        """How emergence, values of whole models and circuit sizes change with model size."""
        return scaling_rows(self.all_curves, self.emergence)

    @cached_property
    def comparison(self) -> ComparisonRows:
        """The sizes beside each other: a row for each behaviour, role and curve from elsewhere."""
        return comparison_rows(self.emergence, self.scaling, circuit_sizes(self.cells), self.facts)

    @cached_property
    def ends(self) -> Rows[CellRow]:
        """How the cells ended."""
        return cells_table(self.cells)

    @cached_property
    def compared(self) -> Compared:
        """What curves say together: which came first, what stays, when their course changed."""
        return compare(self._fits, self.emergence, self.cells)

    @cached_property
    def heads(self) -> HeadTables:
        """Who holds which role, whether the algorithm stays, what circuits do elsewhere."""
        return head_tables(self.cells, self.emergence.frame(), self._notes)

    @cached_property
    def seeds(self) -> Rows[SeedsRow]:
        """Spread over the training seeds of a model, where there are several."""
        return seeds_table(self.emergence, self.heads.spreads())

    @property
    def tables(self) -> Mapping[str, Table]:
        """Every table of the summary by its file's name, computed when it is asked for; any may be
        empty.
        """
        return _Tables(self)

    def curves(
        self,
        model: str | None = None,
        task: str | None = None,
        quantity: str | None = None,
        seed: int | None = None,
    ) -> MeasuredCurves:
        """The curves that were measured of a model, task, quantity and seed, or of all.

        A quantity is given by its key (`behaviour/value`), by its words (`behaviour`), or by the
        name of a role. Raises UserError where there is no such curve; it says what there is.
        """
        table = self.all_curves.table
        table = table[table["tokens"].notna()]
        keys = list(table["quantity"].unique())
        names: dict[str, Mapping[Any, str]] = {"quantity": self._called(keys)}
        asked = {"model": model, "task": task, "quantity": quantity, "seed": seed}
        for column, wanted in asked.items():
            if wanted is not None:
                value = names.get(column, {}).get(wanted, wanted)
                found = table[table[column] == value]
                if found.empty:
                    raise UserError(
                        f"no curve with {column} {wanted}; there are "
                        f"{self._listed(column, table[column].unique())}"
                    )
                table = found
        rows = table[list(KEYS)].drop_duplicates().itertuples(index=False)
        return MeasuredCurves(tuple(MeasuredCurve.of(self._fits, _key(*row)) for row in rows))

    def circuit(
        self, model: str, task: str, step: int | None = None, seed: int | None = None
    ) -> RecordedCircuit:
        """The circuit of a model and task at a step, by default the last that has one; of several
        seeds the first.

        Raises UserError where there is none; it says what there is.
        """
        cells = [
            cell
            for cell in self.cells
            if (cell.model, cell.task) == (model, task) and seed in (None, cell.seed)
        ]
        if not cells:
            there = ", ".join(f"{cell.model} {cell.task} seed {cell.seed}" for cell in self.cells)
            raise UserError(
                f"no cell of {model}, {task}"
                + ("" if seed is None else f", seed {seed}")
                + f"; there are {there or 'no cells among the sources'}"
            )
        if step is not None and not isinstance(step, int | np.integer):
            raise UserError(f"step={step!r}: give a whole number")
        cell = cells[0]
        at = max(cell.circuits, default=None) if step is None else step
        if at is None or at not in cell.circuits:
            steps = ", ".join(map(str, cell.circuits))
            row = cell.curves[cell.curves["step"] == step]
            why = row["circuit/status"].iloc[0] if len(row) and "circuit/status" in row else None
            raise UserError(
                f"{model}, {task}: no circuit"
                + ("" if step is None else f" at step {step}")
                + (f" ({why})" if isinstance(why, str) else "")
                + f"; there are circuits at {steps or 'no step'}"
            )
        tokens = cell.curves.loc[cell.curves["step"] == at, "tokens"].iloc[0]
        return RecordedCircuit(cell, at, int(tokens))

    def _called(self, keys: Sequence[str]) -> Mapping[str, str]:
        """What a quantity may be called → its key: words, a role's name, and surest the key."""
        words = {self.facts.quantity(key).words: key for key in reversed(keys)}
        roles = {role.name: role.quantity.key for role in self.facts.roles.values()}
        return {**words, **roles, **{key: key for key in keys}}

    def _listed(self, column: str, values: Iterable[object]) -> str:
        """Some of what a column has, the best known quantities first."""
        every = [str(value) for value in values]
        if column == "quantity":
            every.sort(key=lambda key: self.facts.quantity(key).place)
        more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
        return (", ".join(every[:SHOWN]) + more) or "none"


class _Tables(Mapping[str, Table]):
    """The tables of some results, each computed when it is asked for."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def __getitem__(self, name: str) -> Table:
        if name not in HEADINGS:
            raise KeyError(f"no table {name!r}; there are {', '.join(HEADINGS)}")
        heading, reading = HEADINGS[name]
        return Table(name, heading, reading, self._content(name))

    def __iter__(self) -> Iterator[str]:
        return iter(HEADINGS)

    def __len__(self) -> int:
        return len(HEADINGS)

    def _content(self, name: str) -> Rows | pd.DataFrame:
        results = self._results
        if name in ("emergence", "comparison", "scaling", "seeds"):
            return getattr(results, name)
        if name == "cells":
            return results.ends
        if name == "overlap":
            return overlap_table(results.cells)
        if name in (files := results.heads.files()):
            return files[name]
        return getattr(results.compared, {"circuit_stability": "circuits"}.get(name, name))


def _key(model: str, task: str, quantity: str, seed: int) -> CurveKey:
    return model, task, quantity, int(seed)
