"""BigScience's aggregated evaluations, a list over checkpoints for each metric, beside the tokens:
`{"tokens": […], "checkpoints": […], "results": {"arc_easy": {"acc": […], "acc_stderr": […]}}}` of
one model (`tr3m-1B3-pile-checkpoints_agg.json`), or `{"tokens": […], "checkpoint_steps": […],
"results": {<model>: {<task>: …}}}` of several (`tr3_results_through_training.json`), as the
repository bigscience-workshop/bigscience has them below `evaluation/results`.

Recognised by a list of `tokens` beside `results`. A model that is named only by its file is called
after it, without `_agg` and `-checkpoints`. A metric whose list is not as long as that of the
tokens is left out, as its values can't be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers.format import Asked, File, Format, finish, number_of

TOKENS, RESULTS = "tokens", "results"
STEPS = ("checkpoints", "checkpoint_steps", "steps")
STDERR = "_stderr"
AROUND = re.compile(r"(-checkpoints)?(_agg)?$")


def _is_aggregate(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get(TOKENS), list)
        and isinstance(content.get(RESULTS), dict)
    )


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    parts: list[pd.DataFrame] = []
    notes: list[str] = []
    from_path = True
    for file in files:
        if not _is_aggregate(file.json):
            notes.append(f"{file.path.name} left out: no list of {TOKENS} beside {RESULTS}")
            continue
        models = _models(file.json[RESULTS])
        from_path = from_path and models is None
        for model, tasks in (models or {file.path.stem: file.json[RESULTS]}).items():
            rows, odd = _rows(file.json, tasks)
            where = f"{file.path.name}: " if len(files) > 1 else ""
            notes += [f"{where}{text}" for text in odd]
            parts.append(rows.assign(model=AROUND.sub("", str(model))))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if rows.empty:
        why = "; ".join(notes) or f"no list of numbers in its {RESULTS}"
        raise UserError(f"{root}: no curve in it: {why}")
    return finish(
        rows,
        source=root.name or str(root),
        asked=asked,
        notes=notes,
        from_path=("model",) if from_path else (),
    )


def _models(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Model → tasks, where results are by model."""
    inner = [metrics for group in results.values() if isinstance(group, Mapping)
             for metrics in group.values()]  # fmt: skip
    return dict(results) if inner and all(isinstance(group, Mapping) for group in inner) else None


def _rows(content: Mapping[str, Any], tasks: Any) -> tuple[pd.DataFrame, list[str]]:
    """Rows of one model, and notes on metrics that are left out."""
    tokens = _numbers(content[TOKENS])
    steps = next(
        (_numbers(content[key]) for key in STEPS if isinstance(content.get(key), list)), []
    )
    if len(steps) != len(tokens):
        steps = [np.nan] * len(tokens)
    frames, wrong = [], []
    for task, metric, values, errors in _metrics(tasks):
        if len(values) != len(tokens):
            wrong.append(f"{task} {metric} has {len(values)}")
            continue
        frames.append(
            pd.DataFrame(
                {
                    "task": task,
                    "quantity": metric,
                    "step": steps,
                    "tokens": tokens,
                    "value": _numbers(values),
                    "stderr": _numbers(errors) if len(errors) == len(tokens) else np.nan,
                }
            )
        )
    notes = (
        [f"metrics left out, as there are {len(tokens)} {TOKENS}: {named(wrong)}"] if wrong else []
    )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), notes


def _metrics(tasks: Any) -> Iterator[tuple[str, str, list[Any], list[Any]]]:
    """Task, metric, its values and its standard errors."""
    for task, metrics in tasks.items() if isinstance(tasks, Mapping) else ():
        for metric, values in metrics.items() if isinstance(metrics, Mapping) else ():
            if isinstance(values, list) and not metric.endswith(STDERR):
                errors = metrics.get(f"{metric}{STDERR}")
                yield str(task), str(metric), values, errors if isinstance(errors, list) else []


def _numbers(values: Sequence[Any]) -> list[float]:
    """Numbers of a list, NaN for what is none."""
    return [np.nan if (number := number_of(value)) is None else number for value in values]


FORMAT = Format(
    "bigscience",
    f"aggregated evaluations of BigScience (`{TOKENS}`, a list, beside `{RESULTS}`)",
    ("*.json",),
    lambda file, given: _is_aggregate(file.json),
    _read,
)
