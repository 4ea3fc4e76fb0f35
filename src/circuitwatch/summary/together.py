"""Tables of what curves say together: which came first, when their course changed, whether what
emerged stays, and whether a jump is the metric's.

Each asks the module that has the method (`lags`, `changes`, `stability`, `metrics`) of the curves
of any source; p-values of a table are adjusted for how many of them there are (Benjamini and
Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.circuits.overlap import MEASURES
from circuitwatch.facts import plain
from circuitwatch.summary.cells import NO_TASK, CellData, without_duplicates
from circuitwatch.summary.curves import CurveKey, Curves
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.rows import (
    AgreementRow,
    ChangeRow,
    CircuitStabilityRow,
    EmergenceRow,
    LagRow,
    MetricsRow,
    Rows,
    StabilityRow,
)
from circuitwatch.summary.statistics.changes import change_points
from circuitwatch.summary.statistics.comparisons import benjamini_hochberg
from circuitwatch.summary.statistics.crossings import longest_run
from circuitwatch.summary.statistics.lags import Lag, agreement
from circuitwatch.summary.statistics.stability import set_stability, stability, turnover

VALUE, ACCURACY = "behaviour/value", "behaviour/accuracy"
CHANGING = (VALUE, "behaviour/effect", "circuit/edges_share", "overlap/edge_jaccard")
"""Our quantities whose changes of course are looked for."""
BEFORE, FINAL = "the checkpoint before", "the last circuit"
COMPARED = {BEFORE: "", FINAL: "_final"}
"""What circuits are compared with → how the names of those overlaps end."""
FEWEST = 4
"""Checkpoints of a curve from which on two of them are compared."""
GAINS = ("gained", "lost", "kept", "ever", "always")
"""What of a circuit's turnover stands beside its stability."""


@dataclass(frozen=True)
class Compared:
    """The tables, any of which may be empty; `rows` says what is in each."""

    lags: Rows[LagRow] = field(default_factory=Rows)
    agreement: Rows[AgreementRow] = field(default_factory=Rows)
    changes: Rows[ChangeRow] = field(default_factory=Rows)
    stability: Rows[StabilityRow] = field(default_factory=Rows)
    circuits: Rows[CircuitStabilityRow] = field(default_factory=Rows)
    metrics: Rows[MetricsRow] = field(default_factory=Rows)

    def frames(self) -> Comparisons:
        """The same as data frames."""
        return Comparisons(**{name: table.frame() for name, table in vars(self).items()})


@dataclass(frozen=True)
class Comparisons:
    """The tables of `Compared` as data frames, for figures and the report."""

    lags: pd.DataFrame
    agreement: pd.DataFrame
    changes: pd.DataFrame
    stability: pd.DataFrame
    circuits: pd.DataFrame
    metrics: pd.DataFrame

    def warnings(self) -> list[str]:
        """Sentences on jumps that are the thresholded metric's alone."""
        found = self.metrics[self.metrics["warning"] != ""] if len(self.metrics) else self.metrics
        return [
            f"{row['model']}, {plain(row['task'])}: {row['warning']}."
            for _, row in found.iterrows()
        ]


def compare(
    fits: Fits, emergence: Iterable[EmergenceRow], cells: Collection[CellData] = ()
) -> Compared:
    """All comparisons of some curves; emergence is as `curve_tables.emergence_rows` gives it, cells
    are those among the sources.
    """
    lags, agreements = _lags(fits)
    return Compared(
        Rows.of(lags),
        Rows.of(agreements),
        Rows.of(_changes(fits)),
        Rows.of(_stability(fits, emergence)),
        Rows.of(row for cell in cells if len(cell.circuits) > 1 for row in _circuits(cell)),
        Rows.of(_metrics(fits)),
    )


def _keys(curves: Curves, quantity: str) -> Iterator[CurveKey]:
    rows = curves.table[(curves.table["quantity"] == quantity) & curves.table["tokens"].notna()]
    for (model, task, seed), group in rows.groupby(["model", "task", "seed"], sort=False):
        if len(group) >= FEWEST and group["tokens"].max() > 0:
            yield str(model), str(task), quantity, int(seed)


def _lags(fits: Fits) -> tuple[list[LagRow], list[AgreementRow]]:
    facts = fits.curves.facts
    rows: list[LagRow] = []
    by_pair: dict[tuple[str, str], dict[str, Lag]] = {}
    for key in _keys(fits.curves, VALUE):
        model, task, _, seed = key
        for role in facts.task(task).roles:
            of_role = (model, NO_TASK, facts.role(role).quantity.key, seed)
            if len(fits.curves.rows(of_role)) < FEWEST:
                continue
            lag = fits.lag(of_role, key)
            by_pair.setdefault((task, role), {}).setdefault(
                model, lag
            )  # of several seeds the first speaks for the size
            rows.append(
                LagRow(
                    model=model,
                    seed=seed,
                    task=task,
                    role=role,
                    verdict=lag.verdict,
                    ratio=_exp(lag.lag),
                    ratio_low=_exp(lag.low),
                    ratio_high=_exp(lag.high),
                    same_checkpoints=lag.same_checkpoints,
                    note=lag.note.replace("the first", "the role").replace(
                        "the second", "the behaviour"
                    ),
                )
            )
    several = {
        (task, role): agreement(list(lags.values()), (facts.role(role).words, "the behaviour"))
        for (task, role), lags in by_pair.items()
        if len(lags) > 1
    }
    adjusted = benjamini_hochberg([nan if a.p is None else a.p for a in several.values()])
    return rows, [
        AgreementRow(
            **vars(said), task=task, role=role, p_adjusted=None if np.isnan(p) else float(p)
        )
        for ((task, role), said), p in zip(several.items(), adjusted, strict=True)
    ]


def _exp(value: float | None) -> float | None:
    return None if value is None else float(np.exp(value))


def _changes(fits: Fits) -> Iterator[ChangeRow]:
    for quantity in CHANGING:
        for key in _keys(fits.curves, quantity):
            model, task, _, seed = key
            curve = fits.curve(key)
            why = curve.not_above_chance
            if why is not None and longest_run(np.array([not reason for reason in why]))[1] < 2:
                continue  # at no two neighbouring checkpoints above chance: it has no course
            for change in change_points(curve.tokens, curve.values, kind="line"):
                yield ChangeRow(
                    **vars(change), model=model, task=task, seed=seed, quantity=quantity
                )


def _stability(fits: Fits, emergence: Iterable[EmergenceRow]) -> Iterator[StabilityRow]:
    for row in emergence:
        if row.status != "emerged" or row.quantity == "circuit/found":
            continue  # steps of 0 and 1 have no course after their rise
        curve = fits.curve((row.model, row.task, row.quantity, row.seed))
        found = stability(
            curve.tokens, curve.values, row, curve.not_above_chance, falls=curve.falls
        )
        yield StabilityRow(
            **vars(found), model=row.model, task=row.task, quantity=row.quantity, seed=row.seed
        )


def _circuits(cell: CellData) -> Iterator[CircuitStabilityRow]:
    """How much a cell's circuits change from one checkpoint to the next that has one, and how far
    they are from the last one.

    Pairs are those that have the circuits of all resamples.
    """
    own = without_duplicates(cell.curves)

    def column(name: str) -> NDArray[np.float64]:
        values = own[name] if name in own else pd.Series(np.nan, index=own.index)
        return values.to_numpy(dtype=float)

    for compared, suffix in COMPARED.items():
        for measure in MEASURES:
            name = f"overlap/{measure}{suffix}"
            of_all = column(name)
            if np.isnan(of_all).all():
                continue
            between = [column(f"{name}_resampled{kind}") for kind in ("", "_ceiling", "_chance")]
            row = CircuitStabilityRow(
                **vars(set_stability(*between)),
                model=cell.model,
                task=cell.task,
                seed=cell.seed,
                compared=compared,
                measure=measure,
                all_prompts=float(np.nanmean(of_all)),
            )
            if (compared, measure) == (BEFORE, "edge_jaccard"):
                steps = [step for step in own["step"] if step in cell.circuits]
                gains = vars(turnover([set(cell.circuits[step].tolist()) for step in steps]))
                row = replace(row, turnover_n=gains["n"], **{k: gains[k] for k in GAINS})
            yield row


def _metrics(fits: Fits) -> Iterator[MetricsRow]:
    for key in _keys(fits.curves, VALUE):
        model, task, _, seed = key
        other = (model, task, ACCURACY, seed)
        if len(fits.curves.rows(other)) < FEWEST:
            continue
        found = fits.metrics(key, other)
        yield MetricsRow(
            model=model,
            task=task,
            seed=seed,
            finding=found.finding,
            ratio=found.ratio,
            ratio_low=found.ratio_low,
            ratio_high=found.ratio_high,
            warning=found.warning,
        )
