"""What all figures have in common: sizes and type, axes over tokens, legends, and how they are
written to files.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, MarkerStyle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from circuitwatch.catalogue import Quantity
from circuitwatch.units import format_tokens

COLUMN = 3.5
"""Inches of a column of a two-column paper: what the figures are drawn for, in type that can be
read there.
"""
WIDTH, HEIGHT = COLUMN / 2, 1.45
"""Inches of one panel."""
TITLE, TEXT = 7.5, 6.5
"""Points of panels' titles, and of all else."""
TITLE_LENGTH = 27
"""Characters of a title in one line of a panel."""
LONGEST = 26
"""Characters of a line beside an axis."""
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
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's colours, which people with colour-blindness can tell apart: for what names no
colour of its own.
"""
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (2, 2, 6, 2)))
"""Lines that can be told apart, of tasks."""
LINES: dict[str, Any] = {"solid": "-", "dotted": (0, (1, 1))}
"""How a role's line is drawn, by the name that its facts give."""


def colour_of(quantity: Quantity, place: int) -> str:
    """A quantity's colour; one of the palette where it names none."""
    return quantity.colour or PALETTE[place % len(PALETTE)]


def shown_tokens(tokens: Any) -> NDArray[np.float64]:
    """Tokens for a logarithmic axis: 0 is drawn at half of the first positive count."""
    counts = np.asarray(tokens, dtype=float)
    positive = counts[counts > 0]
    return np.where(counts > 0, counts, float(positive.min()) / 2 if positive.size else 1.0)


def wrapped(words: str) -> str:
    """Words beside an axis, on as many lines as they need."""
    return "\n".join(textwrap.wrap(words, LONGEST, break_long_words=False))


class MinorTicks(Artist):
    """The minor ticks of a logarithmic token axis as one artist: each tick of matplotlib's own
    brings two texts, which take most of the time of a figure though nothing is written in them.
    """

    def __init__(self, axis: Axes) -> None:
        super().__init__()
        self._of = axis
        figure = axis.get_figure()
        assert figure is not None
        self.set_in_layout(False)
        self.line = Line2D([], [], ls="none", ms=2, mew=0.8, color="#000000")
        self.line.set_marker(MarkerStyle(TICKDOWN))
        self.line.set_clip_on(False)
        self.line.set_figure(figure)

    def draw(self, renderer: RendererBase) -> None:
        """Draw them for the limits that the axis has now."""
        low, high = self._of.get_xlim()
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
        places = np.outer(decades, np.arange(2, 10)).ravel()
        places = places[(places >= low) & (places <= high)]
        self.line.set_data(places, np.zeros(places.size))
        self.line.set_transform(self._of.get_xaxis_transform())
        self.line.draw(renderer)


def token_ticks(axis: Axes) -> None:
    """Ticks of a logarithmic token axis as 100k, 1M; in between as well where the axis is less than
    two decades long.
    """
    low, high = axis.get_xlim()
    between = (1.0, 2.0, 4.0) if high < 6 * low else (1.0, 3.0) if high < 100 * low else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(subs=between, numticks=7))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: format_tokens(tokens)))
    axis.xaxis.set_minor_locator(NullLocator())


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
    axis.add_artist(MinorTicks(axis))
    # A place of its own, or matplotlib measures all ticks anew to find that none is above.
    lines = "\n".join(textwrap.fill(line, TITLE_LENGTH) for line in title.splitlines())
    axis.set_title(lines, loc="left", fontsize=TITLE, fontweight="bold", y=1.0)
    axis.set_xlabel(x, fontsize=TEXT)
    axis.set_ylabel(wrapped(quantity), fontsize=TEXT)
    axis.tick_params(labelsize=TEXT, length=2, pad=2)
    axis.grid(alpha=0.25, lw=0.4)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["bottom", "left"]].set_linewidth(0.6)


def with_legend(
    figure: Figure, axes: Iterable[Axes], more: Mapping[str, Any] | None = None
) -> None:
    """One legend for all panels, above them, so that it covers no data; what several panels have
    stands in it once; `more` has words and handles of what no panel names.
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
    known |= more or {}
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


def save_figures(
    drawn: Mapping[str, Figure], folder: Path, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write each figure as <name>.png, .svg and .pdf into a folder; the same figure gives the same
    bytes. Returns the paths.
    """
    paths = []
    with matplotlib.rc_context({"svg.hashsalt": "circuitwatch", "text.parse_math": False}):
        for name, figure in drawn.items():
            figure.set_dpi(DPI)
            FigureCanvasAgg(figure)  # which measures texts for the layout as the PNG will need them
            engine = figure.get_layout_engine()
            if engine is not None:
                engine.execute(figure)
                figure.set_layout_engine("none")  # it is laid out, for every format
            for ending in formats:
                path = folder / f"{name}.{ending}"
                try:
                    _write(figure, path, ending)
                except Exception as error:
                    if isinstance(
                        error.__context__, OSError
                    ):  # of a full disk matplotlib's PDF says something else
                        raise error.__context__ from None
                    raise
                paths.append(path)
    return paths


def _write(figure: Figure, path: Path, ending: str) -> None:
    """As `figure.savefig` would, which draws each figure a second time to lay it out."""
    metadata = NAMELESS[ending]
    if ending == "png":
        canvas = figure.canvas
        assert isinstance(canvas, FigureCanvasAgg)
        canvas.print_png(path, metadata=metadata)
    elif ending == "svg":
        FigureCanvasSVG(figure).print_svg(path, metadata=metadata)
    else:
        FigureCanvasPdf(figure).print_pdf(path, metadata=metadata)
