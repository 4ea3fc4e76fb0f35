"""Tables of what curves say together: which came first, when their course changed, whether what
emerged stays, and whether a jump is the metric's.

Each asks the module that has the method (`lags`, `changes`, `stability`, `metrics`) of the curves
of any source; p-values of a table are adjusted for how many of them there are (Benjamini and
Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.circuits.overlap import MEASURES
from circuitwatch.summary.curve_tables import as_curve
from circuitwatch.summary.curves import CurveKey, Curves
from circuitwatch.summary.heads.histories import SERVES
from circuitwatch.summary.statistics.changes import change_points
from circuitwatch.summary.statistics.comparisons import benjamini_hochberg
from circuitwatch.summary.statistics.crossings import longest_run
from circuitwatch.summary.statistics.lags import Lag, agreement, lag_between
from circuitwatch.summary.statistics.metrics import compare_metrics
from circuitwatch.summary.statistics.stability import set_stability, stability, turnover
from circuitwatch.summary.statistics.status import Emergence
from circuitwatch.summary.tables import NO_TASK, CellData, without_duplicates

VALUE, ACCURACY = "behaviour/value", "behaviour/accuracy"
CHANGING = (VALUE, "behaviour/effect", "circuit/edges_share", "overlap/edge_jaccard")
"""Our quantities whose changes of course are looked for."""
BEFORE, FINAL = "the checkpoint before", "the last circuit"
COMPARED = {BEFORE: "", FINAL: "_final"}
"""What circuits are compared with → how the names of those overlaps end."""
FEWEST = 4
"""Checkpoints of a curve from which on two of them are compared."""


@dataclass(frozen=True)
class Comparisons:
    """The tables, any of which may be empty.

    lags: one row a (model, seed, task, role), the role's emergence against the behaviour's: verdict
    of the role, ratio (tokens of the behaviour over tokens of the role) with ratio_low and
    ratio_high, same_checkpoints, note. agreement: one row a (task, role) over sizes: before, after,
    untold, p, p_adjusted, n, smallest_p, text. changes: one row a change of a curve: model, task,
    seed, quantity, then those of `changes.Change`. stability: one row a curve that emerged: those
    of `stability.Stability`. circuits: for each cell a row for each measure and what circuits are
    compared with: model, task, seed, compared, measure, all_prompts (mean overlap of the circuits
    of all prompts, which has no ceiling), those of `stability.SetStability`; and in the row of
    edges and the checkpoint before those of `stability.Turnover` (the pairs of which are
    turnover_n). metrics: one row a (model, task, seed): finding, warning, ratio, ratio_low,
    ratio_high (widths of the rises, accuracy over behaviour).
    """

    lags: pd.DataFrame
    agreement: pd.DataFrame
    changes: pd.DataFrame
    stability: pd.DataFrame
    circuits: pd.DataFrame
    metrics: pd.DataFrame

    def files(self) -> dict[str, pd.DataFrame]:
        """The tables by their files' names."""
        return {
            "lags": self.lags,
            "agreement": self.agreement,
            "changes": self.changes,
            "stability": self.stability,
            "circuit_stability": self.circuits,
            "metrics": self.metrics,
        }

    def warnings(self) -> list[str]:
        """Sentences on jumps that are the thresholded metric's alone."""
        found = self.metrics[self.metrics["warning"] != ""] if len(self.metrics) else self.metrics
        return [f"{row['model']} {row['task']}: {row['warning']}" for _, row in found.iterrows()]


def compare(
    curves: Curves,
    emergence: pd.DataFrame,
    cells: Collection[CellData] = (),
    thresholds: Mapping[str, float] | None = None,
    *,
    n_bootstrap: int = 200,
) -> Comparisons:
    """All comparisons of some curves; emergence is as `curve_tables.emergence_rows` gives it, cells
    are those among the sources.
    """
    lags, agreements = _lags(curves, dict(thresholds or {}), n_bootstrap)
    return Comparisons(
        lags,
        agreements,
        _changes(curves),
        _stability(curves, emergence),
        pd.DataFrame([row for cell in cells if len(cell.circuits) > 1 for row in _circuits(cell)]),
        _metrics(curves, n_bootstrap),
    )


def _keys(curves: Curves, quantity: str) -> Iterator[CurveKey]:
    rows = curves.table[(curves.table["quantity"] == quantity) & curves.table["tokens"].notna()]
    for (model, task, seed), group in rows.groupby(["model", "task", "seed"], sort=False):
        if len(group) >= FEWEST and group["tokens"].max() > 0:
            yield str(model), str(task), quantity, int(seed)


def _lags(
    curves: Curves, thresholds: dict[str, float], n: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows: list[dict[str, Any]] = []
    by_pair: dict[tuple[str, str], dict[str, Lag]] = {}
    for key in _keys(curves, VALUE):
        model, task, _, seed = key
        for role in SERVES.get(task, ()):
            of_role = (model, NO_TASK, f"roles/{role}/max", seed)
            if len(curves.curve(*of_role)) < FEWEST:
                continue
            lag = lag_between(
                as_curve(curves, of_role, thresholds),
                as_curve(curves, key, thresholds),
                n_bootstrap=n,
            )
            by_pair.setdefault((task, role), {}).setdefault(
                model, lag
            )  # of several seeds the first speaks for the size
            ratios = {
                name: None if value is None else float(np.exp(value))
                for name, value in (
                    ("ratio", lag.lag),
                    ("ratio_low", lag.low),
                    ("ratio_high", lag.high),
                )
            }
            about = {
                "model": model,
                "seed": seed,
                "task": task,
                "role": role,
                "verdict": lag.verdict,
            }
            rows.append(
                about | ratios | {"same_checkpoints": lag.same_checkpoints, "note": lag.note}
            )
    together = []
    for (task, role), lags in by_pair.items():
        if len(lags) > 1:
            said = asdict(agreement(list(lags.values()), (role.replace("_", " "), "the behaviour")))
            together.append({"task": task, "role": role} | said)
    table = pd.DataFrame(together)
    if len(table):
        table.insert(
            table.columns.get_loc("p") + 1,
            "p_adjusted",
            benjamini_hochberg(table["p"].astype(float)),
        )
    return pd.DataFrame(rows), table


def _changes(curves: Curves) -> pd.DataFrame:
    rows = []
    for quantity in CHANGING:
        for key in _keys(curves, quantity):
            model, task, _, seed = key
            curve = as_curve(curves, key, {})
            why = curve.not_above_chance
            if why is not None and longest_run(np.array([not reason for reason in why]))[1] < 2:
                continue  # at no two neighbouring checkpoints above chance: it has no course
            about = {"model": model, "task": task, "seed": seed, "quantity": quantity}
            found = change_points(curve.tokens, curve.values, kind="line")
            rows += [about | asdict(change) for change in found]
    return pd.DataFrame(rows)


def _stability(curves: Curves, emergence: pd.DataFrame) -> pd.DataFrame:
    rows = []
    names = {field.name for field in fields(Emergence)}
    for _, row in emergence[emergence["status"] == "emerged"].iterrows() if len(emergence) else ():
        key = (row["model"], row["task"], row["quantity"], row["seed"])
        if (
            row["quantity"] == "circuit/found"
        ):  # steps of 0 and 1, which have no course after their rise
            continue
        known: dict[str, Any] = {
            name: None if pd.isna(value) else value for name, value in row.items() if name in names
        }
        known |= {"low": row["tokens_low"], "high": row["tokens_high"]}
        curve = as_curve(
            curves, key, {}
        )  # a robust line looks at all pairs of checkpoints: no more of them than of the emergence
        found = stability(curve.tokens, curve.values, Emergence(**known), curve.not_above_chance)
        rows.append(
            dict(zip(("model", "task", "quantity", "seed"), key, strict=True)) | asdict(found)
        )
    return pd.DataFrame(rows)


def _circuits(cell: CellData) -> list[dict[str, Any]]:
    """How much a cell's circuits change from one checkpoint to the next that has one, and how far
    they are from the last one.

    Pairs are those that have the circuits of all resamples.
    """
    own = without_duplicates(cell.curves)

    def column(name: str) -> NDArray[np.float64]:
        values = own[name] if name in own else pd.Series(np.nan, index=own.index)
        return values.to_numpy(dtype=float)

    rows = []
    for compared, suffix in COMPARED.items():
        for measure in MEASURES:
            name = f"overlap/{measure}{suffix}"
            known = column(name)
            if np.isnan(known).all():
                continue
            between = [column(f"{name}_resampled{kind}") for kind in ("", "_ceiling", "_chance")]
            about = {
                "model": cell.model,
                "task": cell.task,
                "seed": cell.seed,
                "compared": compared,
                "measure": measure,
            }
            rows.append(
                about | {"all_prompts": float(np.nanmean(known))} | asdict(set_stability(*between))
            )
            if (compared, measure) == (BEFORE, "edge_jaccard"):
                sets = [
                    set(cell.circuits[step].tolist())
                    for step in own["step"]
                    if step in cell.circuits
                ]
                gains = asdict(turnover(sets))
                rows[-1] |= {"turnover_n": gains.pop("n")} | gains
    return rows


def _metrics(curves: Curves, n: int) -> pd.DataFrame:
    rows = []
    for key in _keys(curves, VALUE):
        model, task, _, seed = key
        other = (model, task, ACCURACY, seed)
        if len(curves.curve(*other)) < FEWEST:
            continue
        found = compare_metrics(
            as_curve(curves, key, {}), as_curve(curves, other, {}), n_bootstrap=n
        )
        numbers = {name: getattr(found, name) for name in ("ratio", "ratio_low", "ratio_high")}
        about = {"model": model, "task": task, "seed": seed, "finding": found.finding}
        rows.append(about | numbers | {"warning": found.warning})
    return pd.DataFrame(rows)
