"""From curves of any source to the tables of the summary: when each rose, and how that changes with
model size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import KEYS, CurveKey, Curves, named
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.rows import EmergenceRow, Rows, ScalingRow
from circuitwatch.summary.seeds import median_emergence_point
from circuitwatch.summary.statistics.comparisons import benjamini_hochberg, holm
from circuitwatch.summary.statistics.scaling import Kind, trend

Point = tuple[float, float, Kind]
"""Parameters of a model, the value there, and whether it is that or a bound."""


def emergence_rows(
    fits: Fits, progress: Callable[[int, int], None] | None = None
) -> Rows[EmergenceRow]:
    """When each curve rose (or fell): one row a (model, task, seed, quantity), by model size.

    progress: called with (curves done, curves in all). Raises UserError if a threshold names
    nothing that is there.
    """
    table = fits.curves.table[fits.curves.table["tokens"].notna()]
    quantities = set(table["quantity"]) | set(
        table["task"].astype(str) + "/" + table["quantity"].astype(str)
    )
    if unknown := sorted(fits.thresholds.keys() - quantities):
        raise UserError(
            f"thresholds: there is no curve {named(unknown)}; give a quantity, or task/quantity"
        )
    groups = [
        (key, rows) for key, rows in table.groupby(list(KEYS), sort=False) if fits.is_asked(key)
    ]
    made = []
    for done, (key, rows) in enumerate(groups):
        if progress is not None:
            progress(done, len(groups))
        made.append(_emergence_row(fits, key, rows))
    return Rows.of(made)


def _emergence_row(fits: Fits, key: CurveKey, rows: pd.DataFrame) -> EmergenceRow:
    model, task, quantity, seed = key
    found, looked_at = fits.emergence(key), np.size(fits.curve(key).tokens)
    shorter = f"looked at {looked_at} of {len(rows)} checkpoints, evenly in log tokens"
    notes = [found.note, shorter if looked_at < len(rows) else "", fits.doubt(key)]
    return EmergenceRow(
        **(vars(found) | {"note": "; ".join(filter(None, notes))}),
        model=model,
        task=task,
        quantity=quantity,
        seed=int(seed),
        params_total=float(rows["params"].iloc[0]),
        source=named(rows["source"]),
    )


def scaling_rows(curves: Curves, emergence: Iterable[EmergenceRow]) -> Rows[ScalingRow]:
    """How emergence, values of whole models, and mean circuit sizes change with the number of
    parameters: one row a (task, quantity, of).

    Args:
        curves: those that `emergence` was made from.
        emergence: as `emergence_rows` gives it.
    """
    rows = []
    groups: dict[tuple[str, str], dict[str, list[EmergenceRow]]] = {}
    for row in emergence:
        models = groups.setdefault((row.task, row.quantity), {})
        models.setdefault(row.model, []).append(row)
    for (task, quantity), models in groups.items():
        points = {model: _point(seeds) for model, seeds in models.items()}
        rows.append(_trend(task, quantity, "tokens of emergence", points, in_logs=True))
    table = curves.table
    sizes = [q for q in table["quantity"].unique() if curves.facts.quantity(q).compared_by_size]
    for of, part in (
        ("value of the model", table[table["tokens"].isna()]),
        (
            "mean size over checkpoints with a circuit",
            table[table["tokens"].notna() & table["quantity"].isin(sizes)],
        ),
    ):
        for (task, quantity), group in part.groupby(["task", "quantity"], sort=False):
            means = (
                group.groupby(["model", "params", "seed"], sort=False, dropna=False)["value"]
                .mean()
                .reset_index()
            )
            points = {
                str(model): (
                    float(seeds["params"].iloc[0]),
                    float(seeds["value"].median()),
                    "observed",
                )
                for model, seeds in means.groupby("model", sort=False)
            }
            rows.append(_trend(task, quantity, of, points, in_logs=False))
    return Rows.of(_adjusted(rows))


def _point(seeds: list[EmergenceRow]) -> Point | None:
    """A model's place in a trend; none where its seeds give no emergence point, or the size
    isn't known.
    """
    params, middle = seeds[0].params_total, median_emergence_point(seeds)
    return None if middle is None or not np.isfinite(params) else (params, *middle)


def _trend(
    task: str, quantity: str, of: str, points: Mapping[str, Point | None], *, in_logs: bool
) -> ScalingRow:
    usable = {
        model: p for model, p in points.items() if p is not None and np.isfinite(p[0]) and p[1] > 0
    }
    params, values, kinds = ([p[k] for p in usable.values()] for k in range(3))
    fitted = trend(params, values, kinds, pearson_in_logs=in_logs)  # type: ignore[arg-type]
    return ScalingRow(
        **asdict(fitted),
        task=task,
        quantity=quantity,
        of=of,
        models=" ".join(usable),
        left_out=" ".join(model for model in points if model not in usable),
    )


def _adjusted(rows: list[ScalingRow]) -> list[ScalingRow]:
    """The rows with their p-values adjusted for how many of them the table has; rows without one
    are no tests and stay without.
    """
    more: list[dict[str, Any]] = [{} for _ in rows]
    for column in ("spearman_p", "pearson_p"):
        p = np.array([getattr(row, column) for row in rows], dtype=float)
        for method, adjusted in (("holm", holm(p)), ("bh", benjamini_hochberg(p))):
            for row, value in zip(more, adjusted.tolist(), strict=True):
                row[f"{column}_{method}"] = value if np.isfinite(value) else None
        for row in more:
            row[f"{column}_tests"] = int(np.isfinite(p).sum())
    return [replace(row, **added) for row, added in zip(rows, more, strict=True)]
