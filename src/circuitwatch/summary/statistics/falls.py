"""Falls: what was found of a negated curve as a rise, given back in the curve's own sign and in
its words.
"""

from __future__ import annotations

import re
from dataclasses import replace

from circuitwatch.summary.statistics.status import Emergence

OPPOSITE = {
    "above": "below",
    "highest": "lowest",
    "rise": "fall",
    "rises": "falls",
    "rising": "falling",
    "rose": "fell",
}
TURNED = OPPOSITE | {falling: rising for rising, falling in OPPOSITE.items()}
DIRECTION = re.compile(r"\b(" + "|".join(TURNED) + r")\b")
VALUE = re.compile(r"(?<=value )-?\d[\d.e+-]*")
"""A value of the curve that a note repeats."""


def as_fall(rise: Emergence) -> Emergence:
    """The emergence of a curve that falls, from that of the negated curve.

    Its levels are in the curve's own sign, so that the one before the fall (`lower`) is the larger.
    """
    return replace(
        rise,
        final=-rise.final,
        level=_negated(rise.level),
        lower=_negated(rise.lower),
        upper=_negated(rise.upper),
        note=_turned(rise.note),
    )


def as_rise(fall: Emergence) -> Emergence:
    """The emergence of the negated curve, from that of a curve that falls."""
    return as_fall(fall)


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _turned(note: str) -> str:
    """A note on a rise, as it reads of a fall."""
    words = DIRECTION.sub(lambda match: TURNED[match[0]], note)
    return VALUE.sub(lambda match: f"{-float(match[0]):.3g}", words)
