"""Curves over training tokens in frames: what one panel has, and the legend of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from circuitwatch.catalogue import Quantity
from circuitwatch.summary.charts.looks import (
    CEILING_DASH,
    CHANCE_DASH,
    EFFECT_DASH,
    FAINT,
    GREY,
    SOLID,
    WARNING,
    Dash,
    Key,
    thinned,
)
from circuitwatch.summary.lines import DUPLICATES, Line, shown_tokens

Kind = Literal["curve", "effect", "ceiling", "chance", "behaviour"]
SHOWN = (-0.5, 1.6)
"""Shares of the algorithm beyond these are cut off, so that one odd checkpoint doesn't flatten the
panel.
"""


@dataclass(frozen=True)
class Curve:
    """A curve and how it is drawn.

    Attributes:
        line: its numbers.
        colour, dash, width, marker: of its line; width in points.
        label: what a legend calls it; empty for one that it doesn't name.
        kind: `curve`; `effect`, beside the metric; `ceiling` and `chance`, what an overlap is
            compared with; `behaviour`, a task's, scaled to stand beside roles.
        band: opacity of its interval.
    """

    line: Line
    colour: str
    label: str = ""
    kind: Kind = "curve"
    dash: Dash = SOLID
    width: float = 1.0
    marker: str = ""
    band: float = 0.2


@dataclass(frozen=True)
class Span:
    """A stretch of tokens that a panel shades: an emergence point with its interval.

    open: the interval goes on beyond the last checkpoint.
    """

    low: float
    high: float
    at: float
    words: str
    open: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves over training tokens in one frame.

    Attributes:
        title, axis: what stands above it and at its vertical axis.
        task, model: what it is of; NO_TASK and empty where it is of several.
        quantity: what it shows; of several the first.
        drawn: its curves, each as it is drawn.
        levels: horizontal lines and what they are called.
        spans: stretches of tokens that are shaded.
        limits: ends of the vertical axis.
        cut: whether values lie beyond them.
        empty: why there is no curve.
    """

    title: str
    axis: str
    task: str
    quantity: Quantity
    drawn: tuple[Curve, ...]
    levels: tuple[tuple[float, str], ...] = ()
    limits: tuple[float, float] = (0.0, 1.0)
    cut: bool = False
    model: str = ""
    spans: tuple[Span, ...] = ()
    empty: str = ""

    @property
    def curves(self) -> tuple[Line, ...]:
        """Those that it is of, by model size."""
        return self.of_kind("curve")

    def of_kind(self, kind: str) -> tuple[Line, ...]:
        """The lines of one kind."""
        return tuple(curve.line for curve in self.drawn if curve.kind == kind)

    @property
    def tokens(self) -> tuple[float, float]:
        """Ends of its horizontal axis, where 0 tokens have their place too; 1 and 10 without any
        curve.
        """
        ends = [shown_tokens(curve.line.tokens)[[0, -1]] for curve in self.drawn]
        ends += [np.array([span.low, span.high]) for span in self.spans]
        every = np.concatenate(ends) if ends else np.array([1.0, 10.0])
        return float(every.min()), float(every.max())


@dataclass(frozen=True)
class Choice:
    """What a section can show: its panels, the legend for all of them, and what a reader must know
    of them.
    """

    label: str
    panels: tuple[Panel, ...]
    columns: int = 2
    own_keys: tuple[Key, ...] = ()

    @property
    def keys(self) -> list[Key]:
        """The legend: who is drawn how, then what stands beside the curves and is marked in them.

        own_keys come first, where there are any, instead of the curves' labels.
        """
        return [*(self.own_keys or _names(self.panels)), *_beside(self.panels)]

    @property
    def notes(self) -> list[str]:
        """What is left out, or isn't to be misread."""
        found = []
        if any(panel.of_kind("effect") for panel in self.panels):
            without = any(panel.of_kind("effect") and not panel.levels for panel in self.panels)
            asked = " (of a log-probability, which has no chance, that of the effect)"
            found.append(
                "A behaviour is above chance only where the intervals of both the metric and its "
                "effect lie above it" + asked * without + "."
            )
        if any(panel.of_kind("ceiling") for panel in self.panels):
            found.append("The noise ceiling and chance are means of five neighbours.")
        if any(panel.cut for panel in self.panels):
            ends = f"{SHOWN[0]:g} and {SHOWN[1]:g}".replace("-", "−")
            found.append(f"Values beyond {ends} are cut off.")
        return found


def _names(panels: Sequence[Panel]) -> list[Key]:
    """An entry for each label, as it is first drawn."""
    found: dict[str, Key] = {}
    for panel in panels:
        for curve in panel.drawn:
            if curve.label and curve.label not in found:
                found[curve.label] = Key(
                    curve.label, curve.colour, dash=curve.dash, marker=curve.marker
                )
    return thinned(list(found.values()))


def _beside(panels: Sequence[Panel]) -> list[Key]:
    """Entries for bands, levels and marks, and for what curves are compared with."""
    kinds = {curve.kind for panel in panels for curve in panel.drawn}
    lines = [curve.line for panel in panels for curve in panel.drawn]
    shaded = [curve.line for panel in panels for curve in panel.drawn if curve.band]
    found = [
        Key(words, GREY, dash=dash)
        for kind, dash, words in (
            ("effect", EFFECT_DASH, "effect of the deciding word (clean − corrupted)"),
            ("ceiling", CEILING_DASH, "noise ceiling (other prompts, same checkpoint)"),
            ("chance", CHANCE_DASH, "circuits of these sizes by chance"),
        )
        if kind in kinds
    ]
    if any(line.low is not None and line.least is None for line in shaded):
        found.append(Key("95 % interval", GREY, "band"))
    if any(line.least is not None for line in shaded):
        found.append(Key("range over the roles' cut-offs (0.1 to 0.9)", GREY, "band"))
    levels = dict.fromkeys(words for panel in panels for _, words in panel.levels)
    found += [Key(" or ".join(levels), FAINT, "level", CHANCE_DASH)] if levels else []
    spans = dict.fromkeys(span.words for panel in panels for span in panel.spans)
    found += [Key(words, FAINT, "band") for words in spans]
    found += [Key(w, GREY, "ring") for w in dict.fromkeys(w for one in lines for w in one.doubts)]
    if any(line.copies[0].size for line in lines):
        found.append(Key(DUPLICATES, WARNING, "cross"))
    return found
