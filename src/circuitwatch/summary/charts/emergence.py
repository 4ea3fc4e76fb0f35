"""When things emerged: an interval for each size beside the others, and against model size.

An interval that goes on beyond what was seen is open at that end; what had not emerged by the last
checkpoint, or was there at the first, is a limit; what has no one emergence point says so in words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.charts.looks import GREY, Key, thinned
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.panels import METRIC, Specification
from circuitwatch.units import format_interval, format_number, format_tokens

MOST_GROUPS, MOST_ROWS = 14, 48
"""Groups of one chart, those of the most models, and rows of curves from elsewhere, of which there
may be any number; the tables have all.
"""
MEAN = "mean size over checkpoints with a circuit"
BEHAVIOURS, ROLES, CURVES = "Behaviours", "Head roles", "Curves from elsewhere"


@dataclass(frozen=True)
class Point:
    """When a curve of one model and seed emerged, or another number of a model and seed.

    Attributes:
        status: of the curve; empty where it is no emergence point.
        at: where it is drawn, in tokens; none where there is no one point.
        low, high: ends of what is drawn of its interval.
        open_low, open_high: whether the interval goes on beyond that end.
        limit: `after` where it had not emerged by `at`, the last checkpoint; `before` where it was
            there at `at`, the first one; empty for an emergence point.
        words: the same in words.
    """

    model: str
    seed: int
    status: str
    words: str
    at: float | None = None
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    limit: Literal["", "after", "before"] = ""


@dataclass(frozen=True)
class Group:
    """What emerged, with a row for each model: its points, one a seed."""

    words: str
    task: str
    quantity: str
    rows: tuple[tuple[str, tuple[Point, ...]], ...]


@dataclass(frozen=True)
class Emergence:
    """Groups below one another over training tokens; more: how many are left out."""

    title: str
    groups: tuple[Group, ...]
    limits: tuple[float, float]
    keys: tuple[Key, ...]
    more: int = 0


@dataclass(frozen=True)
class Dot:
    """A point over model size: how many parameters, and where and how it is drawn upwards, with
    words that name the model.
    """

    params: float
    point: Point


@dataclass(frozen=True)
class Sizes:
    """Something against model size, both logarithmic.

    Attributes:
        trend: slope and intercept of the log of y over the log of the parameters, and the slope in
            words; none where too few sizes say anything.
        unplaced: who has no place in it, with the reason.
    """

    title: str
    axis: str
    task: str
    quantity: str
    dots: tuple[Dot, ...]
    trend: tuple[float, float, str] | None = None
    unplaced: tuple[str, ...] = ()


def emergence_charts(emergence: pd.DataFrame, spec: Specification) -> list[Emergence]:
    """When behaviours emerged, when head roles did, and when curves from elsewhere rose; those that
    there are rows of.
    """
    if emergence.empty:
        return []
    facts = spec.facts
    roles = {facts.role(name).quantity.key: place for place, name in enumerate(facts.roles)}
    of_role = (emergence["task"] == NO_TASK) & emergence["quantity"].isin(list(roles))
    elsewhere = [facts.quantity(str(q)).panel == ELSEWHERE for q in emergence["quantity"]]
    found = []
    for title, rows in (
        (BEHAVIOURS, emergence[emergence["quantity"] == METRIC]),
        (ROLES, emergence[of_role]),
        (CURVES, emergence[elsewhere]),
    ):
        if len(rows):
            found.append(_chart(title, rows, spec, roles))
    return found


def _chart(title: str, rows: pd.DataFrame, spec: Specification, roles: dict[str, int]) -> Emergence:
    facts = spec.facts
    zero = _zero(rows)
    names = rows.groupby(["task", "quantity"], sort=False)["model"].nunique()
    names = names.sort_values(ascending=False, kind="stable")
    room = MOST_ROWS if title == CURVES else names.sum()
    most = names.index[: max(1, int((names.cumsum() <= room).sum()))][:MOST_GROUPS]
    order = sorted(most, key=lambda key: (facts.task(key[0]).place, roles.get(key[1], 0), key))
    groups, ends = [], [zero]
    for task, quantity in order:
        own = rows[(rows["task"] == task) & (rows["quantity"] == quantity)]
        by_model = []
        for model in spec.lines.models:
            of_model = own[own["model"] == model].sort_values("seed")
            if len(of_model):
                points = tuple(_point(row, facts, zero) for _, row in of_model.iterrows())
                by_model.append((model, points))
        words = facts.words(quantity) if task == NO_TASK else facts.task(task).words
        if task != NO_TASK and title == CURVES and rows["quantity"].nunique() > 1:
            words = f"{words}, {facts.words(quantity)}"
        groups.append(Group(words, task, quantity, tuple(by_model)))
        ends += [max(float(last), zero) for last in own["last_tokens"].dropna()]
    models = [model for model in spec.lines.models if any(model == m for group in groups
                                                          for m, _ in group.rows)]  # fmt: skip
    keys = thinned([Key(model, spec.colours[model], marker="o") for model in models])
    limits = (min(ends), max(ends) if max(ends) > min(ends) else min(ends) * 10)
    return Emergence(title, tuple(groups), limits, tuple(keys), len(names) - len(order))


def sizes_panels(
    emergence: pd.DataFrame, scaling: pd.DataFrame, spec: Specification
) -> dict[str, list[Sizes]]:
    """Tokens of emergence against model size, by quantity, a panel a task; quantities that have an
    emergence point or a limit in at least two sizes.
    """
    found: dict[str, list[Sizes]] = {}
    if emergence.empty:
        return found
    known = emergence[emergence["params_total"].notna()]
    for quantity, rows in known.groupby("quantity", sort=False):
        tasks = sorted(rows["task"].unique(), key=lambda task: (spec.facts.task(task).place, task))
        panels = [_sizes(rows[rows["task"] == t], scaling, str(quantity), t, spec) for t in tasks]
        panels = [panel for panel in panels if panel.dots]
        if len({dot.params for panel in panels for dot in panel.dots}) > 1:
            found[str(quantity)] = panels
    return found


def circuit_sizes(scaling: pd.DataFrame, quantity: str, spec: Specification) -> list[Sizes]:
    """The mean of a circuit's size against model size, a panel a task; empty for fewer than two
    sizes.
    """
    params, words = spec.lines.params, spec.facts.words(quantity)
    found = []
    for task, panel in spec.panels(quantity).items():
        lines = [line for line in panel.curves if line.model in params]
        dots = []
        for line in lines:
            mean = float(line.values.mean())
            said = f"{spec.lines.called(line)}: {format_number(mean)} {words} on average"
            if mean > 0:  # the axis is logarithmic
                dots.append(Dot(params[line.model], Point(line.model, line.seed, "", said, mean)))
        if dots:
            trend = _trend(scaling, task, quantity, MEAN)
            title = spec.facts.task(task).words
            found.append(Sizes(title, f"mean {words} (log)", task, quantity, tuple(dots), trend))
    sizes = {dot.params for panel in found for dot in panel.dots}
    return found if len(sizes) > 1 else []


def _sizes(
    rows: pd.DataFrame, scaling: pd.DataFrame, quantity: str, task: str, spec: Specification
) -> Sizes:
    facts = spec.facts
    several, zero = rows["seed"].nunique() > 1, _zero(rows)
    dots, unplaced = [], []
    for _, row in rows.iterrows():
        point = _point(row, facts, zero)
        name = f"{point.model} seed {point.seed}" if several else point.model
        if point.at is None or (point.limit == "before" and not row["first_tokens"] > 0):
            unplaced.append(f"{name} ({point.words})")
            continue
        dots.append(Dot(float(row["params_total"]), replace(point, words=f"{name}: {point.words}")))
    title = facts.words(quantity) if task == NO_TASK else facts.task(task).words
    trend = _trend(scaling, task, quantity, "tokens of emergence") if dots else None
    axis = "tokens of emergence (log)"
    return Sizes(title, axis, task, quantity, tuple(dots), trend, tuple(unplaced))


def _point(row: pd.Series, facts: Facts, zero: float) -> Point:
    """zero: where 0 tokens are drawn."""
    model, seed, status = str(row["model"]), int(row["seed"]), str(row["status"])
    first, last = float(row["first_tokens"]), float(row["last_tokens"])
    if status == "emerged":
        at, (low, high) = float(row["tokens"]), (row["tokens_low"], row["tokens_high"])
        interval = format_interval(low, high)
        return Point(
            model,
            seed,
            status,
            f"{format_tokens(at)} tokens" + (f" [{interval}]" if interval else ""),
            at,
            max(float(first if pd.isna(low) else low), zero),
            float(last if pd.isna(high) else high),
            open_low=bool(pd.isna(low)),
            open_high=bool(pd.isna(high)),
        )
    if status == "never":
        words = f"not by {format_tokens(last)} tokens"
        return Point(model, seed, status, words, last, open_high=True, limit="after")
    if status == "already":
        words = f"there at the first checkpoint ({format_tokens(first) or 0} tokens)"
        return Point(model, seed, status, words, max(first, zero), open_low=True, limit="before")
    falls = facts.quantity(str(row["quantity"])).falls
    gone = "fell and rose again" if falls else "rose and fell again"
    return Point(model, seed, status, gone if status == "transient" else "no clear point")


def _zero(rows: pd.DataFrame) -> float:
    """Where 0 tokens are drawn: at half of the first positive count of these rows."""
    columns = ["first_tokens", "crossing_low", "crossing_high", "tokens_low", "tokens"]
    known = [rows[name] for name in [*columns, "last_tokens"] if name in rows]
    every = pd.to_numeric(pd.concat(known), errors="coerce").to_numpy(dtype=float)
    positive = every[np.isfinite(every) & (every > 0)]
    first = rows["first_tokens"].to_numpy(dtype=float)
    least = float(positive.min()) if positive.size else 1.0
    return least / 2 if (first <= 0).any() else least


def _trend(
    scaling: pd.DataFrame, task: str, quantity: str, of: str
) -> tuple[float, float, str] | None:
    if scaling.empty:
        return None
    found = scaling[
        (scaling["task"] == task) & (scaling["quantity"] == quantity) & (scaling["of"] == of)
    ]
    if found.empty or found.iloc[0]["status"] != "fitted":
        return None
    row = found.iloc[0]
    low, high = (format_number(row[name]) or "open" for name in ("slope_low", "slope_high"))
    words = f"slope {format_number(row['slope'])} [{low}, {high}]"
    return float(row["slope"]), float(row["intercept"]), words


def emerged_row(emergence: pd.DataFrame, model: str, seed: int, task: str) -> pd.Series | None:
    """The row of a task's behaviour in a model, if it emerged."""
    if emergence.empty:
        return None
    found = emergence[
        (emergence["model"] == model)
        & (emergence["seed"] == seed)
        & (emergence["task"] == task)
        & (emergence["quantity"] == METRIC)
        & (emergence["status"] == "emerged")
    ]
    return found.iloc[0] if len(found) else None


def limit_keys() -> list[Key]:
    """What the marks of a chart of emergence mean, whatever the models."""
    return [
        Key("emergence point with its 95 % interval", GREY, marker="o"),
        Key("not by the last checkpoint", GREY, marker=">"),
        Key("there at the first checkpoint", GREY, marker="<"),
    ]
