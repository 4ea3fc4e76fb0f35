"""Numbers of a checkpoint that are measured beside its roles, whatever the task: those quantities
of the catalogue that say how (`Quantity.measure`).

One that can't be measured with a tokenizer or a model is left out, with the reason.
"""

from __future__ import annotations

import math
from contextlib import suppress

from circuitwatch import catalogue
from circuitwatch.catalogue import Quantity
from circuitwatch.errors import errors_of
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable, Score
from circuitwatch.record_files import Scalar

LEFT_OUT = "_left_out"
"""What is put behind a quantity's key, for the reason why it has no value."""


def measured() -> list[Quantity]:
    """The quantities of the catalogue that are measured on every checkpoint."""
    return [q for q in catalogue.quantities().values() if q.measure is not None]


def make_inputs(inputs: Inputs) -> None:
    """Make what they are measured on, before any weights are loaded.

    Raises UserError for whatever a quantity's probe raises.
    """
    for quantity in measured():
        if quantity.probe is not None:
            with (
                suppress(NotMeasurable),  # each checkpoint's record says why
                errors_of(f"quantity {quantity.key}", NotMeasurable),
            ):
                inputs.of(quantity.probe)


def quantity_scalars(measuring: Measuring) -> dict[str, Scalar]:
    """Every quantity's value and the ends of its interval, or why there is none.

    Raises UserError for one whose values are not [unit], and for whatever it raises itself.
    """
    scalars: dict[str, Scalar] = {}
    for quantity in measured():
        assert quantity.measure is not None
        try:
            with errors_of(called := f"quantity {quantity.key}", NotMeasurable):
                found = Score.checked(
                    quantity.measure(measuring),
                    measuring.inputs,
                    called=called,
                    shape=(),
                    right="one number, one of each unit, [unit], or a measuring.Score",
                )
            scalars |= _as_scalars(quantity, found)
        except NotMeasurable as reason:
            scalars[quantity.key + LEFT_OUT] = str(reason)
    return scalars


def _as_scalars(quantity: Quantity, found: Score) -> dict[str, Scalar]:
    """Raises NotMeasurable for a value that is no finite number; an interval that is none is left
    out.
    """
    value, ends = float(found.score), (float(found.low), float(found.high))
    if not math.isfinite(value):
        raise NotMeasurable("its value is not finite")
    scalars: dict[str, Scalar] = {quantity.key: value}
    if quantity.interval is not None and all(math.isfinite(end) for end in ends):
        scalars |= dict(zip(quantity.interval, ends, strict=True))
    return scalars
