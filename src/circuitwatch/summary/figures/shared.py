"""What all figures have in common: sizes and type, axes over tokens, legends, and how they are
written to files.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, MarkerStyle
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from circuitwatch.summary.charts.looks import Dash, Key, log_ticks
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
LONGEST_ENTRY = 38
"""Characters of a line of a legend."""
MANY = 6
"""Entries of a legend beyond which it has two columns."""
MOST_TICKS = 5
"""Labels below a panel."""
TOKENS = "training tokens (log)"
RING: dict[str, Any] = {"marker": "o", "mfc": "none", "ms": 3.6, "mew": 0.7}
DPI = 300
NAMELESS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
}
"""What each format would say of when and by what it was made."""
FORMATS = tuple(NAMELESS)


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
        _, between = log_ticks(*self._of.get_xlim(), MOST_TICKS)
        self.line.set_data(between, np.zeros(len(between)))
        self.line.set_transform(self._of.get_xaxis_transform())
        self.line.draw(renderer)


def count_ticks(axis: XAxis | YAxis, low: float, high: float, most: int) -> None:
    """Ticks of a logarithmic axis of counts, as 100k, 1M."""
    labelled, _ = log_ticks(low, high, most)
    axis.set_major_locator(FixedLocator(labelled))
    axis.set_major_formatter(FuncFormatter(lambda count, _: _count(count)))
    axis.set_minor_locator(NullLocator())


def _count(count: float) -> str:
    return format_tokens(count) if count >= 1000 else f"{count:.3g}"


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


def finish(axis: Axes, title: str, quantity: str, x: str = TOKENS) -> None:
    """A panel's title, logarithmic axis of counts, and the name of what is shown; after its
    horizontal limits are set.
    """
    axis.set_xscale("log")
    count_ticks(axis.xaxis, *axis.get_xlim(), MOST_TICKS)
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


def dashes(dash: Dash) -> Any:
    """A dash as matplotlib takes it."""
    return (0, dash) if dash else "-"


def handle(key: Key) -> Artist:
    """What stands beside an entry of a legend."""
    style: dict[str, Any] = {"color": key.colour, "lw": 1.0}
    match key.mark:
        case "band":
            return Patch(fc=key.colour, alpha=0.3)
        case "ring":
            return Line2D([], [], ls="none", color=key.colour, **RING)
        case "cross":
            return Line2D([], [], ls="none", marker="x", color=key.colour, ms=4, mew=0.9)
        case _:
            if key.marker in ("<", ">"):
                return Line2D([], [], ls="none", marker=key.marker, ms=3, mfc="none", **style)
            return Line2D([], [], ls=dashes(key.dash), marker=key.marker or "", ms=3, **style)


def legend(figure: Figure, keys: Sequence[Key], *, below: bool = False) -> None:
    """One legend for all panels, above or below them, so that it covers no data."""
    if not keys:
        return
    words = [textwrap.fill(key.words, LONGEST_ENTRY) for key in keys]
    longest = max(len(line) for one in words for line in one.splitlines())
    fit = int(figure.get_figwidth() / (0.4 + 0.048 * longest))
    if len(keys) > MANY:
        fit = max(fit, 2)
    figure.legend(
        [handle(key) for key in keys],
        words,
        loc="outside lower center" if below else "outside upper center",
        ncols=max(1, min(len(keys), fit)),
        fontsize=TEXT,
        frameon=False,
        handlelength=1.8,
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
