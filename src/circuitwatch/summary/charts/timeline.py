"""Which heads hold a role when: a row for every head that ever holds one, its score and what the
causal check says of it at every checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.emergence import emerged_row
from circuitwatch.summary.charts.looks import DASHES, Dash, colour_of
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.turnover import holding, tenure
from circuitwatch.summary.lines import shown_tokens

MOST_HEADS = 10
"""Heads of a role that the timeline shows: those that hold it longest."""
STATES = (
    ("does not hold the role", 0.14, 0),
    ("holds it by its score alone", 0.5, 0),
    ("holds it, confirmed by cause: helps", 0.94, 0),
    ("holds it, confirmed by cause: hurts", 0.94, 1),
)
"""What a head is at a checkpoint: words, the height of its bar as a share of the row, and whether
the bar is hollow.
"""
LOOKS = ("solid", "dotted", "dash-dot", "dashed", "long")
"""Lines of the moments at which behaviours emerged, in the order of the tasks."""


@dataclass(frozen=True)
class HeadRow:
    """A head: its state and its score at every checkpoint of its role [checkpoint]."""

    head: str
    states: NDArray[np.intp]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class RoleRows:
    """A role, in one task where it is checked in any: its heads by when they first hold it; more:
    how many are left out.
    """

    words: str
    role: str
    task: str
    colour: str
    tokens: NDArray[np.float64]
    rows: tuple[HeadRow, ...]
    more: int


@dataclass(frozen=True)
class Moment:
    """When a behaviour emerged, and how its line is drawn."""

    task: str
    words: str
    tokens: float
    dash: Dash


@dataclass(frozen=True)
class Timeline:
    """One model and seed: its roles, the ends of its tokens, when its behaviours emerged."""

    model: str
    seed: int
    title: str
    roles: tuple[RoleRows, ...]
    limits: tuple[float, float]
    moments: tuple[Moment, ...]


def timelines(
    histories: Sequence[RoleHistory],
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    facts: Facts,
) -> list[Timeline]:
    """Of each model and seed in which any head ever holds a role. A role that was checked in
    several tasks stands once for each.
    """
    served = [task for task in dict.fromkeys(cell.task for cell in cells) if facts.task(task).roles]
    served.sort(key=lambda task: (facts.task(task).place, task))
    dashes = {task: DASHES[LOOKS[place % len(LOOKS)]] for place, task in enumerate(served)}
    by_model: dict[tuple[str, int], list[RoleHistory]] = {}
    for history in histories:
        by_model.setdefault((history.model, history.seed), []).append(history)
    several = len({seed for _, seed in by_model}) > 1
    found = []
    for (model, seed), own in by_model.items():
        roles = [rows for history in own for rows in _of_role(history, facts)]
        if not roles:
            continue
        ends = np.concatenate([edge for one in roles for edge in edges_of(one.tokens)])
        moments = [
            Moment(task, facts.task(task).words, float(row["tokens"]), dash)
            for task, dash in dashes.items()
            if (row := emerged_row(emergence, model, seed, task)) is not None
        ]
        title = f"{model} seed {seed}" if several else model
        limits = (float(ends.min()), float(ends.max()))
        found.append(Timeline(model, seed, title, tuple(roles), limits, tuple(moments)))
    return found


def states(history: RoleHistory, held: pd.DataFrame, task: str | None) -> pd.DataFrame:
    """What each head is at each checkpoint, places in STATES, in the shape of `scores`."""
    found = held.astype(int)
    if task is None:
        return found
    sure = held & history.confirmed(task).fillna(False).astype(bool)
    hurts = (history.signs(task) == "hurts").fillna(False).astype(bool)
    return found + sure.astype(int) + (sure & hurts).astype(int)


def edges_of(tokens: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each checkpoint's bar begins and ends: half-way, in log tokens, to its neighbours."""
    x = shown_tokens(tokens)
    if x.size == 1:
        return x * 0.8, x * 1.25
    middles = np.sqrt(x[1:] * x[:-1])
    return np.append(x[0] ** 2 / middles[0], middles), np.append(middles, x[-1] ** 2 / middles[-1])


def _of_role(history: RoleHistory, facts: Facts) -> list[RoleRows]:
    heads = tenure(history.scores, history.threshold)
    if heads.empty:
        return []
    longest = heads["checkpoints"].rank(ascending=False, method="first") <= MOST_HEADS
    names = [str(head) for head in heads.loc[longest, "head"]]
    held = holding(history.scores, history.threshold)
    tokens = np.array(history.scores.index.get_level_values("tokens"), dtype=float)
    role = facts.role(history.role)
    found = []
    for task in history.checks or (None,):
        state = states(history, held, task)
        rows = tuple(
            HeadRow(
                name,
                state[name].to_numpy(dtype=np.intp),
                history.scores[name].to_numpy(dtype=float),
            )
            for name in names
        )
        words = role.words + (f" ({facts.task(task).words})" if task else "")
        more = len(heads) - len(names)
        colour = colour_of(role.colour)
        found.append(RoleRows(words, history.role, task or "", colour, tokens, rows, more))
    return found
