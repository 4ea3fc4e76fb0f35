"""How a measure of a task's algorithm is described: a share with its interval, drawn with the
others (`catalogue.Algorithm`).
"""

from typing import Any

from circuitwatch.catalogue import Quantity


def algorithm_share(
    name: str, words: str, label: str, colour: str, marker: str, place: int, **more: Any
) -> Quantity:
    """A share `algorithm/name` in [0, 1].

    Args:
        name: of the measure.
        words: what a person calls it.
        label: the same in a legend.
        colour: of its line.
        marker: of its points.
        place: where it comes among others.
        more: other fields of the quantity.
    """
    key = f"algorithm/{name}"
    return Quantity(
        key=key,
        words=words,
        unit="share",
        range=(0, 1),
        panel="algorithm",
        interval=(f"{key}_low", f"{key}_high"),
        colour=colour,
        marker=marker,
        label=label,
        place=place,
        **more,
    )
