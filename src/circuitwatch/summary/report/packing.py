"""Curves as the page has them: numbers of four digits over shared lists of token counts, each curve
and each look once, whoever draws it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitwatch.summary.charts.panel import Curve
from circuitwatch.summary.lines import Line


@dataclass
class Packed:
    """What the page has once, whoever draws it: models, lists of token counts, curves, looks."""

    models: list[str]
    keep: int | None = None
    axes: list[list[float]] = field(default_factory=list)
    series: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)
    _places: dict[tuple[float, ...], int] = field(default_factory=dict)
    _known: dict[int, int] = field(default_factory=dict)
    _kept: list[Line] = field(default_factory=list)

    def axis(self, tokens: Iterable[float]) -> int:
        """The place of a list of token counts."""
        key = tuple(float(count) for count in tokens)
        if key not in self._places:
            self._places[key] = len(self.axes)
            self.axes.append([int(count) if count == int(count) else count for count in key])
        return self._places[key]

    def drawn(self, curve: Curve) -> list[int]:
        """The places of a curve's numbers and of its look."""
        look = {
            "colour": curve.colour,
            "kind": curve.kind,
            "dash": list(curve.dash),
            "width": curve.width,
            "band": curve.band,
        }
        if look not in self.looks:
            self.looks.append(look)
        return [self._line(curve.line, curve.kind), self.looks.index(look)]

    def _line(self, line: Line, kind: str) -> int:
        if id(line) in self._known:
            return self._known[id(line)]
        self._known[id(line)] = len(self.series)
        self._kept.append(line)  # or its id may become another's
        n = line.tokens.size
        if self.keep is not None and n > self.keep:
            line = line.at(evenly(n, self.keep))
        made: dict[str, Any] = {
            "m": self.models.index(line.model),
            "t": line.task,
            "q": line.quantity,
            "s": line.seed,
            "a": self.axis(line.tokens.tolist()),
            "y": numbers(line.values),
        }
        for name in ("low", "high", "least", "most"):
            if (values := getattr(line, name)) is not None:
                made[name] = numbers(values)
        if line.copies[0].size:
            made["copies"] = [line.copies[0].tolist(), numbers(line.copies[1])]
        if line.doubts:
            made["doubts"] = {words: places.tolist() for words, places in line.doubts.items()}
        self.series.append(made)
        return len(self.series) - 1


def number(value: Any, digits: int = 4) -> float | None:
    """A number as short as four digits are; none for what is missing."""
    if value is None or value != value or value in (np.inf, -np.inf):
        return None
    short = float(f"{float(value):.{digits}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Each of some values, as `number` has it."""
    return [number(value) for value in values.tolist()]


def evenly(n: int, most: int) -> NDArray[np.intp]:
    """At most so many of n places, evenly spread, both ends among them."""
    if n == 0:
        return np.empty(0, dtype=np.intp)
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))
