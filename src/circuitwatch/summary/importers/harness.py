"""Result files of lm-evaluation-harness: a folder a model, a JSON file a checkpoint.

Both ways in which its versions write are read. Earlier ones: `{"results": {task: {"acc": …,
"acc_stderr": …}}, "config": …}`, in files named by hand, such as `160m_step1000.json`. Later ones:
`{"results": {task: {"acc,none": …, "acc_stderr,none": …}}, …}`, in `results_<time>.json` below a
folder named after the weights, `<path with __>`. Which model and checkpoint a file is of is told by
what it says, else by where it lies: see `identity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, empty_table
from circuitwatch.summary.importers.checks import complete
from circuitwatch.summary.importers.format import Asked, File, Format, left_out, number_of
from circuitwatch.summary.importers.identity import (
    checkpoint_of,
    once,
    told_apart,
    without_limited,
)
from circuitwatch.summary.importers.stages import with_stages

NO_FILTER = "none"
"""What the harness calls the answer as it is, without any filter."""


def is_result(content: Any) -> bool:
    """Whether some JSON is a result of the harness: metrics by task."""
    results = content.get("results") if isinstance(content, dict) else None
    return (
        isinstance(results, dict)
        and bool(results)
        and all(isinstance(metrics, dict) for metrics in results.values())
    )


def _read(files: Sequence[File], folder: Path, asked: Asked) -> Curves:
    """Curves of all results among the files below a folder (or of one file); the quantity is the
    metric's name, with its filter unless that is `none`.

    Tasks with examples in the prompt are called `<task> 5-shot`.

    Raises:
        UserError: none of the files is a result of the harness; two give different values for the
            same; or a model has several stages that are not to be joined.
    """
    source = folder.name or str(folder)
    rows: list[dict[str, Any]] = []
    bad: dict[str, list[str]] = {}
    for file in files:
        about = _about(file, folder, asked)
        if isinstance(about, str):
            bad.setdefault(about, []).append(file.path.name)
        else:
            rows += [about | row for row in _metrics(file.json)]
        file.close()
    lines = [f"{source}: {note}" for note in left_out(bad)]
    if not rows:
        if lines:
            return Curves(empty_table(), lines)
        raise UserError(f"{folder}: no result of lm-evaluation-harness below it")
    table = told_apart(pd.DataFrame(rows))
    table, limited = without_limited(table)
    # Files come by name, checkpoint-1000 before checkpoint-512: their order says nothing.
    table = once(table).sort_values(["step", "tokens"], kind="stable", ignore_index=True)
    table = with_stages(table, asked.registry, join=asked.join_stages)
    curves = complete(
        table.drop(columns=["file", "whole", "limit"]),
        source=source,
        registry=asked.registry,
        tokens_per_step=asked.tokens_per_step,
    )
    return Curves(curves.table, lines + [f"{source}: {note}" for note in limited] + curves.notes)


def _about(file: File, folder: Path, asked: Asked) -> dict[str, Any] | str:
    """Model and checkpoint of a result (`checkpoint_of`), or why it can't be used."""
    if file.json is None:
        return "can't be read as JSON"
    if not is_result(file.json):
        return "no result of lm-evaluation-harness"
    return checkpoint_of(file.path, folder, file.json, asked.registry)


def _metrics(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Task, quantity, value and stderr of every metric of a result."""
    shots, default = content.get("n-shot") or {}, (content.get("config") or {}).get("num_fewshot")
    for task, metrics in content["results"].items():
        count = shots.get(task, default) if isinstance(shots, dict) else default
        name = f"{task} {count}-shot" if isinstance(count, int) and count > 0 else task
        later = any("," in key for key in metrics)
        for key, value in metrics.items():
            metric, _, filtered = key.partition(",")
            number = number_of(value)
            if metric.endswith("_stderr") or number is None:
                continue
            if later and not filtered:  # a count of samples, not a metric
                continue
            error = number_of(
                metrics.get(f"{metric}_stderr" + (f",{filtered}" if filtered else ""))
            )
            yield {
                "task": name,
                "quantity": metric if filtered in ("", NO_FILTER) else key,
                "value": number,
                "stderr": np.nan if error is None else error,
            }


FORMAT = Format(
    "harness",
    "results of lm-evaluation-harness (`results`: metrics by task)",
    ("*.json",),
    lambda file, given: is_result(file.json),
    _read,
    takes_constants=False,
)
