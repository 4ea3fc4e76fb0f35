"""The history of a W&B run, as CSV, Parquet or JSON lines: a row each call of `log`, a column a
metric.

Written by W&B's export of a run's history and by `run.history().to_csv()`; `_step` counts calls,
`_timestamp` and `_runtime` are clocks; a metric that wasn't logged in a call is missing there.
Recognised by `_step`. The optimiser's steps or the tokens are used where a column says them
(`trainer/global_step`, `throughput/total_tokens`; see `wide`), else `_step`. The run's name is not
in the file: `columns=model:"name"` gives it, else the file's name is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers.format import Asked, File, Format
from circuitwatch.summary.importers.formats.wide import layout_of, read_wide
from circuitwatch.summary.importers.tidy import claimed

STEP = "_step"


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    file = files[0]
    layout = layout_of(file.columns, asked.columns, asked.registry)
    if layout is None:
        raise UserError(
            f"{file.path}: a history of W&B without a metric: beside {STEP} it has "
            f"{', '.join(name for name in file.columns if name != STEP) or 'no column'}"
        )
    counts_calls = layout.used.get("step") == STEP and "tokens" not in layout.used
    note = f"{STEP} is taken for the step; it counts calls of log, which may not be every step"
    return read_wide(file.path, layout, asked, notes=[note] if counts_calls else [])


FORMAT = Format(
    "wandb-history",
    "a history of a W&B run (`_step`, a column a metric)",
    (),
    lambda file, given: STEP in file.columns and "value" not in claimed(file.columns, given),
    _read,
    takes_columns=True,
)
