"""What the report's figures are drawn from, small enough to lie in the page: curves, heads'
timelines, transfer (`circuits` has the circuits).

Curves are numbers of four digits over shared lists of token counts. A head's score at a checkpoint
is one character. `report.js` is the other half: it reads exactly this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.summary.curves import NORMAL_95, OURS, Curves
from circuitwatch.summary.figures.heads import MOST_HEADS, PLAIN, STYLES, states
from circuitwatch.summary.figures.shared import EFFECT, colours, in_words, metric_name
from circuitwatch.summary.heads.algorithm import MEANING
from circuitwatch.summary.heads.bands import BANDED, MEASURES, UNEXPLAINED
from circuitwatch.summary.heads.histories import role_place
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.heads.transfer import matrix, over_checkpoints
from circuitwatch.summary.heads.turnover import holding, tenure
from circuitwatch.summary.overlaps import references
from circuitwatch.summary.tables import NO_TASK, CellData, is_duplicate

BEHAVIOUR = {
    "behaviour/value": "the task's metric",
    "behaviour/effect": EFFECT,
    "behaviour/accuracy": "accuracy",
    "behaviour/log_prob": "log-probability of the right answer",
}
CIRCUIT = {
    "circuit/edges_share": "share of all edges",
    "circuit/edges": "edges",
    "circuit/nodes": "nodes",
    "circuit/faithfulness": "faithfulness",
    "circuit/recovery": "recovery",
    "overlap/edge_jaccard": "edge Jaccard to the checkpoint before",
    "overlap/node_jaccard": "node Jaccard to the checkpoint before",
    "overlap/weighted_edge_jaccard": "weighted edge Jaccard to the checkpoint before",
    "overlap/edge_jaccard_mean": "edge Jaccard, exponentially weighted mean",
    "overlap/edge_jaccard_resampled": "edge Jaccard of other prompts to the checkpoint before",
    "overlap/node_jaccard_resampled": "node Jaccard of other prompts to the checkpoint before",
    "overlap/weighted_edge_jaccard_resampled": "weighted edge Jaccard of other prompts to "
    "the checkpoint before",
    "overlap/edge_jaccard_final": "edge Jaccard to the last circuit",
    "overlap/node_jaccard_final": "node Jaccard to the last circuit",
    "overlap/weighted_edge_jaccard_final": "weighted edge Jaccard to the last circuit",
    "overlap/edge_jaccard_final_resampled": "edge Jaccard of other prompts to the last circuit",
    "overlap/node_jaccard_final_resampled": "node Jaccard of other prompts to the last circuit",
    "overlap/weighted_edge_jaccard_final_resampled": "weighted edge Jaccard of other prompts "
    "to the last circuit",
}
REFERENCES = {
    "ceiling": "noise ceiling: circuits of other prompts at the same checkpoint (mean of "
    "five neighbours)",
    "chance": "circuits of these sizes by chance (mean of five neighbours)",
}
"""What an overlap is compared with: dashed and dotted lines."""
LEVELS = 23
"""Steps of a head's score in the timeline; its four states (not held, held, confirmed and helps,
and hurts) times this fit one printable character.
"""
FIRST_CHARACTER = 33
MOST_CHECKPOINTS = 32
"""Checkpoints of a transfer matrix, along each side, that the report draws, evenly spread."""
MOST_POINTS = 200_000
"""Points of curves in the report; beyond, every curve is thinned evenly in log tokens."""


def report_data(
    curves: Curves,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    scaling: pd.DataFrame,
    heads: HeadTables,
) -> tuple[dict[str, Any], list[str]]:
    """Everything but the circuits, as JSON can hold it; and notes of what was thinned out."""
    models = [str(model) for model in curves.models]
    sizes = curves.table.groupby("model")["params"].first()
    shade = colours(models)
    axes: list[list[float]] = []
    places: dict[tuple[float, ...], int] = {}

    def axis(tokens: Sequence[float]) -> int:
        key = tuple(float(t) for t in tokens)
        if key not in places:
            places[key] = len(axes)
            axes.append([int(t) if t == int(t) else t for t in key])
        return places[key]

    series, notes = _series(curves, models, axis, heads.bands)
    return {
        "models": [
            {
                "name": m,
                "params": None if pd.isna(sizes[m]) else float(sizes[m]),
                "colour": shade[m],
            }
            for m in models
        ],
        "tasks": [{"name": t, "words": in_words(t)} for t in _tasks(curves)],
        "axes": axes,
        "series": series,
        "duplicates": _duplicates(cells, models),
        "sections": _sections(series),
        "timeline": _timeline(heads, models, axis),
        "transfer": _transfer(heads.transfer, models),
        "specificity": _specificity(heads.specificity, models),
        "emergence": _emergence(emergence, models),
        "trends": _trends(scaling),
    }, notes


def as_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace(
        "<", "\\u003c"
    )


def number(value: Any, digits: int = 4) -> float | None:
    """A number as short as four digits are; none for what is missing."""
    if value is None or pd.isna(value) or not np.isfinite(value):
        return None
    short = float(f"{float(value):.{digits}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def _tasks(curves: Curves) -> list[str]:
    return sorted(set(curves.table["task"]) - {NO_TASK})


def _is_shown(quantity: str) -> bool:
    if not quantity.startswith(OURS):
        return True
    measures = {
        f"algorithm/{name}" for names in (*MEASURES.values(), UNEXPLAINED) for name in names
    }
    compared = {name for overlap in CIRCUIT for name in references(overlap).values()}
    role = quantity.startswith("roles/") and quantity.endswith("/max")
    return role or any(quantity in names for names in (BEHAVIOUR, CIRCUIT, measures, compared))


def _series(
    curves: Curves, models: list[str], axis: Any, bands: pd.DataFrame
) -> tuple[list[dict[str, Any]], list[str]]:
    table = curves.table[curves.table["tokens"].notna()]
    table = table[
        table["quantity"]
        .map({q: _is_shown(str(q)) for q in table["quantity"].unique()})
        .astype(bool)
    ]
    keep = max(2, int(MOST_POINTS / max(len(table), 1) * 160)) if len(table) > MOST_POINTS else None
    made = []
    for (model, task, quantity, seed), rows in table.groupby(
        ["model", "task", "quantity", "seed"], sort=False
    ):
        if keep is not None and len(rows) > keep:
            rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, keep).round().astype(int))]
        line: dict[str, Any] = {
            "m": models.index(model),
            "t": task,
            "q": quantity,
            "s": int(seed),
            "a": axis(rows["tokens"].tolist()),
            "y": [number(v) for v in rows["value"]],
        }
        if rows["stderr"].notna().all() and not str(quantity).startswith(
            ("circuit/", "overlap/", "roles/")
        ):
            line["e"] = [number(v * NORMAL_95, 3) for v in rows["stderr"]]
        if str(quantity).startswith("algorithm/"):
            name = str(quantity).removeprefix("algorithm/")
            line |= _over_cutoffs(bands, (model, task, name, seed), rows["tokens"])
        made.append(line)
    return made, [
        f"curves in the report are thinned to {keep} checkpoints"
    ] if keep is not None else []


def _over_cutoffs(bands: pd.DataFrame, key: tuple[Any, ...], tokens: pd.Series) -> dict[str, Any]:
    """What a measure of the algorithm shows at some token counts instead of its curve.

    y and e at the default cut-offs; lo and hi, the least and the most over all of them, where it
    has a band.
    """
    model, task, name, seed = key
    own = bands[(bands["model"] == model) & (bands["task"] == task) & (bands["quantity"] == name)]
    own = own[own["seed"] == seed]
    default = own[own["cutoff"].isna()].set_index("tokens").reindex(tokens)
    if default["value"].isna().all():
        return {}
    half = (default["high"] - default["low"]) / 2
    found = {"y": [number(v) for v in default["value"]], "e": [number(v, 3) for v in half]}
    if name in BANDED:
        over = (
            own[own["cutoff"].notna()]
            .groupby("tokens")["value"]
            .agg(["min", "max"])
            .reindex(tokens)
        )
        found |= {"lo": [number(v) for v in over["min"]], "hi": [number(v) for v in over["max"]]}
    return found


def _sections(series: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Which series stand in which panel: section → choices of a select → panels."""
    of: dict[tuple[str, str], list[int]] = {}
    for place, line in enumerate(series):
        of.setdefault((line["q"], line["t"]), []).append(place)

    def by_task(quantity: str, words: str) -> dict[str, Any]:
        tasks = sorted(task for q, task in of if q == quantity)
        unit = (
            ""
            if quantity in ("behaviour/value", "behaviour/effect")
            else words.split(" to the ")[0]
        )
        share = quantity.startswith("overlap/") or quantity in ("behaviour/accuracy",)
        panels: list[dict[str, Any]] = [
            {
                "t": t,
                "title": in_words(t),
                "unit": unit or metric_name(t),
                "series": of[quantity, t],
            }
            for t in tasks
        ]
        for panel in panels:
            for kind, name in references(quantity).items():
                panel |= {kind: of[name, panel["t"]]} if (name, panel["t"]) in of else {}
            if quantity == "behaviour/value" and ("behaviour/effect", panel["t"]) in of:
                panel["effect"] = of["behaviour/effect", panel["t"]]
        said = [
            f"– – {EFFECT}; a behaviour is above chance only where the intervals of both "
            f"lie above 0"
        ]
        said = said if any("effect" in panel for panel in panels) else []
        said += [
            f"{line} {REFERENCES[kind]}"
            for kind, line in (("ceiling", "– –"), ("chance", "· · ·"))
            if any(kind in panel for panel in panels)
        ]
        return {
            "label": words,
            "range": [0, 1] if share else None,
            "panels": panels,
            "note": "; ".join(said),
        }

    made: list[dict[str, Any]] = []
    for name, wanted in (("behaviour", BEHAVIOUR), ("circuits", CIRCUIT)):
        choices = [
            by_task(q, words) for q, words in wanted.items() if any(q == known for known, _ in of)
        ]
        made.append({"id": name, "choices": choices})
    roles = sorted({q.split("/")[1] for q, _ in of if q.startswith("roles/")}, key=role_place)
    panels = [
        {
            "t": None,
            "title": in_words(r),
            "unit": "strongest head",
            "series": of[f"roles/{r}/max", NO_TASK],
        }
        for r in roles
        if (f"roles/{r}/max", NO_TASK) in of
    ]
    made.append(
        {
            "id": "roles",
            "choices": [{"label": "", "range": [0, 1], "panels": panels}] if panels else [],
        }
    )
    panels = [
        {
            "t": t,
            "title": MEANING[name],
            "unit": f"share, {in_words(t)}",
            "series": of[f"algorithm/{name}", t],
        }
        for t, names in MEASURES.items()
        for name in (*names, *UNEXPLAINED)
        if (f"algorithm/{name}", t) in of
    ]
    made.append(
        {
            "id": "algorithm",
            "choices": [{"label": "", "range": [0, 1], "panels": panels}] if panels else [],
        }
    )
    others = dict.fromkeys(q for q, _ in of if not q.startswith(OURS))
    made.append({"id": "curves", "choices": [by_task(q, q.replace("_", " ")) for q in others]})
    return made


def _duplicates(cells: Sequence[CellData], models: list[str]) -> list[dict[str, Any]]:
    """Checkpoints with the weights of another: crosses in the panels of their cell."""
    found = []
    for cell in cells:
        wrong = cell.curves[is_duplicate(cell.curves)]
        for quantity in (*BEHAVIOUR, *CIRCUIT):
            known = wrong.dropna(subset=[quantity]) if quantity in wrong else wrong.iloc[:0]
            if len(known):
                found.append(
                    {
                        "m": models.index(cell.model),
                        "t": cell.task,
                        "q": quantity,
                        "x": known["tokens"].tolist(),
                        "y": [number(v) for v in known[quantity]],
                    }
                )
    return found


def _timeline(heads: HeadTables, models: list[str], axis: Any) -> list[dict[str, Any]]:
    """A line a role of a model and seed: its heads, those that hold it longest, with one character
    a checkpoint.
    """
    lines = []
    for history in heads.histories:
        held_ever = tenure(history.scores, history.threshold)
        if held_ever.empty or history.model not in models:
            continue
        names = held_ever.loc[
            held_ever["checkpoints"].rank(ascending=False, method="first") <= MOST_HEADS, "head"
        ]
        held = holding(history.scores, history.threshold)
        for task in history.checks or (None,):
            state = states(history, held, task)
            rows = []
            for name in names:
                level = (
                    (history.scores[name].clip(0, 1) * (LEVELS - 1)).round().astype(int).to_numpy()
                )
                code = "".join(
                    chr(FIRST_CHARACTER + int(s) * LEVELS + int(v))
                    for s, v in zip(state[name], level, strict=True)
                )
                rows.append([str(name), code])
            lines.append(
                {
                    "m": models.index(history.model),
                    "s": history.seed,
                    "role": in_words(history.role) + (f" ({task})" if task else ""),
                    "colour": STYLES.get(history.role, PLAIN)[0],
                    "a": axis(history.scores.index.get_level_values("tokens").tolist()),
                    "heads": rows,
                    "more": len(held_ever) - len(rows),
                }
            )
    return lines


def _transfer(transfer: pd.DataFrame, models: list[str]) -> list[dict[str, Any]]:
    """Faithfulness [circuit's checkpoint][model's] of each model and task, over seeds their
    median.
    """
    made = []
    own = over_checkpoints(transfer) if len(transfer) else transfer
    for (model, task), rows in own.groupby(["model", "task"], sort=False) if len(own) else ():
        if model not in models:
            continue
        table = matrix(rows)
        table = table.iloc[_spread(len(table)), _spread(table.shape[1])]
        made.append(
            {
                "m": models.index(str(model)),
                "t": task,
                "rows": [int(t) for t in table.index],
                "columns": [int(t) for t in table.columns],
                "v": [[number(v, 3) for v in row] for row in table.to_numpy(dtype=float)],
            }
        )
    return made


def _specificity(specificity: pd.DataFrame, models: list[str]) -> list[dict[str, Any]]:
    made = []
    for model, rows in specificity.groupby("model", sort=False) if len(specificity) else ():
        value = "last" if rows["last"].notna().any() else "mean"
        table = rows.pivot_table(
            index="circuit_task", columns="task", values=value, aggfunc="median", dropna=False
        )
        made.append(
            {
                "m": models.index(str(model)),
                "at": number(rows["last_tokens"].max()) if value == "last" else None,
                "rows": [in_words(t) for t in table.index],
                "columns": [in_words(t) for t in table.columns],
                "v": [[number(v, 3) for v in row] for row in table.to_numpy(dtype=float)],
            }
        )
    return made


def _emergence(emergence: pd.DataFrame, models: list[str]) -> list[dict[str, Any]]:
    names = {
        "tokens": "x",
        "tokens_low": "low",
        "tokens_high": "high",
        "first_tokens": "first",
        "last_tokens": "last",
    }
    return [
        {
            "m": models.index(row["model"]),
            "t": row["task"],
            "q": row["quantity"],
            "s": int(row["seed"]),
            "status": row["status"],
        }
        | {short: number(row[name]) for name, short in names.items()}
        for _, row in emergence.iterrows()
    ]


def _trends(scaling: pd.DataFrame) -> list[dict[str, Any]]:
    if scaling.empty:
        return []
    fitted = scaling[(scaling["of"] == "tokens of emergence") & (scaling["status"] == "fitted")]
    return [
        {
            "t": row["task"],
            "q": row["quantity"],
            "slope": number(row["slope"]),
            "intercept": number(row["intercept"], 8),
        }
        for _, row in fitted.iterrows()
    ]


def _spread(n: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, n - 1, min(n, MOST_CHECKPOINTS)).round().astype(np.intp))
