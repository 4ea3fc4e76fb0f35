"""Which heads hold a role when: a row for every head that ever holds one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.colors
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData, role_curves, without_duplicates
from circuitwatch.summary.figures.shared import COLUMN, DASHES, TEXT, finish, shown_tokens
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.turnover import holding, tenure
from circuitwatch.summary.panels import METRIC

MOST_HEADS = 10
"""Heads of a role that the timeline shows: those that hold it longest."""
MOST_SEEDS = 3
"""Seeds of a model that the timeline shows, the first ones."""
MOST_PATCHES = 4000
"""Beyond so many bars they are drawn as a picture, also where the rest is drawn as lines."""
ROW, GAP = 0.125, 0.5
"""Inches of one row of the timeline, and rows between two roles."""
HEIGHTS = (0.14, 0.5, 0.94)
"""Heights of the timeline's bars, in rows: not a holder, a holder by its score, confirmed."""


def states(history: RoleHistory, held: pd.DataFrame, task: str | None) -> pd.DataFrame:
    """What each head is at each checkpoint, in the shape of `scores`: 0 not a holder, 1 a holder by
    its score, 2 confirmed in a task and helps, 3 and hurts.
    """
    found = held.astype(int)
    if task is None:
        return found
    sure = held & history.confirmed(task).fillna(False).astype(bool)
    hurts = (history.signs(task) == "hurts").fillna(False).astype(bool)
    return found + sure.astype(int) + (sure & hurts).astype(int)


def role_label(history: RoleHistory, task: str | None, facts: Facts) -> str:
    """A role in words, with the task in which it was checked."""
    words = facts.role(history.role).words
    return words + (f" ({facts.task(task).words})" if task else "")


def timeline_figure(
    histories: Sequence[RoleHistory],
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    facts: Facts,
) -> Figure:
    """Heads × tokens, one panel a model (seeds beside one another): a row for every head that ever
    holds a role, coloured by role, stronger with the score.

    A full-height bar: it holds the role and the causal check confirms it in the task that is named;
    one with a white line through it hurts, the others help. Half the height: it holds the role by
    its score alone. A thin line: it doesn't hold it. A role that was checked in several tasks
    stands once for each. Dashed lines are the emergence of the behaviours that roles serve. At most
    MOST_HEADS of a role, those that hold it longest, and MOST_SEEDS of a model; labels say of how
    many.
    """
    rows = {key: _timeline_rows(own) for key, own in _by_model(histories).items()}
    rows = {key: of_model for key, of_model in rows.items() if of_model}
    if not rows:
        figure = Figure(figsize=(COLUMN, 1.0))
        figure.text(0.5, 0.5, "no head holds a role at any checkpoint", ha="center", fontsize=9)
        return figure
    seeds: dict[str, list[int]] = {}
    for model, seed in rows:
        seeds.setdefault(model, []).append(seed)
    columns = min(MOST_SEEDS, max(map(len, seeds.values())))
    lengths = [
        max(sum(len(heads) + GAP for _, _, heads, _ in rows[model, seed]) for seed in own[:columns])
        + 0.2
        for model, own in seeds.items()
    ]
    width = COLUMN if columns == 1 else 2.8 * columns
    figure = Figure(
        figsize=(width, sum(lengths) * ROW + 0.6 * len(seeds) + 0.75), layout="constrained"
    )
    figure.set_layout_engine("constrained", w_pad=0.04)
    last = list(seeds)[-1]
    served = [task for task in dict.fromkeys(cell.task for cell in cells) if facts.task(task).roles]
    served.sort(key=lambda task: (facts.task(task).place, task))
    dashed = {task: DASHES[place % len(DASHES)] for place, task in enumerate(served)}
    axes = figure.subplots(
        len(seeds), columns, squeeze=False, gridspec_kw={"height_ratios": lengths}
    )
    for (model, own), length, beside in zip(seeds.items(), lengths, axes, strict=True):
        for axis in beside[len(own) :]:
            axis.set_axis_off()
        for seed, axis in zip(own, beside, strict=False):
            tokens = without_duplicates(
                role_curves([cell for cell in cells if cell.model == model])[model, seed]
            )["tokens"]
            _draw_timeline(axis, rows[model, seed], tokens, facts)
            title = f"{model} seed {seed}" + (
                f" (of {len(own)} seeds)" if len(own) > columns else ""
            )
            finish(axis, title if columns > 1 else model, "")
            axis.set_ylim(length - 0.5, -0.7)
            axis.grid(visible=False, axis="y")
            axis.tick_params(axis="y", length=0, labelsize=TEXT - 0.5)
            axis.set_xlabel("training tokens" if model == last else "", fontsize=TEXT)
            for task, dashes in dashed.items():
                if (tokens_then := _emerged_at(emergence, model, seed, task)) is not None:
                    axis.axvline(tokens_then, color="#000000", lw=1.0, ls=dashes, zorder=3)
    grey = "#666666"
    handles: list[Any] = [
        Rectangle((0, 0), 1, 1, fc=grey, ec="none"),
        (Rectangle((0, 0), 1, 1, fc=grey, ec="none"), Line2D([], [], color="#ffffff", lw=1.0)),
        _HalfBar(fc=grey),
        Line2D([], [], color=grey, lw=1.5),
    ]
    labels = [
        "confirmed by cause: helps",
        "confirmed by cause: hurts",
        "holds it by its score alone",
        "does not hold it",
    ]
    handles += [Patch(fc=_shade(grey, score)) for score in (0.25, 1.0)]
    labels += ["score 0.25", "score 1"]
    for task, dashes in dashed.items():
        if any(_emerged_at(emergence, model, seed, task) is not None for model, seed in rows):
            handles.append(Line2D([], [], color="#000000", lw=1.0, ls=dashes))
            labels.append(f"{facts.task(task).words} emerges")
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=2,
        fontsize=TEXT,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.0,
    )
    return figure


class _HalfBar(Line2D):
    """A bar of half the height in a legend."""

    def __init__(self, fc: str) -> None:
        super().__init__([], [], color=fc, lw=4, solid_capstyle="butt")


def _by_model(histories: Sequence[RoleHistory]) -> dict[tuple[str, int], list[RoleHistory]]:
    found: dict[tuple[str, int], list[RoleHistory]] = {}
    for history in histories:
        found.setdefault((history.model, history.seed), []).append(history)
    return found


def _timeline_rows(
    histories: Sequence[RoleHistory],
) -> list[tuple[RoleHistory, str | None, list[str], int]]:
    """For each role that any head ever holds, and each task in which it was checked: its heads by
    when they first hold it, and how many are left out.
    """
    found = []
    for history in histories:
        heads = tenure(history.scores, history.threshold)
        if len(heads):
            shown = heads.loc[
                heads["checkpoints"].rank(ascending=False, method="first") <= MOST_HEADS, "head"
            ]
            for task in history.checks or (None,):
                found.append(
                    (history, task, [str(head) for head in shown], len(heads) - len(shown))
                )
    return found


def _draw_timeline(
    axis: Axes,
    rows: Sequence[tuple[RoleHistory, str | None, list[str], int]],
    tokens: pd.Series,
    facts: Facts,
) -> None:
    left, right = _edges(shown_tokens(tokens))
    places = {count: place for place, count in enumerate(tokens)}
    boxes, faces, ticks, names, colours, through = [], [], [], [], [], []
    y = 0.0
    for history, task, heads, more in rows:
        colour = facts.role(history.role).colour
        held = holding(history.scores, history.threshold)
        at = [places[count] for count in history.scores.index.get_level_values("tokens")]
        label = role_label(history, task, facts) + (f", {more} more" if more else "")
        state = states(history, held, task).to_numpy()
        scores = history.scores.to_numpy(dtype=float)
        places_of = {str(head): column for column, head in enumerate(history.scores.columns)}
        middle = y + (len(heads) - 1) / 2
        axis.annotate(
            label,
            (1.01, middle),
            xycoords=("axes fraction", "data"),
            color=colour,
            fontsize=TEXT,
            va="center",
            fontweight="bold",
        )
        for head in heads:
            column = places_of[head]
            for i, place in enumerate(at):
                kind = int(state[i, column])
                height = HEIGHTS[min(kind, 2)]
                low, high = y - height / 2, y + height / 2
                boxes.append(
                    [
                        (left[place], low),
                        (right[place], low),
                        (right[place], high),
                        (left[place], high),
                    ]
                )
                faces.append(_shade(colour, float(scores[i, column])))
                if kind == 3:
                    through.append(((left[place], y), (right[place], y)))
            ticks.append(y)
            names.append(head)
            colours.append(colour)
            y += 1
        y += GAP
    bars = PolyCollection(
        boxes, facecolors=faces, edgecolors="none", rasterized=len(boxes) > MOST_PATCHES
    )
    axis.add_collection(bars)
    axis.add_collection(LineCollection(through, colors="#ffffff", lw=1.0))
    axis.set_xlim(left[0], right[-1])
    axis.set_yticks(ticks, names)
    for text, colour in zip(axis.get_yticklabels(), colours, strict=True):
        text.set_color(colour)


def _edges(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each checkpoint's bar begins and ends: half-way, in log tokens, to its neighbours."""
    if x.size == 1:
        return x * 0.8, x * 1.25
    middles = np.sqrt(x[1:] * x[:-1])
    return np.append(x[0] ** 2 / middles[0], middles), np.append(middles, x[-1] ** 2 / middles[-1])


def _shade(colour: str, score: float) -> tuple[float, ...]:
    """A role's colour, paler for a lower score."""
    strength = 0.12 + 0.88 * min(max(score, 0.0), 1.0)
    return tuple(1 - strength * (1 - part) for part in matplotlib.colors.to_rgb(colour))


def _emerged_at(emergence: pd.DataFrame, model: str, seed: int, task: str) -> float | None:
    """When a task's behaviour emerges in a model; none if it doesn't."""
    if emergence.empty:
        return None
    found = emergence[
        (emergence["model"] == model)
        & (emergence["seed"] == seed)
        & (emergence["task"] == task)
        & (emergence["quantity"] == METRIC)
        & (emergence["status"] == "emerged")
    ]
    return float(found["tokens"].iloc[0]) if len(found) else None
