"""When each task was learned: one short sentence a task for the top of the page, and what stands
behind it (intervals, reasons, the trend with size, the circuits) as separate sentences.

A sentence says no more than the data do: of two models the one with the lower number was sooner
only where the 95 % intervals don't overlap, and what was never seen is said to be missing by the
last checkpoint, not later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.panels import METRIC
from circuitwatch.summary.report.emergence_words import (
    MOST_NAMES,
    asked_curves,
    begin,
    interval_of,
    knee_sentence,
    listed,
    span_of,
    together,
    trend_of,
    trend_sentence,
    who_of,
    with_minus,
)
from circuitwatch.summary.statistics.scaling import MIN_SIZES
from circuitwatch.units import counted, format_tokens

MOST_BY_NAME = 3
"""Models that a sentence names; of more it says how many, and the range."""
NEAR = 1.25
"""Two emergence points whose intervals overlap are about the same where their ratio is below."""


@dataclass(frozen=True)
class Answer:
    """When a task was learned, in which models.

    Attributes:
        task: its name.
        words: what it is called, at the beginning of a line; with the quantity where that isn't
            the task's metric.
        sentence: the answer.
        details: what it rests on, a sentence each.
    """

    task: str
    words: str
    sentence: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class _Verbs:
    """What a curve does, for the models that it is of."""

    emerged: str = "emerged"
    never: str = "had not learned it"
    none: str = "had not emerged"
    already: str = "had it from the first checkpoint"
    there: str = "was there from the first checkpoint"
    transient: str = "rose and fell again"


BEHAVIOUR = _Verbs()
RISING = _Verbs(never="had no such rise")
FALLING = _Verbs(
    emerged="fell",
    never="had no such fall",
    none="had not fallen",
    already="had fallen by the first checkpoint",
    there="had fallen by the first checkpoint",
    transient="fell and rose again",
)


def answers(
    emergence: pd.DataFrame, scaling: pd.DataFrame, ends: pd.DataFrame, facts: Facts
) -> list[Answer]:
    """An answer for each task, in the order of the catalogue, then for curves from elsewhere that
    several models have.

    Args:
        emergence: one row a curve, as `rows.EmergenceRow` has it, models by size.
        scaling: trends over size, as `rows.ScalingRow` has them.
        ends: how the cells ended, as `tables.CellRow` has it; may be empty.
        facts: what is known of tasks and quantities.
    """
    found = []
    said_once = trend_note(scaling) is not None
    for task, quantity in asked_curves(emergence, facts):
        rows = emergence[(emergence["task"] == task) & (emergence["quantity"] == quantity)]
        words = begin(facts.task(task).words)
        if quantity != METRIC:
            words = f"{words}, {facts.words(quantity)}"
        falls = facts.quantity(quantity).falls
        verbs = BEHAVIOUR if quantity == METRIC else FALLING if falls else RISING
        trend = trend_of(scaling, task, quantity)
        details = [*_points(rows), *_reasons(rows), *_size(trend, said_once)]
        if quantity == METRIC:
            details += _circuits(ends, task)
        details += _unfinished(rows)
        found.append(Answer(task, words, _sentence(rows, words, verbs, trend), tuple(details)))
    return found


def trend_note(scaling: pd.DataFrame) -> str | None:
    """Why no ability has a trend with model size, to be said once for the page; none where one has
    such a trend, or nothing was asked.
    """
    if scaling.empty:
        return None
    rows = scaling[scaling["of"] == "tokens of emergence"]
    if rows.empty or (rows["status"] == "fitted").any():
        return None
    most = int(rows["n_observed"].max())
    there = "there is at most 1" if most == 1 else f"there are at most {most}" if most else ""
    return (
        f"A trend with model size needs at least {MIN_SIZES} sizes with an emergence point; "
        f"{there or 'there are none'} here, so none is given."
    )


def _sentence(rows: pd.DataFrame, words: str, verbs: _Verbs, trend: pd.Series | None) -> str:
    """One sentence on all runs of a curve."""
    if rows["seed"].nunique() > 1:
        return _over_seeds(rows, words, verbs)
    statuses = set(rows["status"])
    n = len(rows)
    emerged = rows[rows["status"] == "emerged"]
    if n == 1:
        return f"{words} {_alone(rows.iloc[0], verbs)}."
    if len(statuses) == 1 and not len(emerged):
        return f"{words} {_none_emerged(rows, verbs, f'the {n} models')}."
    if len(emerged) == n == 2:
        return f"{words} {verbs.emerged} in both models, {_which_first(emerged)}."
    if len(emerged) == n:
        order = _order(trend)
        return f"{words} {verbs.emerged} in all {n} models{order}, {_range(emerged)}."
    if n <= MOST_BY_NAME:
        clauses = _clauses(rows, verbs)
        if not len(emerged):
            return f"{words}: {'; '.join(clauses)}."
        points = [f"{r['model']} at {_at(r)}" for _, r in emerged.iterrows()]
        said = [_with_unit(points), *clauses]
        return f"{words} {verbs.emerged} in {len(emerged)} of {n} models: {'; '.join(said)}."
    others = _numbers(rows, verbs)
    if not len(emerged):
        return f"{words}: of {n} models, {others}."
    order = _order(trend)
    return (
        f"{words} {verbs.emerged} in {len(emerged)} of {n} models{order}, {_range(emerged)}; "
        f"{others}."
    )


def _alone(row: pd.Series, verbs: _Verbs) -> str:
    match row["status"]:
        case "emerged":
            return f"{verbs.emerged} at {_at(row)} tokens"
        case "already":
            return verbs.there
        case "never":
            return f"{verbs.none} by {format_tokens(row['last_tokens'])} tokens"
        case "transient":
            return verbs.transient
        case _:
            why = row["reason"] if isinstance(row["reason"], str) else ""
            return "has no clear emergence point" + (f": {why}" if why else "")


def _none_emerged(rows: pd.DataFrame, verbs: _Verbs, who: str) -> str:
    """What all runs have in common that did not emerge, all for the same status."""
    both = len(rows) == 2
    everywhere = "in both models" if both else f"in all of {who}"
    match rows["status"].iloc[0]:
        case "already":
            return f"{verbs.there} {everywhere}"
        case "never":
            return f"{verbs.none} {_by_when(rows)} in {'either model' if both else f'any of {who}'}"
        case "transient":
            return f"{verbs.transient} {everywhere}"
        case _:
            whys = set(rows["reason"])
            why = whys.pop() if len(whys) == 1 else None
            said = f"has no clear emergence point in {'either model' if both else f'any of {who}'}"
            return said + (f": {why}" if isinstance(why, str) else "")


def _which_first(emerged: pd.DataFrame) -> str:
    """Of two models, which was sooner, or that it can't be told."""
    first, second = (row for _, row in emerged.sort_values("tokens", kind="stable").iterrows())
    points = f"at {_at(first)} tokens in {first['model']}, at {_at(second)} in {second['model']}"
    if interval_of(first)[1] >= interval_of(second)[0]:
        if second["tokens"] > NEAR * first["tokens"]:
            return f"{points}; the intervals overlap, so the order is open"
        return (
            f"at about the same number of tokens: {_at(first)} in {first['model']}, "
            f"{_at(second)} in {second['model']}"
        )
    a, b = float(first["params_total"]), float(second["params_total"])
    sizes = math.isfinite(a) and math.isfinite(b) and a != b
    who = f"the {'larger' if a > b else 'smaller'}" if sizes else str(first["model"])
    return f"sooner in {who}: {points}"


def _order(trend: pd.Series | None) -> str:
    """Whether larger models are sooner, where the trend with size is sure of its sign."""
    if trend is None or trend["status"] != "fitted":
        return ""
    if pd.notna(trend["slope_high"]) and trend["slope_high"] < 0:
        return ", sooner in larger ones"
    if pd.notna(trend["slope_low"]) and trend["slope_low"] > 0:
        return ", later in larger ones"
    return ""


def _range(emerged: pd.DataFrame, *, named: bool = True) -> str:
    """From the soonest to the latest emergence point."""
    ordered = emerged.sort_values("tokens", kind="stable")
    first, last = ordered.iloc[0], ordered.iloc[-1]
    ends = [_at(first), _at(last)]
    if ends[0] == ends[1]:
        return f"at {ends[0]} tokens"
    if not named:
        return f"{ends[0]} to {ends[1]} tokens"
    return f"between {ends[0]} tokens ({first['model']}) and {ends[1]} ({last['model']})"


def _clauses(rows: pd.DataFrame, verbs: _Verbs) -> list[str]:
    """What the models did that did not emerge, a clause a status."""
    return [
        _clause(str(status), together([str(model) for model in own["model"]]), own, verbs)
        for status, own in rows[rows["status"] != "emerged"].groupby("status", sort=False)
    ]


def _numbers(rows: pd.DataFrame, verbs: _Verbs) -> str:
    """How many runs did not emerge, by what they did."""
    return together(
        [
            _clause(str(status), str(len(own)), own, verbs)
            for status, own in rows[rows["status"] != "emerged"].groupby("status", sort=False)
        ]
    )


def _clause(status: str, who: str, rows: pd.DataFrame, verbs: _Verbs) -> str:
    """What those did that have some rows of one status."""
    match status:
        case "already":
            return f"{who} {verbs.already}"
        case "never":
            return f"{who} {verbs.never} {_by_when(rows)}"
        case "transient":
            return f"in {who} it {verbs.transient}"
        case _:
            return f"{who} {'is' if len(rows) == 1 else 'are'} unclear"


def _over_seeds(rows: pd.DataFrame, words: str, verbs: _Verbs) -> str:
    """One sentence where models were trained with several seeds: in how many, and the range."""
    emerged = rows[rows["status"] == "emerged"]
    runs, models = len(rows), list(dict.fromkeys(rows["model"]))
    if not len(emerged):
        if rows["status"].nunique() == 1:
            return f"{words} {_none_emerged(rows, verbs, f'the {runs} runs')}.".replace(
                "in both models", "in both runs"
            ).replace("in either model", "in either run")
        return f"{words}: of {runs} runs, {_numbers(rows, verbs)}."
    if len(models) <= MOST_BY_NAME:
        who = together([_seeds_of(rows[rows["model"] == model], str(model)) for model in models])
        said = f"{words} {verbs.emerged} in {who}"
    else:
        said = (
            f"{words} {verbs.emerged} in {len(emerged)} of {runs} runs of {len(models)} models "
            f"({_range(emerged, named=False)})"
        )
    left = rows[rows["status"] != "emerged"]
    if len(left) == 1:
        said += f"; {_clause(str(left['status'].iloc[0]), 'the other run', left, verbs)}"
    elif len(left):
        said += f"; of the other {len(left)} runs, {_numbers(left, verbs)}"
    return f"{said}."


def _seeds_of(rows: pd.DataFrame, model: str) -> str:
    """In how many seeds of a model, and when."""
    own, n = rows[rows["status"] == "emerged"], len(rows)
    if not len(own):
        return f"none of {counted(n, 'seed')} of {model}"
    share = f"{len(own)} of {counted(n, 'seed')}" if len(own) < n or n == 1 else f"all {n} seeds"
    return f"{share} of {model} ({_range(own, named=False).removeprefix('at ')})"


def _by_when(rows: pd.DataFrame) -> str:
    """By which checkpoint something had not been seen."""
    last = {format_tokens(tokens) for tokens in rows["last_tokens"]}
    return f"by {last.pop()} tokens" if len(last) == 1 else "by the last checkpoint"


def _at(row: pd.Series) -> str:
    return format_tokens(row["tokens"]) or "0"


def _with_unit(points: Sequence[str]) -> str:
    """`a at 1M tokens, b at 2M`: the unit once."""
    return ", ".join([f"{points[0]} tokens", *points[1:]])


def _points(rows: pd.DataFrame) -> list[str]:
    """The emergence points with their intervals."""
    emerged = rows[rows["status"] == "emerged"]
    points = [f"{who_of(row, rows)} {_at(row)} {span_of(row)}" for _, row in emerged.iterrows()]
    return [f"Tokens, with 95 % intervals: {listed(points, '; ')}."] if points else []


def _reasons(rows: pd.DataFrame) -> list[str]:
    """Why some runs have no emergence point, or a doubtful one."""
    noted = rows[(rows["status"] != "already") & rows["note"].map(_is_said)]
    by_note: dict[str, list[str]] = {}
    for _, row in noted.iterrows():
        by_note.setdefault(with_minus(row["note"]), []).append(who_of(row, rows))
    found = [f"{listed(who)}: {note}." for note, who in by_note.items()]
    more = len(found) - MOST_NAMES
    return found[:MOST_NAMES] + (
        [f"{counted(more, 'more remark')}: see the table of every curve."] if more > 0 else []
    )


def _is_said(note: object) -> bool:
    return isinstance(note, str) and bool(note)


def _size(trend: pd.Series | None, said_once: bool) -> list[str]:
    """How it goes with model size; said_once: the page says why there is no trend at all."""
    if trend is None:
        return []
    if trend["status"] != "fitted":
        return [] if said_once else ["Too few sizes with an emergence point for a trend."]
    return [trend_sentence(trend), knee_sentence(trend)]


def _circuits(ends: pd.DataFrame, task: str) -> list[str]:
    """The circuits at the last checkpoint."""
    own = ends[ends["task"] == task] if "circuit_edges" in ends else ends.iloc[:0]
    found = []
    for _, row in own.iterrows():
        who = who_of(row, own)
        if pd.notna(row["circuit_edges"]):
            share = row["circuit_edges_share"]
            part = f" ({100 * float(share):.1f} %)" if pd.notna(share) else ""
            edges = int(row["circuit_edges"])
            whole = f" of {int(row['n_edges'])}" if pd.notna(row["n_edges"]) else ""
            found.append(f"{who} {edges}{whole} edges{part}")
        elif isinstance(row["circuit_status"], str):
            found.append(f"{who} {row['circuit_status'].removesuffix('.').replace(': ', ', ')}")
    return [f"Circuit at the last checkpoint: {listed(found, '; ')}."] if found else []


def _unfinished(rows: pd.DataFrame) -> list[str]:
    """Which runs are not finished, so that all this is of their checkpoints so far."""
    if "finished" not in rows:
        return []
    names = [who_of(row, rows) for _, row in rows.iterrows() if not row["finished"]]
    return [f"Not finished, so this is about the checkpoints so far: {listed(names)}."] * bool(
        names
    )
