"""What all checkpoints of a model share, such as its tokenizer, is read from the first of them that
can be used: what is wrong with one does not stand for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from circuitwatch.checkpoints.files import weight_files
from circuitwatch.checkpoints.loading import model_facts
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Source
from circuitwatch.checkpoints.tensors import layer_of, numbers_in, stored_names
from circuitwatch.checkpoints.unusable import DamagedWeights, Unsupported, Unusable, reading

Read = TypeVar("Read")
NAMED = 3
"""Checkpoints whose fault is told where all have one."""


def first_usable(
    source: Source, checkpoints: Sequence[Checkpoint], read: Callable[[Path], Read]
) -> Read:
    """What `read` gives of the first of some checkpoints of which it gives anything.

    Raises Unusable with the reasons if it does of none (Unsupported if all are of a kind that can't
    be analysed), and what the source raises.
    """
    reasons: list[str] = []
    kinds: set[type[Unusable]] = set()
    for folder in source.about(checkpoints):
        try:
            return read(folder)
        except Unusable as error:
            kinds.add(Unsupported if isinstance(error, Unsupported) else Unusable)
            reasons.append(str(error).replace(str(folder), source.called(folder)))
    kind = Unsupported if kinds == {Unsupported} else Unusable
    raise kind(all_unusable(reasons, len(checkpoints)))


def all_unusable(reasons: Iterable[str], n: int) -> str:
    """In a line, why none of `n` checkpoints can be used."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - NAMED
    told = "; ".join(different[:NAMED]) + (f"; and {more} more" if more > 0 else "")
    return told if n == 1 else f"none of the {n} checkpoints can be used: {told}"


def facts_that_fit(folder: Path) -> dict[str, Any]:
    """`model_facts` of a checkpoint that can be analysed: of an architecture that is supported, and
    where there are weights beside the configuration, they have as many layers and no fewer numbers.
    """
    facts = model_facts(folder)
    files = weight_files(folder)
    if not files:
        return facts
    with reading(folder, "the weights can't be read as tensors"):
        layers = 1 + max(map(layer_of, stored_names(files)), default=-1)
        numbers = numbers_in(files)
    if layers != facts["n_layers"]:
        raise DamagedWeights(
            f"{folder}: the weights have {layers} layers, config.json says {facts['n_layers']}"
        )
    if numbers is not None and numbers < facts["params_total"]:
        raise DamagedWeights(
            f"{folder}: the weights are of {numbers} numbers, config.json says "
            f"{facts['params_total']}"
        )
    return facts
