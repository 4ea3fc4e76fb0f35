"""One checkpoint as a row of a run's history: its record's scalars by the names that W&B has them
under (`names`), how many heads hold each role, and what the analysis took.

A row's place in the history is its checkpoint's place in the schedule, so that a row that is there
already is known.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.heads.holding import that_can_hold
from circuitwatch.record_files import CheckpointRecord, circuit_found
from circuitwatch.records import Cell
from circuitwatch.tracking.names import FOUND, RECORD, STATUS, names_of

HASH = 16
"""Letters of a record's hash."""


class Rows:
    """Makes the rows of a cell."""

    def __init__(self, cell: Cell) -> None:
        self.facts = Facts.of_headers([cell.header])
        self.metric = self.facts.task(cell.header["task"]).metric
        self.cell = cell

    def places(self) -> dict[int, int]:
        """Step → place in the schedule."""
        return {entry["step"]: place for place, entry in enumerate(self.cell.header["schedule"])}

    def row(self, record: CheckpointRecord, seconds: Mapping[str, float]) -> dict[str, Any]:
        """The row of a record: numbers, words, yes and no; no value is NaN or infinite.

        seconds: that the parts of its analysis took; may be empty.
        """
        scalars = record.scalars
        words = [k for k, v in scalars.items() if isinstance(v, bool | str)]
        names = names_of(scalars, words, self.facts, self.metric)
        row: dict[str, Any] = {"tokens": record.tokens, "step": record.step}
        row[RECORD] = record_hash(self.cell, record.step)
        if record.tokens > 0:
            row["log10_tokens"] = math.log10(record.tokens)
        row |= {names[key]: value for key, value in scalars.items()}
        if (found := circuit_found(scalars.get(STATUS))) is not None:
            row[FOUND] = found
        row |= holders_of(record.roles, self.facts, self.cell.header["task"])
        return row | {f"cost/seconds_{part}": taken for part, taken in seconds.items()}


def record_hash(cell: Cell, step: int) -> str:
    """A hash of what a record says: another one if it was made anew with other results."""
    return hashlib.sha256(cell.manifest_bytes(step)).hexdigest()[:HASH]


def holders_of(roles: pd.DataFrame, facts: Facts, task: str) -> dict[str, int]:
    """How many heads (or MLPs) hold each role by its threshold, and, of a role that the task can
    confirm, how many of these an effect does confirm. A role that no head can hold has no number.
    """
    counts: dict[str, int] = {}
    for role, table in that_can_hold(whole_table(roles)).groupby("role", sort=False):
        held = table[table["score"] >= facts.role(str(role)).threshold]
        counts[f"roles/{role}/holders"] = len(held)
        if task in facts.role(str(role)).confirmed_on:
            counts[f"roles/{role}/confirmed"] = int((held["confirmed"] == True).sum())  # noqa: E712
    return counts


def whole_table(roles: pd.DataFrame) -> pd.DataFrame:
    """A record's role table with all columns that are asked for; early versions had fewer."""
    known = ("in_circuit", "effect", "confirmed")
    return roles.reindex(columns=[*roles, *(name for name in known if name not in roles)])


def drawn_steps(schedule: Sequence[Mapping[str, Any]], n: int) -> list[int]:
    """The steps of the n checkpoints that are drawn: evenly over the schedule, the last of it among
    them.
    """
    steps = [int(entry["step"]) for entry in schedule]
    n = min(n, len(steps))
    return [steps[round((k + 1) * len(steps) / n) - 1] for k in range(n)]
