"""What an entry for one architecture says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def nothing(_: Any) -> None:
    """No option of the architecture is refused."""


def never(_: Any) -> bool:
    """Its blocks are sequential."""
    return False


@dataclass(frozen=True)
class Architecture:
    """One architecture that can be analysed.

    model_type: as config.json names it; class_name: transformers' class for it. refuse: of a
    configuration, by which of its options it can't be analysed, or None. is_parallel: whether a
    block's MLP reads the stream that the block's heads read.
    """

    model_type: str
    class_name: str
    refuse: Callable[[Any], str | None] = nothing
    is_parallel: Callable[[Any], bool] = never
