"""Colours, dashes, entries of legends, and ticks: the same for the figures and for the page.

Every colour has a counterpart for dark paper, by one rule (`on_dark`), so that a user's role needs
one colour only.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib.colors
import numpy as np

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's colours, which people with colour-blindness can tell apart: for what names no
colour of its own.
"""
INPUTS = {"queries": "#0072b2", "keys": "#d55e00", "values": "#009e73", "MLPs, logits": "#777777"}
"""The colour of a circuit's edge, by the input of its receiver."""
INK, GREY, FAINT, WARNING = "#222222", "#777777", "#999999", "#d55e00"
FAITH = ("#b2182b", "#f2f2f2", "#2166ac")
"""Faithfulness of −1, 0 and 1 or beyond; between them mixed."""
MISSING = "#cccccc"
"""A square of a matrix that was not evaluated."""

Dash = tuple[float, ...]
SOLID: Dash = ()
DASHES: dict[str, Dash] = {
    "solid": SOLID,
    "dashed": (4, 2),
    "dotted": (1, 1.5),
    "dash-dot": (6, 1.5, 1, 1.5),
    "long": (8, 2.5),
}
"""Lengths of a line's strokes and gaps, in its own widths, by what people call it."""
EFFECT_DASH, CEILING_DASH, CHANCE_DASH = (3.0, 1.5), DASHES["dashed"], DASHES["dotted"]
MARKERS = ("o", "s", "^", "D", "v", "P")
PAPER, DARK = "#ffffff", "#16191d"
"""What the page is drawn on, light and dark."""
LEAST_CONTRAST = 4.5
"""Of a colour with dark paper; what text must have by WCAG 2.2 (1.4.3)."""
MOST_ENTRIES = 24
"""Models that a legend names; of more these many, evenly over their sizes."""

APART = 0.75
"""Of the room that a label has on average: no two are nearer."""

Mark = Literal["line", "band", "ring", "cross", "level"]


@dataclass(frozen=True)
class Key:
    """An entry of a legend: what is drawn so, and how."""

    words: str
    colour: str
    mark: Mark = "line"
    dash: Dash = SOLID
    marker: str = ""


def colour_of(named: str, place: int = 0) -> str:
    """A colour as #rrggbb; one of the palette for a name that is none."""
    if matplotlib.colors.is_color_like(named):
        return str(matplotlib.colors.to_hex(named))
    return PALETTE[place % len(PALETTE)]


def thinned(keys: Sequence[Key]) -> list[Key]:
    """At most MOST_ENTRIES of some keys, evenly."""
    if len(keys) <= MOST_ENTRIES:
        return list(keys)
    places = np.unique(np.linspace(0, len(keys) - 1, MOST_ENTRIES).round().astype(int))
    return [keys[place] for place in places]


def on_dark(colour: str) -> str:
    """The colour's counterpart on dark paper: greys as light as they were dark, others lightened
    until they have LEAST_CONTRAST.
    """
    red, green, blue = _parts(colour)
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    if saturation < 0.05:
        light = 1 - light
    while light < 1 and contrast(_hex(colorsys.hls_to_rgb(hue, light, saturation)), DARK) < (
        LEAST_CONTRAST
    ):
        light += 0.02
    return _hex(colorsys.hls_to_rgb(hue, min(light, 1.0), saturation))


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    bright, dim = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def log_ticks(low: float, high: float, most: int) -> tuple[list[float], list[float]]:
    """Ticks of a logarithmic axis: those that are labelled, at most so many, and those between.

    Every power of ten is labelled that there is room for, with 2 and 5 times it or more where there
    is more, none nearer to the next than APART of the room of one; of too many powers every second,
    third, … `scales.js` does the same.
    """
    first, last = int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1
    powers = range(first, last + 1)

    def within(parts: Sequence[float]) -> list[float]:
        every = (part * 10.0**power for power in powers for part in parts)
        return [tick for tick in every if low * 0.999 <= tick <= high * 1.001]

    def are_apart(ticks: Sequence[float]) -> bool:
        least = APART * np.log(high / low) / max(most, 1)
        return bool((np.diff(np.log(ticks)) >= least).all())

    small = within(range(2, 10))
    for parts in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
        labelled = within(parts)
        if 0 < len(labelled) <= most and (len(parts) == 1 or are_apart(labelled)):
            break
    else:
        every = 1
        while len(labelled) > max(most, 1):
            every += 1
            labelled = [10.0**p for p in powers if p % every == 0 and 10.0**p in set(within((1,)))]
        small += within((1,))
    if not labelled:  # less than any of the parts is apart
        labelled = [low, high][: max(most, 1)]
    return labelled, [tick for tick in small if tick not in labelled]


def _parts(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _hex(parts: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * min(max(part, 0.0), 1.0)):02x}" for part in parts)


def _luminance(colour: str) -> float:
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in _parts(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
