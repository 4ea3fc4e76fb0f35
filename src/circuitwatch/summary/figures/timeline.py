"""Which heads hold a role when: heads × tokens, a panel a model, seeds beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.colors
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import Transform

from circuitwatch.summary.charts.looks import GREY, INK
from circuitwatch.summary.charts.timeline import STATES, RoleRows, Timeline, edges_of
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TOKENS, dashes, finish

MOST_SEEDS = 3
"""Seeds of a model that are shown, the first ones."""
MOST_PATCHES = 4000
"""Beyond so many bars they are drawn as a picture, also where the rest is drawn as lines."""
ROW, GAP = 0.125, 0.5
"""Inches of one row, and rows between two roles."""
ORDER = (2, 3, 1, 0)
"""States in the legend."""


def timeline_figure(chosen: Sequence[Timeline]) -> Figure:
    """A row for every head that ever holds a role, coloured by role, stronger with the score; the
    height of a bar says what the head is at that checkpoint (`STATES`), and lines when behaviours
    emerged.

    Labels say where heads or seeds are left out. One without any timeline says so.
    """
    if not chosen:
        figure = Figure(figsize=(COLUMN, 1.0))
        figure.text(0.5, 0.5, "no head holds a role at any checkpoint", ha="center", fontsize=9)
        return figure
    seeds: dict[str, list[Timeline]] = {}
    for one in chosen:
        seeds.setdefault(one.model, []).append(one)
    columns = min(MOST_SEEDS, max(map(len, seeds.values())))
    lengths = [max(map(_length, own[:columns])) + 0.2 for own in seeds.values()]
    width = COLUMN if columns == 1 else 2.8 * columns
    high = sum(lengths) * ROW + 0.6 * len(seeds) + 0.95
    figure = Figure(figsize=(width, high), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.04)
    axes = figure.subplots(
        len(seeds), columns, squeeze=False, gridspec_kw={"height_ratios": lengths}
    )
    for row, (own, length) in enumerate(zip(seeds.values(), lengths, strict=True)):
        for axis in axes[row, len(own) :]:
            axis.set_axis_off()
        for one, axis in zip(own, axes[row], strict=False):
            _draw(axis, one)
            part = f" (of {len(own)} seeds)" if len(own) > columns else ""
            finish(axis, one.title + part, "")
            axis.set_ylim(length - 0.5, -0.7)
            axis.grid(visible=False, axis="y")
            axis.tick_params(axis="y", length=0, labelsize=TEXT - 0.5)
            axis.set_xlabel(TOKENS if row == len(seeds) - 1 else "", fontsize=TEXT)
    _legend(figure, chosen)
    return figure


def _length(one: Timeline) -> float:
    return sum(len(role.rows) + GAP for role in one.roles)


def _draw(axis: Axes, one: Timeline) -> None:
    boxes: list[Any] = []
    faces: list[Any] = []
    through: list[Any] = []
    ticks, names = [], []
    y = 0.0
    for role in one.roles:
        _draw_role(axis, role, y, boxes, faces, through)
        for row in role.rows:
            ticks.append(y)
            names.append(row.head)
            y += 1
        y += GAP
    bars = PolyCollection(
        boxes, facecolors=faces, edgecolors="none", rasterized=len(boxes) > MOST_PATCHES
    )
    axis.add_collection(bars)
    axis.add_collection(LineCollection(through, colors="#ffffff", lw=1.0))
    axis.set_xlim(*one.limits)
    axis.set_yticks(ticks, names)
    for moment in one.moments:
        axis.axvline(moment.tokens, color=INK, lw=1.0, ls=dashes(moment.dash), zorder=3)


def _draw_role(
    axis: Axes, role: RoleRows, y: float, boxes: list[Any], faces: list[Any], through: list[Any]
) -> None:
    left, right = edges_of(role.tokens)
    label = role.words + (f", {role.more} more" if role.more else "")
    axis.annotate(
        label,
        (1.01, y + (len(role.rows) - 1) / 2),
        xycoords=("axes fraction", "data"),
        color=role.colour,
        fontsize=TEXT,
        va="center",
        fontweight="bold",
    )
    for row in role.rows:
        for begin, end, state, score in zip(left, right, row.states, row.scores, strict=True):
            _, height, hollow = STATES[int(state)]
            low, high = y - height / 2, y + height / 2
            boxes.append([(begin, low), (end, low), (end, high), (begin, high)])
            faces.append(_shade(role.colour, float(score)))
            if hollow:
                through.append(((begin, y), (end, y)))
        y += 1


def _shade(colour: str, score: float) -> tuple[float, ...]:
    """A role's colour, paler for a lower score."""
    strength = 0.12 + 0.88 * min(max(score, 0.0), 1.0)
    return tuple(1 - strength * (1 - part) for part in matplotlib.colors.to_rgb(colour))


class Bar(Patch):
    """A state's bar in the legend, as high as it is drawn."""

    def __init__(self, state: int) -> None:
        super().__init__()
        self.height, self.hollow = STATES[state][1:]


class _AsDrawn(HandlerBase):
    def create_artists(
        self,
        legend: Legend,
        orig_handle: Artist,
        xdescent: float,
        ydescent: float,
        width: float,
        height: float,
        fontsize: float,
        trans: Transform,
    ) -> list[Artist]:
        """Two checkpoints of a bar, its height as a share of the entry's."""
        assert isinstance(orig_handle, Bar)
        tall = 1.35 * height * orig_handle.height
        middle = (height - ydescent) / 2
        corner = (-xdescent, middle - tall / 2)
        made: list[Artist] = [Rectangle(corner, width, tall, fc=GREY, ec="none", transform=trans)]
        if orig_handle.hollow:
            ends = [-xdescent, width - xdescent]
            line = Line2D(ends, [middle] * 2, color="#ffffff", lw=1.2, transform=trans)
            made.append(line)
        return made


def _legend(figure: Figure, chosen: Sequence[Timeline]) -> None:
    handles: list[Artist] = [Bar(state) for state in ORDER]
    labels = [STATES[state][0] for state in ORDER]
    handles += [Patch(fc=_shade(GREY, score)) for score in (0.25, 1.0)]
    labels += ["score 0.25", "score 1"]
    moments = {moment.task: moment for one in chosen for moment in one.moments}
    for moment in moments.values():
        handles.append(Line2D([], [], color=INK, lw=1.0, ls=dashes(moment.dash)))
        labels.append(f"{moment.words} emerges")
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=2,
        fontsize=TEXT,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.0,
        handler_map={Bar: _AsDrawn()},
    )
