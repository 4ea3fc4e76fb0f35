"""When behaviours emerge, in sentences: a row of the emergence table, and each task over the models
and with their size.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.panels import METRIC
from circuitwatch.units import format_tokens

MOST_NAMES = 8
"""Heads or models that a sentence names."""
MOST_CURVES = 20
MINUS = "−"
STATUS_WORDS = {
    "already": "there from the first checkpoint",
    "never": "never by the last checkpoint",
    "transient": "rose and fell",  # a quantity that falls as a model learns: `_transient`
    "ambiguous": "no one emergence point can be told",
}


def emergence_sentence(row: pd.Series, facts: Facts) -> str:
    """One row of the emergence table in words, with its note."""
    what = facts.words(str(row["quantity"]))
    match row["status"]:
        case "emerged":
            said = f"{what} emerged at {point_of(row)}"
        case "already":
            said = (
                f"{what} was there at the first checkpoint "
                f"({format_tokens(row['first_tokens']) or '0'} tokens)"
            )
        case "never":
            said = f"{what} never emerged by {format_tokens(row['last_tokens'])} tokens"
        case "transient":
            said = f"{what} {_transient(str(row['quantity']), facts)}"
        case _:
            said = f"no one emergence point can be told for {what}"
    note = str(row["note"]) if isinstance(row["note"], str) else ""
    return f"{said[0].upper()}{said[1:]}{': ' + note if note else ''}."


def emergence_findings(
    emergence: pd.DataFrame, scaling: pd.DataFrame, facts: Facts
) -> list[tuple[str, str]]:
    """For each task, in which models its behaviour emerged and when, and how that goes with size:
    (task in words, sentences).

    Of curves from elsewhere those that several models have, at most MOST_CURVES; their names say
    the quantity too.
    """
    if emergence.empty:
        return []
    sizes = emergence.groupby(["task", "quantity"], sort=False)["model"].nunique()
    behaviours = sorted(
        (t for t, q in sizes.index if q == METRIC), key=lambda t: (facts.task(t).place, t)
    )
    others = [
        (t, q)
        for (t, q), n in sizes.items()
        if n > 1 and t != NO_TASK and facts.quantity(q).panel == ELSEWHERE
    ]
    said = [
        (begin(facts.task(t).words), _when_and_where(emergence, scaling, t, METRIC, facts))
        for t in behaviours
    ]
    return said + [
        (
            f"{begin(facts.task(t).words)}, {facts.words(q)}",
            _when_and_where(emergence, scaling, t, q, facts),
        )
        for t, q in others[:MOST_CURVES]
    ]


def _when_and_where(
    emergence: pd.DataFrame, scaling: pd.DataFrame, task: str, quantity: str, facts: Facts
) -> str:
    rows = emergence[(emergence["task"] == task) & (emergence["quantity"] == quantity)]
    several = rows["seed"].nunique() > 1
    emerged = rows[rows["status"] == "emerged"]
    sentences = []
    if len(emerged):
        points = [f"{_who(row, several)} at {point_of(row)}" for _, row in emerged.iterrows()]
        what = "runs" if several else "models"
        sentences.append(
            f"It emerged in {len(emerged)} of {len(rows)} {what}: {listed(points, '; ')}."
        )
    transient = {"transient": _transient(quantity, facts)}
    for status, words in (STATUS_WORDS | transient).items():
        who = [
            _who(row, several) + _chance(row)
            for _, row in rows[rows["status"] == status].iterrows()
        ]
        if who:
            sentences.append(f"{words[0].upper()}{words[1:]}: {listed(who)}.")
    return " ".join(sentences + _with_size(scaling, task, quantity))


def _transient(quantity: str, facts: Facts) -> str:
    """What a curve did that had emerged and then had not."""
    return "fell and rose" if facts.quantity(quantity).falls else STATUS_WORDS["transient"]


def _with_size(scaling: pd.DataFrame, task: str, quantity: str) -> list[str]:
    if scaling.empty:
        return []
    row = scaling[
        (scaling["task"] == task)
        & (scaling["quantity"] == quantity)
        & (scaling["of"] == "tokens of emergence")
    ]
    if row.empty or row.iloc[0]["status"] != "fitted":
        return ["Too few sizes for a trend." if len(row) else ""]
    trend = row.iloc[0]
    low, high = (
        f"{trend[name]:.2f}" if pd.notna(trend[name]) else "unbounded"
        for name in ("slope_low", "slope_high")
    )
    power = f"{trend['slope']:.2f} [{low}, {high}]".replace("-", MINUS)
    return [
        f"Tokens of emergence go with parameters to the power {power} over "
        f"{trend['n_sizes']} sizes; {knee_words(trend)}."
    ]


def knee_words(trend: pd.Series) -> str:
    """The size beyond which more scale changes nothing, in words."""
    low, high = (
        f"{format_tokens(trend[name])}" if pd.notna(trend[name]) else None
        for name in ("knee_low", "knee_high")
    )
    match trend["knee_status"]:
        case "levels off":
            ends = f"{low or 'the smallest'} – {high or 'beyond the largest'}"
            return f"beyond {format_tokens(trend['knee'])} parameters ({ends}) size changes nothing"
        case "not determined by these sizes":
            return f"whether it levels off is not determined by {trend['n_observed']} sizes"
        case status:
            return str(status)


def _who(row: pd.Series, several: bool) -> str:
    return f"{row['model']} seed {row['seed']}" if several else str(row["model"])


def _chance(row: pd.Series) -> str:
    """Why a behaviour whose curve may well have risen did not emerge, where that is why."""
    reasons = ("not above chance", "not steadily above chance")
    return f" ({row['note']})" if row["reason"] in reasons else ""


def _interval(row: pd.Series) -> tuple[float, float]:
    low, high = (
        float(row[name]) if pd.notna(row[name]) else None for name in ("tokens_low", "tokens_high")
    )
    return float(row["tokens"]) if low is None else low, float("inf") if high is None else high


def point_of(row: pd.Series) -> str:
    """When something emerged, with its interval, or why there is no emergence point."""
    if row["status"] != "emerged":
        return (
            f"no one emergence point, {row['status']}"
            if row["status"] != "already"
            else "the first checkpoint or before"
        )
    low, high = _interval(row)
    end = format_tokens(high) if high < float("inf") else "beyond the last checkpoint"
    return f"{format_tokens(row['tokens'])} tokens [{format_tokens(low) or '0'} – {end}]"


def listed(names: Sequence[str], between: str = ", ") -> str:
    """The first MOST_NAMES of some names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return between.join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def begin(words: str) -> str:
    """Words at the beginning of a sentence."""
    return words[:1].upper() + words[1:]


def times(number: int) -> str:
    """How often, in words."""
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")
