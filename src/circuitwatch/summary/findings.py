"""What the tables say, in sentences: which came first, who holds the roles, how many handovers, whether the algorithm stays; and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from circuitwatch.summary.figures import format_tokens, in_words, quantity_in_words
from circuitwatch.summary.head_tables import HeadTables
from circuitwatch.summary.tables import NO_TASK

Order = Literal["before", "after", "can't be told", "only the first", "only the second", "neither"]
MOST_NAMES = 8
"""Heads that a sentence names."""
MOST_CURVES = 20
CONFIRMED, MINUS = "✓", "−"
STATUS_WORDS = {
    "already": "there from the first checkpoint",
    "never": "never by the last checkpoint",
    "transient": "rose and fell",
    "ambiguous": "no one moment can be told",
}


@dataclass(frozen=True)
class Finding:
    """What is found about one model and seed; seed is none for what is found over all of a model's seeds."""

    model: str
    seed: int | None
    sentences: list[str]


def findings(emergence: pd.DataFrame, heads: HeadTables, circuits: pd.DataFrame) -> list[Finding]:
    """What is found, by model: over its seeds where there are several, then for each seed. Only what there are numbers for.

    circuits: `together.Comparisons.circuits`.
    """
    found = []
    for model, of_model in emergence.groupby("model", sort=False):
        seeds = list(of_model["seed"].unique())
        if len(seeds) > 1:
            found.append(Finding(str(model), None, _over_seeds(of_model, heads, str(model))))
        for seed in seeds:
            roles = _of(heads.roles, str(model), seed)
            sentences = [
                *_induction_and_ioi(of_model[of_model["seed"] == seed]),
                *_holders(roles),
                *_handovers(roles, _of(heads.handovers, str(model), seed)),
                *_algorithm(_of(heads.algorithm, str(model), seed)),
                *_circuits(_of(circuits, str(model), seed)),
            ]
            found.append(Finding(str(model), int(seed), sentences))
    return [finding for finding in found if finding.sentences]


def emergence_sentence(row: pd.Series) -> str:
    """One row of the emergence table in words, with its note."""
    what = quantity_in_words(str(row["quantity"]))
    match row["status"]:
        case "emerged":
            said = f"{what} emerged at {_moment(row)}"
        case "already":
            said = f"{what} was there at the first checkpoint ({format_tokens(row['first_tokens']) or '0'} tokens)"
        case "never":
            said = f"{what} never emerged by {format_tokens(row['last_tokens'])} tokens"
        case "transient":
            said = f"{what} rose and fell"
        case _:
            said = f"no one moment can be told for {what}"
    note = str(row["note"]) if isinstance(row["note"], str) else ""
    return f"{said[0].upper()}{said[1:]}{': ' + note if note else ''}."


def emergence_findings(emergence: pd.DataFrame, scaling: pd.DataFrame) -> list[tuple[str, str]]:
    """For each task, in which models its behaviour emerged and when, and how that goes with size: (task in words, sentences).

    Of curves from elsewhere those that several models have, at most MOST_CURVES; their names say the quantity too.
    """
    if emergence.empty:
        return []
    sizes = emergence.groupby(["task", "quantity"], sort=False)["model"].nunique()
    others = [(t, q) for (t, q), n in sizes.items() if "/" not in q and t != NO_TASK and n > 1]
    asked = [(t, q) for t, q in sizes.index if q == "behaviour/value"] + others[:MOST_CURVES]
    return [
        (_begin(t) + ("" if "/" in q else f", {in_words(q)}"), _when_and_where(emergence, scaling, t, q))
        for t, q in asked
    ]


def _when_and_where(emergence: pd.DataFrame, scaling: pd.DataFrame, task: str, quantity: str) -> str:
    rows = emergence[(emergence["task"] == task) & (emergence["quantity"] == quantity)]
    several = rows["seed"].nunique() > 1
    emerged = rows[rows["status"] == "emerged"]
    sentences = []
    if len(emerged):
        moments = [f"{_who(row, several)} at {_moment(row)}" for _, row in emerged.iterrows()]
        what = "runs" if several else "models"
        sentences.append(f"It emerged in {len(emerged)} of {len(rows)} {what}: {_list(moments, '; ')}.")
    for status, words in STATUS_WORDS.items():
        who = [_who(row, several) for _, row in rows[rows["status"] == status].iterrows()]
        if who:
            sentences.append(f"{words[0].upper()}{words[1:]}: {_list(who)}.")
    return " ".join(sentences + _with_size(scaling, task, quantity))


def _with_size(scaling: pd.DataFrame, task: str, quantity: str) -> list[str]:
    if scaling.empty:
        return []
    row = scaling[(scaling["task"] == task) & (scaling["quantity"] == quantity) & (scaling["of"] == "tokens of emergence")]  # fmt: skip
    if row.empty or row.iloc[0]["status"] != "fitted":
        return ["Too few sizes for a trend." if len(row) else ""]
    trend = row.iloc[0]
    low, high = (f"{trend[name]:.2f}" if pd.notna(trend[name]) else "unbounded" for name in ("slope_low", "slope_high"))
    power = f"{trend['slope']:.2f} [{low}, {high}]".replace("-", MINUS)
    return [
        f"Tokens of emergence go with parameters to the power {power} over {trend['n_sizes']} sizes; {trend['knee_status']}."
    ]


def _who(row: pd.Series, several: bool) -> str:
    return f"{row['model']} seed {row['seed']}" if several else str(row["model"])


def order_of(first: pd.Series, second: pd.Series) -> Order:
    """Whether one curve emerged before another: rows of the emergence table.

    `before` or `after` only where both emerged and their intervals do not meet; a missing upper end lies beyond the last checkpoint. `only the first`
    (`second`): it emerged, or was there already, and the other never did by the last checkpoint. A status that gives no moment (transient, ambiguous), or two
    curves that were both there at the first checkpoint: `can't be told`.
    """
    there = ("emerged", "already")
    statuses = first["status"], second["status"]
    if statuses[1] == "never" and statuses[0] in there:
        return "only the first"
    if statuses[0] == "never" and statuses[1] in there:
        return "only the second"
    if statuses == ("never", "never"):
        return "neither"
    if not all(status in there for status in statuses) or statuses == ("already", "already"):
        return "can't be told"
    if "already" in statuses:
        return "before" if statuses[0] == "already" else "after"
    (low, high), (other_low, other_high) = _interval(first), _interval(second)
    return "before" if high < other_low else "after" if low > other_high else "can't be told"


def _induction_and_ioi(rows: pd.DataFrame) -> list[str]:
    pair = _pair(rows)
    if pair is None:
        return []
    a, b = pair
    words = f"induction at {_moment(a)}, IOI at {_moment(b)}"
    match order_of(a, b):
        case "before":
            return [f"Induction emerged before IOI ({words})."]
        case "after":
            return [f"Induction emerged after IOI ({words})."]
        case "only the first":
            return [
                f"Induction is there ({_moment(a)}); IOI never emerged by {format_tokens(b['last_tokens'])} tokens."
            ]
        case "only the second":
            return [
                f"IOI is there ({_moment(b)}); induction never emerged by {format_tokens(a['last_tokens'])} tokens."
            ]
        case "neither":
            return [f"Neither induction nor IOI emerged by {format_tokens(a['last_tokens'])} tokens."]
        case _:
            return [f"Whether induction emerged before IOI can't be told ({words})."]


def _holders(roles: pd.DataFrame) -> list[str]:
    held, empty, missing = [], [], []
    for _, row in roles.iterrows():
        role = in_words(str(row["role"]))
        if not row["checkpoints"]:
            missing.append(f"{role} ({row['note']})")
        elif row["holders_at_end"]:
            sure = str(row["confirmed_at_end"]).split()
            names = [f"{name} {CONFIRMED}" if name in sure else name for name in str(row["heads_at_end"]).split()]
            held.append(f"{role} {_list(names)}{'' if row['checked_at_end'] else ' (unchecked)'}")
        else:
            empty.append(role)
    sentences = [f"Held at the last checkpoint ({CONFIRMED}: confirmed by cause): {'; '.join(held)}."] if held else []
    sentences += [f"Held by no head there: {', '.join(empty)}."] if empty else []
    return sentences + ([f"Not measured: {', '.join(missing)}."] if missing else [])


def _handovers(roles: pd.DataFrame, handovers: pd.DataFrame) -> list[str]:
    measured = roles[roles["checkpoints"] > 0] if len(roles) else roles
    if measured.empty:
        return []
    lost, regained = int(measured["lost"].sum()), int(measured["regained"].sum())
    rest = f"a head lost a role {_times(lost)} and regained one {_times(regained)}."
    if handovers.empty:
        return [f"No role changed its strongest head; {rest}"]
    counts = handovers["role"].value_counts(sort=False)
    each = ", ".join(f"{in_words(str(role))} {number}" for role, number in counts.items())
    return [f"The strongest head of a role changed {_times(len(handovers))} ({each}); {rest}"]


def _algorithm(algorithm: pd.DataFrame) -> list[str]:
    sentences = []
    for task, rows in algorithm.groupby("task", sort=False) if len(algorithm) else ():
        words = []
        for why, missing in rows[rows["verdict"] == "missing"].groupby("why_missing", sort=False):
            names = ", ".join(in_words(str(name)) for name in missing["quantity"])
            words.append(f"{names} can't be had" + (f" ({why})" if why else ""))
        for _, row in rows[rows["verdict"] != "missing"].iterrows():
            span = f"between {row['min']:.2f} and {row['max']:.2f}"
            if pd.notna(row["trend"]) and (
                row["trend_low"] > 0 or row["trend_high"] < 0
            ):  # also of one that stays by its range
                trend = (
                    f", {row['trend']:+.2f} [{row['trend_low']:+.2f}, {row['trend_high']:+.2f}] per tenfold of tokens"
                )
                span += trend.replace("-", MINUS)
            verdict = "has too few checkpoints" if row["verdict"] == "too few checkpoints" else row["verdict"]
            words.append(f"{in_words(str(row['quantity']))} {verdict} ({span})")
        sentences.append(f"{_begin(str(task))}: {', '.join(words)}.")
    return sentences


def _circuits(circuits: pd.DataFrame) -> list[str]:
    """How alike circuits of neighbouring checkpoints are, between what chance gives and what resampled prompts give."""
    said = []
    for _, row in circuits[circuits["jaccard"].notna()].iterrows() if len(circuits) else ():
        words = f"{in_words(str(row['task']))} {row['jaccard']:.2f}"
        if pd.notna(row["floor"]):
            words += f" (resampled prompts of one checkpoint {row['floor']:.2f}, by chance {row['chance']:.2f}"
            interval = f" [{row['low']:.2f}, {row['high']:.2f}]" if pd.notna(row["low"]) else ""
            words += f": stability {row['stability']:.2f}{interval})" if pd.notna(row["stability"]) else ")"
        said.append(words)
    return [f"Edges that circuits of neighbouring checkpoints share (Jaccard): {'; '.join(said)}."] if said else []


def _over_seeds(rows: pd.DataFrame, heads: HeadTables, model: str) -> list[str]:
    """A model with several seeds: in how many of them what holds."""
    sentences = []
    pairs = [_pair(own) for _, own in rows.groupby("seed")]
    orders = [order_of(*pair) for pair in pairs if pair is not None]
    if orders:
        names: dict[Order, str] = {"only the first": "induction alone emerged", "only the second": "IOI alone emerged"}
        counts = ", ".join(f"{names.get(order, order)} in {orders.count(order)}" for order in dict.fromkeys(orders))
        sentences.append(f"Whether induction emerged before IOI, over {len(orders)} seeds: {counts}.")
    roles = heads.roles[heads.roles["model"] == model] if len(heads.roles) else heads.roles
    measured = roles[roles["checkpoints"] > 0] if len(roles) else roles
    if len(measured):
        per_seed = measured.groupby("seed")["handovers"].sum().astype(float)
        spread = f"median {per_seed.median():g}, from {per_seed.min():g} to {per_seed.max():g}"
        sentences.append(f"Changes of a role's strongest head in a seed, all roles together: {spread}.")
    algorithm = heads.algorithm[heads.algorithm["model"] == model] if len(heads.algorithm) else heads.algorithm
    for task, of_task in algorithm.groupby("task", sort=False) if len(algorithm) else ():
        words = []
        for quantity, own in of_task.groupby("quantity", sort=False):
            verdicts = own["verdict"].value_counts(sort=False)
            words.append(
                f"{in_words(str(quantity))} {', '.join(f'{verdict} in {count}' for verdict, count in verdicts.items())}"
            )
        sentences.append(f"{_begin(str(task))}, over {of_task['seed'].nunique()} seeds: {'; '.join(words)}.")
    return sentences


def _pair(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    """The rows of induction and of IOI; none unless both are there."""
    induction = rows[(rows["task"] == NO_TASK) & (rows["quantity"] == "roles/induction/max")]
    ioi = rows[(rows["task"] == "ioi") & (rows["quantity"] == "behaviour/value")]
    return (induction.iloc[0], ioi.iloc[0]) if len(induction) and len(ioi) else None


def _of(table: pd.DataFrame, model: str, seed: int) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["seed"] == seed)] if len(table) else table


def _interval(row: pd.Series) -> tuple[float, float]:
    low, high = (float(row[name]) if pd.notna(row[name]) else None for name in ("tokens_low", "tokens_high"))
    return float(row["tokens"]) if low is None else low, float("inf") if high is None else high


def _moment(row: pd.Series) -> str:
    if row["status"] != "emerged":
        return f"no one moment, {row['status']}" if row["status"] != "already" else "the first checkpoint or before"
    low, high = _interval(row)
    end = format_tokens(high) if high < float("inf") else "beyond the last checkpoint"
    return f"{format_tokens(row['tokens'])} tokens [{format_tokens(low) or '0'} – {end}]"


def _list(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - MOST_NAMES
    return between.join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _begin(task: str) -> str:
    words = in_words(task)
    return words[0].upper() + words[1:]


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")
