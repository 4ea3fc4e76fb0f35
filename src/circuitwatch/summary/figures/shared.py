"""Figures of a sweep: behaviour over training tokens, and what all figures share (the other files
here have the rest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from circuitwatch.summary.curves import Curves
from circuitwatch.summary.tables import CellData, is_duplicate, models_in_order, without_duplicates
from circuitwatch.units import format_tokens

COLUMN = 3.5
"""Inches of a column of a two-column paper: what the figures are drawn for, in type that can be
read there.
"""
WIDTH, HEIGHT = COLUMN / 2, 1.45
"""Inches of one panel."""
TITLE, TEXT = 7.5, 6.5
"""Points of panels' titles, and of all else."""
LEGEND_ENTRY = 1.1
"""Inches that an entry of a legend needs."""
MOST_ENTRIES = 24
"""Entries of a legend; of more models these many, evenly over their sizes."""
DPI = 300
NAMELESS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
}
"""What each format would say of when and by what it was made."""
FORMATS = tuple(NAMELESS)
DUPLICATES = "same weights as another"
EFFECT = "effect of the deciding word (clean − corrupted)"
EFFECT_LINE: dict[str, Any] = {"ls": (0, (3, 1.5)), "lw": 0.8}


def colours(models: Sequence[str]) -> dict[str, str]:
    """A colour for each model, dark to light with size."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.8, max(len(models), 2)))
    return {
        model: matplotlib.colors.to_hex(shade) for model, shade in zip(models, shades, strict=False)
    }


def shown_tokens(tokens: pd.Series) -> pd.Series:
    """Tokens for a logarithmic axis: 0 is drawn at half of the first positive count."""
    positive = tokens[tokens > 0]
    return tokens.astype(float).where(
        tokens > 0, float(positive.min()) / 2 if len(positive) else 1.0
    )


def format_interval(low: Any, high: Any) -> str:
    """1.2M – 3M; an upper end that is missing lies beyond the last checkpoint.

    Nothing where both are missing.
    """
    if pd.isna(low) and pd.isna(high):
        return ""
    return f"{format_tokens(low) or '0'} – {format_tokens(high) or 'beyond'}"


def in_words(name: str) -> str:
    """A task's or role's name as it is read: s_inhibition → S-inhibition."""
    return {"ioi": "IOI", "s_inhibition": "S-inhibition"}.get(name, name.replace("_", " "))


def quantity_in_words(name: str) -> str:
    """A quantity of the emergence table as it is read: behaviour/value → behaviour,
    roles/induction/max → induction.
    """
    ours = {
        "behaviour/value": "behaviour",
        "behaviour/effect": "effect of the deciding word",
        "circuit/found": "a circuit",
    }
    return ours.get(
        name, in_words(name.removeprefix("behaviour/").removeprefix("roles/").removesuffix("/max"))
    )


def token_ticks(axis: Axes) -> None:
    """Ticks of a logarithmic token axis as 100k, 1M; in between as well where the axis is less than
    two decades long.
    """
    low, high = axis.get_xlim()
    between = (1.0, 2.0, 4.0) if high < 6 * low else (1.0, 3.0) if high < 100 * low else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(subs=between, numticks=7))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: format_tokens(tokens)))
    axis.xaxis.set_minor_formatter(NullFormatter())


def tasks_in_order(cells: Sequence[CellData]) -> list[str]:
    """Tasks in the order of their names."""
    return sorted({cell.task for cell in cells})


def metric_name(task: str) -> str:
    """What the behaviour of a task is measured in."""
    return {"ioi": "logit difference", "gendered_pronoun": "logit difference"}.get(
        task, "probability difference"
    )


def label(cell: CellData, cells: Sequence[CellData]) -> str:
    """A cell's name in a legend, with its seed where there are several."""
    several = len({(other.seed) for other in cells}) > 1
    return f"{cell.model} seed {cell.seed}" if several else cell.model


def save_figures(
    drawn: Mapping[str, Figure], folder: Path, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write each figure as <name>.png, .svg and .pdf into a folder; the same figure gives the same
    bytes. Returns the paths.
    """
    nameless = {ending: NAMELESS[ending] for ending in formats}
    paths = []
    with matplotlib.rc_context({"svg.hashsalt": "circuitwatch"}):
        for name, figure in drawn.items():
            figure.draw_without_rendering()
            figure.set_layout_engine(
                "none"
            )  # it has laid the figure out, and need not do it again for every format
            for ending, metadata in nameless.items():
                path = folder / f"{name}.{ending}"
                try:
                    figure.savefig(path, dpi=DPI, metadata=metadata)
                except Exception as error:
                    if isinstance(
                        error.__context__, OSError
                    ):  # of a full disk matplotlib's PDF says something else
                        raise error.__context__ from None
                    raise
                paths.append(path)
    return paths


def behaviour_figure(cells: Sequence[CellData]) -> Figure:
    """One panel a task: the metric, and dashed beside it the effect of the deciding word; bands are
    bootstrap intervals over prompts.

    Only where both bands lie above 0 is the behaviour above chance.
    """
    tasks = tasks_in_order(cells)
    figure, axes = panels(len(tasks), 2)
    shade = colours(models_in_order(list(cells)))
    for task, axis in zip(tasks, axes, strict=True):
        axis.axhline(0, color="#999999", lw=0.6, ls=":")
        for cell in (cell for cell in cells if cell.task == task and len(cell.curves)):
            x = shown_tokens(cell.curves["tokens"])
            own = without_duplicates(cell.curves)
            axis.plot(
                x[own.index],
                own["behaviour/value"],
                color=shade[cell.model],
                label=label(cell, cells),
                **line_style(len(own)),
            )
            axis.fill_between(
                x[own.index],
                own["behaviour/low"],
                own["behaviour/high"],
                color=shade[cell.model],
                alpha=0.2,
                lw=0,
            )
            if "behaviour/effect" in own:
                known = own.dropna(subset=["behaviour/effect"])
                at, low, high = (
                    x[known.index],
                    known["behaviour/effect_low"],
                    known["behaviour/effect_high"],
                )
                axis.plot(at, known["behaviour/effect"], color=shade[cell.model], **EFFECT_LINE)
                axis.fill_between(at, low, high, color=shade[cell.model], alpha=0.1, lw=0)
            mark_duplicates(axis, x, cell.curves, "behaviour/value")
        finish(axis, in_words(task), metric_name(task))
    if any("behaviour/effect" in cell.curves for cell in cells):
        line = Line2D([], [], color="#555555", **EFFECT_LINE)
        figure.legend(
            [line],
            [EFFECT],
            loc="outside lower center",
            fontsize=TEXT,
            frameon=False,
            handlelength=2,
        )
    return with_legend(figure, axes[0])


def curves_figure(curves: Curves, quantity: str, tasks: Sequence[str]) -> Figure:
    """One panel a task: a quantity of any source by model size; the band is 1.96 standard errors,
    where they are known.
    """
    figure, axes = panels(len(tasks), 2)
    shade = colours(curves.models)
    table = curves.table[(curves.table["quantity"] == quantity) & curves.table["tokens"].notna()]
    several = table["seed"].nunique() > 1
    for task, axis in zip(tasks, axes, strict=True):
        for (model, seed), rows in table[table["task"] == task].groupby(
            ["model", "seed"], sort=False
        ):
            x, y = shown_tokens(rows["tokens"]), rows["value"]
            words = f"{model} seed {seed}" if several else str(model)
            axis.plot(x, y, color=shade[str(model)], label=words, **line_style(len(rows)))
            if rows["stderr"].notna().all():
                low, high = y - 1.96 * rows["stderr"], y + 1.96 * rows["stderr"]
                axis.fill_between(x, low, high, color=shade[str(model)], alpha=0.2, lw=0)
        unit = metric_name(task) if quantity == "behaviour/value" else in_words(quantity)
        finish(axis, in_words(task), unit)
    return with_legend(figure, *axes)


def mark_duplicates(axis: Axes, x: pd.Series, curves: pd.DataFrame, name: str) -> None:
    """Crosses where checkpoints have the weights of another; lines leave them out."""
    wrong = is_duplicate(curves)
    if wrong.any():
        known = axis.get_legend_handles_labels()[1]
        label = None if DUPLICATES in known else DUPLICATES
        axis.scatter(
            x[wrong],
            curves.loc[wrong, name],
            marker="x",
            color="#d55e00",
            s=14,
            lw=0.9,
            zorder=3,
            label=label,
        )


def panels(n: int, columns: int) -> tuple[Figure, list[Axes]]:
    """A figure of n panels in so many columns at most, and its axes."""
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(
        figsize=(max(WIDTH * columns, 0.75 * COLUMN), HEIGHT * rows + 0.35), layout="constrained"
    )
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for unused in axes[n:]:
        unused.set_axis_off()
    return figure, axes[:n]


def line_style(checkpoints: int) -> dict[str, Any]:
    """How a curve is drawn: with its checkpoints as dots as long as they can be told apart."""
    return {"lw": 1.0} | ({"marker": ".", "ms": 2.5} if checkpoints <= 30 else {})


def finish(axis: Axes, title: str, quantity: str, x: str = "training tokens") -> None:
    """A panel's title, logarithmic axis of counts, and the name of what is shown."""
    axis.set_xscale("log")
    token_ticks(axis)
    axis.set_title(title, loc="left", fontsize=TITLE, fontweight="bold")
    axis.set_xlabel(x, fontsize=TEXT)
    axis.set_ylabel(quantity, fontsize=TEXT)
    axis.tick_params(labelsize=TEXT, length=2, pad=2)
    axis.grid(alpha=0.25, lw=0.4)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["bottom", "left"]].set_linewidth(0.6)


def with_legend(figure: Figure, *axes: Axes) -> Figure:
    """One legend for all panels, above them, so that it covers no data; what several panels have
    stands in it once.
    """
    known: dict[str, Any] = {}
    for axis in axes:
        for handle, words in zip(*axis.get_legend_handles_labels(), strict=True):
            known.setdefault(words, handle)
    if len(known) > MOST_ENTRIES:  # evenly over the sizes
        names = list(known)
        known = {
            names[k]: known[names[k]]
            for k in np.unique(np.linspace(0, len(names) - 1, MOST_ENTRIES).round().astype(int))
        }
    columns = max(1, min(len(known), int(figure.get_figwidth() / LEGEND_ENTRY)))
    figure.legend(
        list(known.values()),
        list(known),
        loc="outside upper center",
        ncols=columns,
        fontsize=TEXT,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.0,
    )
    return figure
