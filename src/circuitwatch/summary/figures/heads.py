"""Figures of head roles: their curves beside the behaviour that they serve, and which heads hold
them when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.colors
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from circuitwatch.summary.figures.shared import (
    COLUMN,
    DUPLICATES,
    TEXT,
    colours,
    finish,
    in_words,
    label,
    line_style,
    mark_duplicates,
    panels,
    shown_tokens,
    with_legend,
)
from circuitwatch.summary.heads.algorithm import above_chance_from
from circuitwatch.summary.heads.histories import ROLES, SERVES, RoleHistory
from circuitwatch.summary.heads.holders import confirmed_holders
from circuitwatch.summary.heads.turnover import holding, tenure
from circuitwatch.summary.tables import (
    CellData,
    role_curves,
    role_names,
    role_threshold,
    without_duplicates,
)

STYLES: dict[str, tuple[str, Any]] = {
    "previous_token": ("#0072b2", "-"),
    "duplicate_token": ("#56b4e9", "-"),
    "induction": ("#d55e00", "-"),
    "s_inhibition": ("#e69f00", "-"),
    "name_mover": ("#cc79a7", "-"),
    "negative_name_mover": ("#777777", "-"),
    "copy_suppression": ("#009e73", (0, (1, 1))),
    "successor": ("#009e73", "-"),
    "year_attention": ("#0072b2", (0, (1, 1))),
    "year_push": ("#e69f00", (0, (1, 1))),
}
"""Colour (of Okabe and Ito's palette, which people with colour-blindness can tell apart) and line
of each role.
"""
PLAIN = ("#777777", (0, (3, 1)))
BEHAVIOUR_NAME = "behaviour ÷ max."
BEHAVIOUR: dict[str, Any] = {"color": "#000000", "ls": (0, (4, 2)), "lw": 1.0}
LOWEST = -0.5
"""A behaviour far below chance is cut off here, so that the roles keep most of the panel."""
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


def roles_figure(cells: Sequence[CellData], histories: Sequence[RoleHistory] = ()) -> Figure:
    """A row a model, a panel a task: the strongest head of each role that serves the task, and the
    task's behaviour as a share of its maximum.

    Without a task that has roles serving it, one panel a model with all roles. A thin line a seed
    where there are several. The legend says what the strongest holder that was confirmed at the
    last checkpoint does there, in any of the models: helps, hurts.
    """
    curves = {key: table for key, table in role_curves(list(cells)).items() if len(table)}
    models = list(dict.fromkeys(model for model, _ in curves))
    tasks = [task for task in SERVES if any(cell.task == task for cell in cells)]
    figure = Figure(figsize=(COLUMN, 1.3 * len(models) + 0.75), layout="constrained")
    axes = figure.subplots(len(models), max(len(tasks), 1), squeeze=False, sharex=True, sharey=True)
    handles: dict[str, Any] = {}
    lowest = 0.0
    for row, model in enumerate(models):
        for column, task in enumerate(tasks or [""]):
            axis = axes[row, column]
            own = {seed: table for (name, seed), table in curves.items() if name == model}
            thin = len(own) > 1
            for table in own.values():
                for role in SERVES[task] if task else ROLES:
                    handles |= _role_line(axis, table, role, thin)
            shown = [
                _behaviour_line(axis, cell, thin)
                for cell in cells
                if (cell.model, cell.task) == (model, task)
            ]
            handles |= dict.fromkeys(
                [BEHAVIOUR_NAME] if any(shown) else [], Line2D([], [], **BEHAVIOUR)
            )
            title = f"{model}, {in_words(task)}" if task else model
            finish(axis, title if any(shown) or not task else f"{title}\n(never above chance)", "")
            lowest = min(
                [lowest, *(float(np.min(line.get_ydata())) for line in shown if line is not None)]
            )
            marked = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
            handles |= {DUPLICATES: marked[DUPLICATES]} if DUPLICATES in marked else {}
            axis.set_xlabel("training tokens" if row == len(models) - 1 else "", fontsize=TEXT)
            axis.set_ylabel("strongest head's score" if column == 0 else "", fontsize=TEXT)
    axes[0, 0].set_ylim(max(lowest, LOWEST) - 0.06, 1.06)  # all share it
    order = {in_words(role): place for place, role in enumerate(ROLES)}
    names = sorted(handles, key=lambda name: order.get(name, len(order)))
    signs = _signs(histories)
    labels = [f"{name} ({signs[name]})" if name in signs else name for name in names]
    figure.legend(
        [handles[name] for name in names],
        labels,
        loc="outside upper center",
        ncols=2,
        handlelength=1.4,
        columnspacing=0.8,
        fontsize=TEXT - 0.5,
        frameon=False,
    )
    return figure


def _signs(histories: Sequence[RoleHistory]) -> dict[str, str]:
    """Role in words → what its strongest confirmed holder at the last checkpoint does, each sign
    that occurs once.
    """
    found: dict[str, dict[str, None]] = {}
    for history in histories:
        for task in history.checks:
            for words in confirmed_holders(history, task)[:1]:
                found.setdefault(in_words(history.role), {})[words.split()[1]] = None
    return {role: " or ".join(sorted(signs)) for role, signs in found.items()}


def role_sizes_figure(cells: Sequence[CellData], roles: Sequence[str]) -> Figure:
    """One panel a role: its strongest head's score by model size, and as a dotted line the score
    from which the role is held.
    """
    figure, axes = panels(len(roles), 2)
    curves = role_curves(list(cells))
    shade = colours(list(dict.fromkeys(model for model, _ in curves)))
    for role, axis in zip(roles, axes, strict=True):
        axis.axhline(role_threshold(list(cells), role), color="#999999", lw=0.6, ls=":")
        for (model, seed), table in curves.items():
            if role not in role_names(table):
                continue
            x, own = (
                shown_tokens(table["tokens"]),
                without_duplicates(table).dropna(subset=[f"roles/{role}/max"]),
            )
            words = label(
                next(cell for cell in cells if (cell.model, cell.seed) == (model, seed)), cells
            )
            style = line_style(len(own))
            axis.plot(
                x[own.index], own[f"roles/{role}/max"], color=shade[model], label=words, **style
            )
        axis.set_ylim(-0.04, 1.04)
        finish(axis, in_words(role), "strongest head")
    return with_legend(figure, *axes)


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


def timeline_figure(
    histories: Sequence[RoleHistory], cells: Sequence[CellData], emergence: pd.DataFrame
) -> Figure:
    """Heads × tokens, one panel a model (seeds beside one another): a row for every head that ever
    holds a role, coloured by role, stronger with the score.

    A full-height bar: it holds the role and the causal check confirms it in the task that is named;
    one with a white line through it hurts, the others help. Half the height: it holds the role by
    its score alone. A thin line: it doesn't hold it. A role that was checked in several tasks
    stands once for each. Dashed lines are the emergence of the behaviours. At most MOST_HEADS of a
    role, those that hold it longest, and MOST_SEEDS of a model; labels say of how many.
    """
    rows = {key: _timeline_rows(own) for key, own in _by_model(histories).items()}
    rows = {key: of_model for key, of_model in rows.items() if of_model}
    if not rows:
        figure = Figure(figsize=(COLUMN, 1.0), layout="constrained")
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
            _draw_timeline(axis, rows[model, seed], tokens)
            title = f"{model} seed {seed}" + (
                f" (of {len(own)} seeds)" if len(own) > columns else ""
            )
            finish(axis, title if columns > 1 else model, "")
            axis.set_ylim(length - 0.5, -0.7)
            axis.grid(visible=False, axis="y")
            axis.tick_params(axis="y", length=0, labelsize=TEXT - 0.5)
            axis.set_xlabel("training tokens" if model == last else "", fontsize=TEXT)
            for task, dashes in TASK_DASHES.items():
                if (moment := _moment(emergence, model, seed, task)) is not None:
                    axis.axvline(moment, color="#000000", lw=1.0, ls=dashes, zorder=3)
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
    for task, dashes in TASK_DASHES.items():
        if any(_moment(emergence, model, seed, task) is not None for model, seed in rows):
            handles.append(Line2D([], [], color="#000000", lw=1.0, ls=dashes))
            labels.append(f"{in_words(task)} emerges")
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


TASK_DASHES: dict[str, Any] = {"ioi": (0, (4, 2)), "greater_than": (0, (1, 1.5))}


class _HalfBar(Line2D):
    """A bar of half the height in a legend."""

    def __init__(self, fc: str) -> None:
        super().__init__([], [], color=fc, lw=4, solid_capstyle="butt")


def _role_line(axis: Axes, table: pd.DataFrame, role: str, thin: bool) -> dict[str, Line2D]:
    if role not in role_names(table):
        return {}
    colour, dashes = STYLES.get(role, PLAIN)
    x, own = (
        shown_tokens(table["tokens"]),
        without_duplicates(table).dropna(subset=[f"roles/{role}/max"]),
    )
    (line,) = axis.plot(
        x[own.index], own[f"roles/{role}/max"], color=colour, ls=dashes, lw=0.6 if thin else 1.1
    )
    if not thin:
        line.set(**line_style(len(own)))
    mark_duplicates(axis, x, table, f"roles/{role}/max")
    return {in_words(role): line}


def _behaviour_line(axis: Axes, cell: CellData, thin: bool) -> Line2D | None:
    """The behaviour as a share of its maximum; none where it is never above chance, so that noise
    is not blown up to full height.
    """
    if above_chance_from(cell.curves).empty:
        return None
    x, own = shown_tokens(cell.curves["tokens"]), without_duplicates(cell.curves)
    values = own["behaviour/value"]
    (line,) = axis.plot(
        x[own.index], values / values.max(), **BEHAVIOUR | ({"lw": 0.7} if thin else {}), zorder=1.9
    )
    return line


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
    axis: Axes, rows: Sequence[tuple[RoleHistory, str | None, list[str], int]], tokens: pd.Series
) -> None:
    left, right = _edges(shown_tokens(tokens).to_numpy(dtype=float))
    places = {count: place for place, count in enumerate(tokens)}
    boxes, faces, ticks, names, colours, through = [], [], [], [], [], []
    y = 0.0
    for history, task, heads, more in rows:
        colour, _ = STYLES.get(history.role, PLAIN)
        held = holding(history.scores, history.threshold)
        at = [places[count] for count in history.scores.index.get_level_values("tokens")]
        label = (
            in_words(history.role)
            + (f" ({task})" if task else "")
            + (f", {more} more" if more else "")
        )
        state = states(history, held, task)
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
            for i, place in enumerate(at):
                kind = int(state[head].iloc[i])
                height = HEIGHTS[min(kind, 2)]
                boxes.append(
                    Rectangle((left[place], y - height / 2), right[place] - left[place], height)
                )
                faces.append(_shade(colour, float(history.scores[head].iloc[i])))
                if kind == 3:
                    through.append(((left[place], y), (right[place], y)))
            ticks.append(y)
            names.append(head)
            colours.append(colour)
            y += 1
        y += GAP
    bars = PatchCollection(
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


def _moment(emergence: pd.DataFrame, model: str, seed: int, task: str) -> float | None:
    """When a task's behaviour emerges in a model; none if it doesn't."""
    found = emergence[
        (emergence["model"] == model)
        & (emergence["seed"] == seed)
        & (emergence["task"] == task)
        & (emergence["quantity"] == "behaviour/value")
        & (emergence["status"] == "emerged")
    ]
    return float(found["tokens"].iloc[0]) if len(found) else None
