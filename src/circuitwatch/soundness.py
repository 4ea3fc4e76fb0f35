"""Whether a record says what a record can say: its files may be whole and still be those of another
checkpoint, or hold values that no analysis gives.

Hashes find what was damaged after it was written; this finds what was put in the wrong place, or
made by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from circuitwatch.records import Unpacked

TABLES = ("prompts", "roles")
"""Tables that every record has."""
COLUMNS = {"prompts": ("prompt", "value"), "roles": ("role", "layer", "head", "score")}
CLOSE = 1e-6
"""How far the mean over prompts may be from the metric, as a share of it: rounding is far below."""


def unsound(record: Unpacked, header: Mapping[str, Any]) -> str | None:
    """What is wrong with a record of a cell, in words; None for one that is sound.

    Args:
        record: as it is on disk.
        header: of its cell, with the schedule.
    """
    return (
        _of_its_place(record, header["schedule"])
        or _of_its_scalars(record)
        or _of_its_tables(record)
        or _of_its_circuit(record, header.get("graph") or {})
    )


def _of_its_place(record: Unpacked, schedule: list[dict[str, Any]]) -> str | None:
    """Whether it is of a checkpoint of the cell; a cell without a schedule is not asked."""
    entry = next((entry for entry in schedule if entry.get("step") == record.step), None)
    if entry is None:
        return f"step {record.step} is not among the cell's checkpoints" if schedule else None
    for name, own in (("tokens", record.tokens), ("revision", record.revision)):
        if name in entry and entry[name] != own:
            return f"it is of {name} {own}, the checkpoint of {entry[name]}"
    return None


def _of_its_scalars(record: Unpacked) -> str | None:
    tokens: object = record.tokens
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        return f"its tokens are {tokens!r}"
    scalars: Mapping[str, object] = record.scalars
    for name, value in scalars.items():
        if not isinstance(value, bool | int | float | str):
            return f"{name} is {value!r}, neither a number nor a word"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name} is {value}"
    return None


def _of_its_tables(record: Unpacked) -> str | None:
    for name in TABLES:
        if name not in record.tables:
            return f"it has no {name}.parquet"
        lacking = [c for c in COLUMNS[name] if c not in record.tables[name].column_names]
        if lacking:
            return f"{name}.parquet has no column {lacking[0]}"
    said = record.scalars.get("behaviour/value")
    values = record.tables["prompts"]["value"].to_numpy(zero_copy_only=False)
    if isinstance(said, float) and len(values):
        mean = float(np.mean(values))
        if not abs(mean - said) <= CLOSE * max(1.0, abs(said)):
            return f"behaviour/value is {said:g}, the mean over its prompts {mean:g}"
    return None


def _of_its_circuit(record: Unpacked, graph: Mapping[str, Any]) -> str | None:
    shape = tuple(len(graph[name]) for name in ("senders", "receivers") if name in graph)
    for name, array in (("scores", record.scores), ("mask", record.mask)):
        if array is not None and len(shape) == 2 and array.shape != shape:
            return f"its {name} are {array.shape}, the model's edges {shape}"
    edges = record.scalars.get("circuit/edges")
    there = None if record.mask is None else int(record.mask.sum())
    if edges is not None and edges != there:
        return f"circuit/edges is {edges}, its circuit has {there or 'no'} edges"
    return None
