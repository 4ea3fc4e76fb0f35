"""Whether a record says what a record can say: its files may be whole and still be those of another
checkpoint, or hold values that no analysis gives.

Hashes find what was damaged after it was written; this finds what was put in the wrong place, or
made by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from circuitwatch.shapes import shown

if TYPE_CHECKING:
    from circuitwatch.record_files import Edges, Unpacked

TABLES = ("prompts", "roles")
"""Tables that every record has."""
KINDS = {
    "prompts": {"prompt": "whole", "value": "number", "corrupted": "number", "correct": "flag"}
    | {"log_prob": "number"},
    "roles": {"role": "text", "layer": "whole", "head": "whole", "score": "number"}
    | {"low": "number", "high": "number", "effect": "number", "effect_low": "number"}
    | {"effect_high": "number", "effect_on": "text", "in_circuit": "flag", "confirmed": "flag"}
    | {"sign": "text"},
    "curve": {"edges_before_pruning": "whole", "edges": "whole", "value": "number"}
    | {"recovery": "number", "faithfulness": "number"},
    "patching": {"sender": "text", "receivers": "text", "effect": "number", "low": "number"}
    | {"high": "number"},
    "bands": {"measure": "text", "cutoff": "number", "value": "number", "low": "number"}
    | {"high": "number"},
}
"""Of each table, columns and what they hold."""
NEEDED = {
    "prompts": ("prompt", "value"),
    "roles": ("role", "layer", "head", "score"),
    "curve": ("edges_before_pruning", "edges", "value"),
    "patching": ("sender", "receivers", "effect"),
    "bands": ("measure", "cutoff", "value"),
}
"""Columns that a table must have, and with a value in each row."""
OWN = ("step", "tokens")
"""What a table's rows get when tables are stacked, and so may not have themselves."""
CLOSE = 1e-6
"""How far the mean over prompts may be from the metric, as a share of it: rounding is far below."""
MEANS = {"behaviour/accuracy": "correct", "behaviour/corrupted": "corrupted"} | {
    "behaviour/log_prob": "log_prob",
    "behaviour/value": "value",
}
"""Scalars that are means over prompts, and their columns."""


def unsound(record: Unpacked, header: Mapping[str, Any]) -> str | None:
    """What is wrong with a record of a cell, in words; None for one that is sound.

    Args:
        record: as it is on disk.
        header: of its cell, with the schedule.
    """
    return (
        _of_its_place(record, header["schedule"])
        or _of_its_scalars(record, (header.get("facts") or {}).get("quantities") or {})
        or unsound_tables(record)
        or _of_its_prompts(record)
        or _of_its_circuit(record, header.get("graph") or {})
        or _of_its_resamples(record)
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


def _of_its_scalars(record: Unpacked, quantities: Mapping[str, Any]) -> str | None:
    """Whether those that the cell calls quantities are numbers that they can be."""
    scalars: Mapping[str, object] = record.scalars
    for name, value in scalars.items():
        if name not in quantities:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{name} is {shown(value)}, not a number"
        for sign, end in zip((1, -1), quantities[name].get("range") or (None, None), strict=True):
            if end is not None and sign * (value - end) < -CLOSE * max(1.0, abs(end)):
                return f"{name} is {value:g}, {'below' if sign > 0 else 'above'} {end:g}"
    return None


def unsound_tables(record: Unpacked) -> str | None:
    """What is wrong with a record's tables, in words: columns that are missing, of another kind, or
    without a value where there must be one.
    """
    for name in TABLES:
        if name not in record.tables:
            return f"it has no {name}.parquet"
    for name, table in record.tables.items():
        problem = unfit(table, KINDS.get(name, {}), NEEDED.get(name, ()))
        if problem is not None:
            return f"{name}.parquet {problem}"
    return None


def unfit(table: pa.Table, kinds: Mapping[str, str], needed: Sequence[str]) -> str | None:
    """What is wrong with a table, in words that go on after its name; None for a sound one.

    Args:
        table: as it is in its file.
        kinds: column → what it holds, by the words of `kind_of`.
        needed: columns that it must have, with a value in each row.
    """
    names = table.column_names
    lacking = [column for column in needed if column not in names]
    if lacking:
        return f"has no column {lacking[0]}"
    for column, n in Counter(names).items():
        if n > 1 or column in OWN:
            return f"has a column {column}" + (" twice" if n > 1 else "")
        held, kind = table.column(column), kind_of(table.schema.field(column).type)
        if column in needed and held.null_count:
            return f"has no value in {held.null_count} rows of {column}"
        if kind == "nothing" or not table.num_rows:
            continue
        wanted = kinds.get(column, kind)
        if kind == "other" or kind not in (wanted, *(("whole",) if wanted == "number" else ())):
            return f"has {table.schema.field(column).type} in {column}, not {wanted}s"
        if kind == "number" and column in needed and not pc.all(pc.is_finite(held)).as_py():
            return f"has a value in {column} that is no finite number"
        if kind == "number" and pc.any(pc.is_inf(held)).as_py():
            return f"has an infinite value in {column}"
    return None


def kind_of(held: pa.DataType) -> str:
    """What a column holds: whole, number, flag, text, nothing or other."""
    if pa.types.is_dictionary(held):
        held = held.value_type
    for name, fits in (
        ("nothing", pa.types.is_null),
        ("whole", pa.types.is_integer),
        ("number", pa.types.is_floating),
        ("flag", pa.types.is_boolean),
        ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
    ):
        if fits(held):
            return name
    return "other"


def _of_its_prompts(record: Unpacked) -> str | None:
    table = record.tables["prompts"]
    prompts = table.column("prompt")
    if len(pc.unique(prompts)) < len(prompts):
        return "prompts.parquet has a prompt twice"
    for name, column in MEANS.items():
        said = record.scalars.get(name)
        if not isinstance(said, float) or column not in table.column_names or not len(table):
            continue
        mean = float(np.mean(table.column(column).to_numpy().astype(float)))
        if not abs(mean - said) <= CLOSE * max(1.0, abs(said)):
            return f"{name} is {said:g}, the mean over its prompts {mean:g}"
    return None


def _of_its_circuit(record: Unpacked, graph: Mapping[str, Any]) -> str | None:
    shape = tuple(len(graph[name]) for name in ("senders", "receivers") if name in graph)
    for name, array in (("scores", record.scores), ("mask", record.mask)):
        if array is not None and len(shape) == 2 and array.shape != shape:
            return f"its {name} are {array.shape}, the model's edges {shape}"
        if array is not None and array.ndim != 2:
            return f"its {name} are {array.shape}, not [sender, receiver]"
    if record.scores is not None and not np.isfinite(record.scores).all():
        return "its scores are no finite numbers"
    if record.mask is not None and (
        record.scores is None or record.scores.shape != record.mask.shape
    ):
        return "its mask has no scores of the same shape"
    edges = record.scalars.get("circuit/edges")
    there = None if record.mask is None else int(record.mask.sum())
    if edges is not None and edges != there:
        return f"circuit/edges is {shown(edges)}, its circuit has {there or 'no'} edges"
    return None


def _of_its_resamples(record: Unpacked) -> str | None:
    shape = None if record.mask is None else record.mask.size
    for which, circuit in enumerate(record.resamples):
        if circuit is not None and (problem := _of_a_resample(circuit, shape)) is not None:
            return f"the circuit of resample {which} {problem}"
    return None


def _of_a_resample(circuit: Edges, size: int | None) -> str | None:
    places, scores = circuit.places, circuit.scores
    if places.ndim != 1 or places.shape != scores.shape:
        return f"has places {places.shape} and scores {scores.shape}"
    if places.dtype != np.int32 or scores.dtype != np.float32:
        return f"is in {places.dtype} and {scores.dtype}"
    if places.size and (places.min() < 0 or (size is not None and places.max() >= size)):
        return "has edges that the model has not"
    if np.unique(places).size < places.size:
        return "has an edge twice"
    return None if np.isfinite(scores).all() else "has scores that are no finite numbers"


def others_kinds(records: Sequence[Unpacked]) -> dict[int, str]:
    """Records in which a scalar, or a table's column, is of another kind than in most of a cell's:
    step → which, in words.
    """
    every = {record.step: _kinds(record) for record in records}
    counts: dict[str, Counter[str]] = {}
    for kinds in every.values():
        for name, kind in kinds.items():
            counts.setdefault(name, Counter())[kind] += 1
    usual = {name: count.most_common(1)[0][0] for name, count in counts.items()}
    odd: dict[int, str] = {}
    for step, kinds in every.items():
        for name, kind in kinds.items():
            if kind != usual[name]:
                odd.setdefault(step, f"{name} is a {kind}, in other records a {usual[name]}")
    return odd


def _kinds(record: Unpacked) -> dict[str, str]:
    kinds = {
        name: "text" if isinstance(value, str) else "flag" if isinstance(value, bool) else "number"
        for name, value in record.scalars.items()
    }
    for name, table in record.tables.items():
        for column in table.schema if table.num_rows else ():
            kind = kind_of(column.type)
            if kind != "nothing":
                kinds[f"{name}.parquet: {column.name}"] = "number" if kind == "whole" else kind
    return kinds
