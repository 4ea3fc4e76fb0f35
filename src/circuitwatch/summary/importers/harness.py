"""Result files of lm-evaluation-harness: a folder a model, a JSON file a checkpoint.

Both ways in which its versions write are read. Earlier ones: `{"results": {task: {"acc": …,
"acc_stderr": …}}, "config": …}`, in files named by hand, such as `160m_step1000.json`. Later ones:
`{"results": {task: {"acc,none": …, "acc_stderr,none": …}}, …}`, in `results_<time>.json` below a
folder named after the weights, `<path with __>`. Which model and checkpoint a file is of is told by
what it says, else by where it lies: see `identity`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, empty_table, named
from circuitwatch.summary.importers.checks import complete
from circuitwatch.summary.importers.format import Format
from circuitwatch.summary.importers.identity import (
    checkpoint_of,
    once,
    told_apart,
    without_limited,
)
from circuitwatch.summary.importers.rates import TokensOfStep
from circuitwatch.summary.importers.registry import Registry
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


def find_results(folder: Path) -> list[Path]:
    """The JSON files below a folder, or the file itself."""
    return (
        [folder]
        if folder.is_file()
        else sorted(path for path in folder.rglob("*.json") if path.is_file())
    )


def read_harness(
    folder: Path,
    *,
    registry: Registry,
    tokens_per_step: TokensOfStep = None,
    join_stages: bool = False,
) -> Curves:
    """Curves of all results below a folder (or of one file); the quantity is the metric's name,
    with its filter unless that is `none`.

    Tasks with examples in the prompt are called `<task> 5-shot`. join_stages: whether later stages
    of training go on from the one before, see `stages`.

    Raises:
        UserError: none of the files is a result of the harness; two give different values for the
            same; or a model has several stages that are not to be joined.
    """
    source = folder.name or str(folder)
    rows: list[dict[str, Any]] = []
    notes: dict[str, list[str]] = {}
    for path in find_results(folder):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError):
            notes.setdefault("can't be read as JSON", []).append(path.name)
            continue
        if not is_result(content):
            notes.setdefault("no result of lm-evaluation-harness", []).append(path.name)
            continue
        checkpoint = checkpoint_of(path, folder, content, registry)
        if isinstance(checkpoint, str):
            notes.setdefault(checkpoint, []).append(path.name)
            continue
        rows += [checkpoint | row for row in _metrics(content)]
    lines = [
        f"{source}: {len(files)} files left out ({named(files)}): {why}"
        for why, files in notes.items()
    ]
    if not rows:
        if lines:
            return Curves(empty_table(), lines)
        raise UserError(f"{folder}: no result of lm-evaluation-harness below it")
    table = told_apart(pd.DataFrame(rows))
    table, limited = without_limited(table)
    # Files come by name, checkpoint-1000 before checkpoint-512: their order says nothing.
    table = once(table).sort_values(["step", "tokens"], kind="stable", ignore_index=True)
    table = with_stages(table, registry, join=join_stages)
    curves = complete(
        table.drop(columns=["file", "whole", "limit"]),
        source=source,
        registry=registry,
        tokens_per_step=tokens_per_step,
    )
    return Curves(curves.table, lines + [f"{source}: {note}" for note in limited] + curves.notes)


def _metrics(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Task, quantity, value and stderr of every metric of a result."""
    shots, default = content.get("n-shot") or {}, (content.get("config") or {}).get("num_fewshot")
    for task, metrics in content["results"].items():
        number = shots.get(task, default) if isinstance(shots, dict) else default
        name = f"{task} {number}-shot" if isinstance(number, int) and number > 0 else task
        later = any("," in key for key in metrics)
        for key, value in metrics.items():
            metric, _, filtered = key.partition(",")
            if (
                metric.endswith("_stderr")
                or isinstance(value, bool)
                or not isinstance(value, int | float)
            ):
                continue
            if later and not filtered:  # a count of samples, not a metric
                continue
            error = metrics.get(f"{metric}_stderr" + (f",{filtered}" if filtered else ""))
            yield {
                "task": name,
                "quantity": metric if filtered in ("", NO_FILTER) else key,
                "value": _as_float(value),
                "stderr": _as_float(error) if isinstance(error, int | float) else np.nan,
            }


def _as_float(number: float) -> float:
    """A number of JSON, where integers may have any length."""
    try:
        return float(number)
    except OverflowError:
        return float("inf")


FORMAT = Format(
    "harness",
    "results of lm-evaluation-harness (`results`: metrics by task)",
    ("*.json",),
    lambda file, given: is_result(file.json),
    lambda files, root, asked: read_harness(
        root,
        registry=asked.registry,
        tokens_per_step=asked.tokens_per_step,
        join_stages=asked.join_stages,
    ),
    takes_constants=False,
)
