"""What an entry for one architecture says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from circuitwatch.transformer import Transformer


def nothing(_: Any) -> None:
    """No option of the architecture is refused."""


def never(_: Any) -> bool:
    """Its blocks are sequential."""
    return False


def always(_: Any) -> bool:
    """They are parallel."""
    return True


@dataclass(frozen=True)
class Architecture:
    """One architecture that can be analysed.

    model_type: as config.json names it; class_name: transformers' class for it. read: makes plain
    tensors of a model of that class, which is on the CPU. refuse: of a configuration, by which of
    its options it can't be analysed, or None. is_parallel: whether a block's MLP reads the stream
    that the block's heads read.
    """

    model_type: str
    class_name: str
    read: Callable[[Any], Transformer]
    refuse: Callable[[Any], str | None] = nothing
    is_parallel: Callable[[Any], bool] = never
