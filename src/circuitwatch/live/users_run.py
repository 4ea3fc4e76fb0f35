"""The user's own W&B run: what is measured is logged beside the loss, under `circuitwatch/*` over
`circuitwatch/tokens`.

W&B is used only if the training uses it: a run must be active. Nothing is logged with `step=`,
which is the training's, and every key is defined by name: the Trainer defines "*" over its own
step, and where two patterns match, W&B takes either.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from circuitwatch.record_files import CheckpointRecord
from circuitwatch.tracking.names import is_beside

PREFIX = "circuitwatch/"
TOKENS = f"{PREFIX}tokens"
OF_CELL = ("circuit/status", "weights/")
"""What of a record's scalars says nothing in a chart of a training."""
KEPT = 1000
"""Rows kept, at most, until a run is active."""


class UsersRun:
    """Rows go to the run that is active; those measured before it was wait for it."""

    def __init__(self) -> None:
        self._waiting: list[dict[str, float]] = []
        self._defined: set[tuple[str, str]] = set()

    def log(self, records: Mapping[str, CheckpointRecord], of_model: Collection[str]) -> None:
        """Log one checkpoint.

        Args:
            records: task → record.
            of_model: names of scalars that are the same for all tasks, and are logged once; of
                roles, what comes before the last slash.

        Raises whatever W&B raises.
        """
        row: dict[str, float] = {}
        for task, record in records.items():
            row[TOKENS] = record.tokens
            for key, value in _numbers(record):
                shared = key in of_model or key.rpartition("/")[0] in of_model
                row[f"{PREFIX}{key}" if shared else f"{PREFIX}{task}/{key}"] = value
        self._waiting = [*self._waiting, row][-KEPT:]
        self.flush()

    def flush(self) -> None:
        """Log what waits, if a run is active. Raises whatever W&B raises."""
        wandb: Any = sys.modules.get("wandb")
        run = getattr(wandb, "run", None)
        while run is not None and self._waiting:
            row = self._waiting[0]
            self._define(run, row)
            run.log(row)
            self._waiting.pop(0)

    def _define(self, run: Any, row: Mapping[str, float]) -> None:
        new = [key for key in (f"{PREFIX}*", *row) if (str(run.id), key) not in self._defined]
        for key in new:
            if key == TOKENS:
                run.define_metric(TOKENS)
            else:
                run.define_metric(key, step_metric=TOKENS, hidden=is_beside(key))
            self._defined.add((str(run.id), key))


def _numbers(record: CheckpointRecord) -> Iterator[tuple[str, float]]:
    """The numbers among a record's scalars, yes and no as 1 and 0."""
    for key, value in record.scalars.items():
        if key.startswith(OF_CELL) or isinstance(value, str) or not math.isfinite(value):
            continue
        yield key, float(value) if isinstance(value, bool) else value
