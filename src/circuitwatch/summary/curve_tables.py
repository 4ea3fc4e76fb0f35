"""From curves of any source to the tables of the summary: when each rose, and how that changes with
model size.

The same statistics as for cells (`emergence`, `scaling`), with the same columns as `tables` gives,
so that rows of both stand in one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import KEYS, OURS, CurveKey, Curves, named
from circuitwatch.summary.seeds import median_emergence_point
from circuitwatch.summary.statistics.emergence import fit_emergence
from circuitwatch.summary.statistics.lags import Curve
from circuitwatch.summary.statistics.logistic import log_tokens
from circuitwatch.summary.statistics.scaling import Kind, trend
from circuitwatch.summary.statistics.status import Emergence
from circuitwatch.summary.tables import (
    ACCURACY_THRESHOLD,
    CHANCE,
    CIRCUIT_THRESHOLD,
    ROLE_THRESHOLD,
    SIZES,
)

FALLING = re.compile(
    r"(^|[/_ ,])"
    r"(ppl|perplexity|loss|nll|cross[_ -]?entropy|xent|bits_per_byte|brier|brier_score)"
    r"($|[/_ ,])"
)
"""Quantities that fall as a model learns."""
LEVELS = {"behaviour/accuracy": ACCURACY_THRESHOLD, "circuit/found": CIRCUIT_THRESHOLD}
"""Levels of our own quantities; head roles have theirs too."""
FLOORS = {"behaviour/value": CHANCE, "behaviour/effect": CHANCE}
CIRCUIT_SIZE = re.compile(r"(^|[/_])circuit_?(nodes|edges)([/_]|$)")
"""Circuit sizes as other programs call them; compared as `tables.SIZES` are, on the scale of the
numbers themselves.
"""
LONGEST = 256
"""Checkpoints of a curve that are looked at; of longer ones, this many are taken, evenly in log
tokens. The time of a fit grows with their square.
"""
OF_CELLS = ("behaviour/value", "behaviour/effect", "behaviour/accuracy", "circuit/found")


def emergence_rows(
    curves: Curves,
    thresholds: Mapping[str, float] | None = None,
    *,
    n_bootstrap: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """When each curve rose: one row a (model, task, seed, quantity), by model size; and notes on
    curves that no row was made for.

    Args:
        curves: from any sources, put together.
        thresholds: `quantity` or `task/quantity` → the level whose crossing is asked for; the
            half-rise for all others, except our own quantities, which have the levels that `tables`
            uses.
        n_bootstrap: bootstrap samples a curve, over prompts where the curves have them, else with
            their standard errors, else over residuals.
        progress: called with (curves done, curves in all).

    Returns:
        columns model, params_total, task, seed, quantity, those of `Emergence` with tokens_low and
        tokens_high for its interval, source, finished (always true), note.

    Raises:
        UserError: a threshold names nothing that is there.
    """
    wanted = dict(thresholds or {})
    table = curves.table[curves.table["tokens"].notna()]
    quantities = set(table["quantity"]) | set(
        table["task"].astype(str) + "/" + table["quantity"].astype(str)
    )
    if unknown := sorted(wanted.keys() - quantities):
        raise UserError(
            f"thresholds: there is no curve {named(unknown)}; give a quantity, or task/quantity"
        )
    groups = [
        (key, rows) for key, rows in table.groupby(list(KEYS), sort=False) if _is_asked(key[2])
    ]
    falling = sorted({key[2] for key, _ in groups if FALLING.search(key[2])})
    groups = [
        (key, rows)
        for key, rows in groups
        if key[2] not in falling or _level(key, wanted, curves) is not None
    ]
    notes = (
        [f"{named(falling)}: falls as a model learns, so no rise is looked for"] if falling else []
    )
    made = []
    for done, (key, rows) in enumerate(groups):
        if progress is not None:
            progress(done, len(groups))
        model, task, quantity, seed = key
        curve = as_curve(curves, key, wanted)
        looked_at = np.size(curve.tokens)
        shorter = (
            f"looked at {looked_at} of {len(rows)} checkpoints, evenly in log tokens"
            if looked_at < len(rows)
            else ""
        )
        found = _emergence(curve, n_bootstrap)
        about = {"model": model, "task": task, "seed": seed, "quantity": quantity}
        source = named(rows["source"])
        note = "; ".join(filter(None, [found.note, shorter]))
        made.append(
            about
            | _columns(found)
            | {
                "params_total": rows["params"].iloc[0],
                "finished": True,
                "source": source,
                "note": note,
            }
        )
    return pd.DataFrame(made), notes


def scaling_rows(curves: Curves, emergence: pd.DataFrame) -> pd.DataFrame:
    """How emergence, values of whole models, and mean circuit sizes change with the number of
    parameters: one row a (task, quantity, of).

    Args:
        curves: those that `emergence` was made from.
        emergence: as `emergence_rows` gives it.

    Returns:
        columns task, quantity, of (`tokens of emergence`, `value of the model`, `mean size over
        checkpoints with a circuit`), models, left_out, then those of `scaling.Trend`.
    """
    rows = []
    by = ["task", "quantity"]
    for (task, quantity), group in emergence.groupby(by, sort=False) if len(emergence) else ():
        points = {str(model): _point(seeds) for model, seeds in group.groupby("model", sort=False)}
        rows.append(_trend(task, quantity, "tokens of emergence", points, in_logs=True))
    table = curves.table
    for of, part in (
        ("value of the model", table[table["tokens"].isna()]),
        (
            "mean size over checkpoints with a circuit",
            table[table["tokens"].notna() & _is_size(table["quantity"])],
        ),
    ):
        for (task, quantity), group in part.groupby(by, sort=False):
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
    return pd.DataFrame(rows)


def as_curve(curves: Curves, key: CurveKey, thresholds: Mapping[str, float]) -> Curve:
    """One curve and how its emergence is asked for, as `emergence_rows` asks; of a long curve
    `LONGEST` checkpoints.
    """
    rows = curves.rows(key)
    if len(rows) > LONGEST:
        rows = rows.iloc[evenly(rows["tokens"].to_numpy())]
    level = _level(key, thresholds, curves)
    return Curve(
        rows["tokens"].to_numpy(),
        rows["value"].to_numpy(),
        threshold=level,
        chance=FLOORS.get(key[2]) if level is None else None,
        per_prompt=_prompts(curves, key, rows["tokens"]),
        stderr=rows["stderr"].to_numpy() if rows["stderr"].notna().all() else None,
        not_above_chance=curves.chance_of(key, rows["tokens"]),
    )


def evenly(tokens: np.ndarray) -> np.ndarray:
    """Indices of at most `LONGEST` token counts, ascending and with the first and the last, that
    lie evenly in log tokens.
    """
    x = log_tokens(tokens)
    nearest = np.searchsorted(x, np.linspace(x[0], x[-1], LONGEST))
    return np.unique(np.r_[0, nearest, x.size - 1].clip(0, x.size - 1))


def _is_asked(quantity: str) -> bool:
    """Whether a rise is looked for: of what isn't ours always, of ours where it is a behaviour, a
    role, or whether there is a circuit.
    """
    if not quantity.startswith(OURS):
        return True
    return quantity in OF_CELLS or bool(re.fullmatch(r"roles/[^/]+/max", quantity))


def _level(key: CurveKey, wanted: Mapping[str, float], curves: Curves) -> float | None:
    _, task, quantity, _ = key
    if (asked := wanted.get(f"{task}/{quantity}", wanted.get(quantity))) is not None:
        return asked
    if re.fullmatch(r"roles/[^/]+/max", quantity):
        return curves.thresholds.get(quantity, ROLE_THRESHOLD)
    return LEVELS.get(quantity)


def _prompts(curves: Curves, key: CurveKey, tokens: pd.Series) -> pd.DataFrame | None:
    """Values per prompt of a curve, if every one of its checkpoints has them."""
    wide = curves.prompts.get(key)
    if wide is None:
        return None
    wide = wide.reindex(tokens.to_numpy())
    return None if wide.isna().to_numpy().any() else wide


def _emergence(curve: Curve, n_bootstrap: int) -> Emergence:
    """Emergence of a curve, also where it has too few checkpoints to say anything."""
    tokens, values = np.asarray(curve.tokens), np.asarray(curve.values)
    if values.size < 2 or not (tokens > 0).any():
        rule = "half rise" if curve.threshold is None else "threshold"
        ends = (float(tokens[0]), float(tokens[-1]), float(values[-1]))
        note = f"too few checkpoints (n={values.size})"
        return Emergence(
            "ambiguous",
            rule,  # type: ignore[arg-type]
            values.size,
            *ends,
            reason="too few checkpoints",
            note=note,
        )
    return fit_emergence(**vars(curve), n_bootstrap=n_bootstrap)


def _columns(found: Emergence) -> dict[str, Any]:
    known = asdict(found)
    known.pop("note")
    low, high = known.pop("low"), known.pop("high")
    first = {name: known.pop(name) for name in ("status", "rule", "level", "tokens")}
    return first | {"tokens_low": low, "tokens_high": high} | known


def _point(seeds: pd.DataFrame) -> tuple[float, float, Kind] | None:
    """A model's place in a trend: (parameters, tokens, kind); none where its seeds give no
    emergence point, or the size isn't known.
    """
    params, middle = float(seeds["params_total"].iloc[0]), median_emergence_point(seeds)
    return None if middle is None or not np.isfinite(params) else (params, *middle)


def _trend(
    task: str,
    quantity: str,
    of: str,
    points: Mapping[str, tuple[float, float, Kind] | None],
    *,
    in_logs: bool,
) -> dict[str, Any]:
    usable = {
        model: p for model, p in points.items() if p is not None and np.isfinite(p[0]) and p[1] > 0
    }
    params, values, kinds = ([p[k] for p in usable.values()] for k in range(3))
    fitted = trend(params, values, kinds, pearson_in_logs=in_logs)  # type: ignore[arg-type]
    left_out = [model for model in points if model not in usable]
    about = {
        "task": task,
        "quantity": quantity,
        "of": of,
        "models": " ".join(usable),
        "left_out": " ".join(left_out),
    }
    return about | asdict(fitted)


def _is_size(quantity: pd.Series) -> pd.Series:
    return quantity.isin(SIZES) | quantity.str.contains(
        CIRCUIT_SIZE.pattern.replace("(", "(?:"), regex=True
    )
